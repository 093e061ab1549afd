"""Draws people: a data set of COCO's format out of nothing, for trying things out in minutes.

    python -m datasets.synthetic DIR --train 2000 --val 200 [--seed 0] [--skeleton crowdpose]
    python -m datasets.synthetic --preview FILE.png

Each picture shows 1 to 4 articulated figures, seen from all sides, in all kinds of poses, that
hide one another and are cut by the border, among things that look like limbs or hide people.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from datasets.figures.scene import FINER, Person, draw_scene
from datasets.figures.visible import visibility
from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError
from grouppose.files import check_file
from grouppose.inference.visualize import draw_grid, draw_poses
from grouppose.skeleton import COCO, CROWDPOSE, Skeleton

RECIPE = "synthetic.json"
DRAWING = 9  # goes up when the same arguments give other pictures
VAL_INDEX = 10_000_000  # index of the first picture that is not for training
_POINTS = {"head": "top_head"}  # a keypoint's name -> the figure's point of another name
WORTH_A_PROCESS = 1500  # pictures; starting processes takes seconds
COCO_FOLDERS = ("images/train2017", "images/val2017")
SKELETONS = {"coco": COCO, "crowdpose": CROWDPOSE}
Drawn = tuple[dict[str, Any], list[dict[str, Any]]]  # entries of a picture and of its people


def draw_people(
    seed: int, index: int, size: int = 192, skeleton: Skeleton = COCO
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Draws one picture; the same arguments give the same picture.

    Args:
        seed: of the set.
        index: of the picture.
        size: height and width in pixels, at least 32.
        skeleton: keypoints to label; names of COCO, CrowdPose or OCHuman.

    Returns:
        image (size, size, 3) uint8 RGB, and 1 to 4 people as COCO annotates them: keypoints
        [x, y, v] * K (pixel centres at whole numbers; v = 2 visible, 1 hidden by something or by
        the figure itself, 0 outside the picture, then x = y = 0), num_keypoints (v > 0), bbox
        [x, y, w, h] around and area of what is seen of the figure, in pixels.
    """
    if size < 32:
        raise InputError(f"size is {size}, expected at least 32 pixels; people would be specks")
    rng = np.random.default_rng(np.random.SeedSequence((seed, index)))
    image, canvas, people = draw_scene(rng, size)
    return image, [_annotation(canvas, person, skeleton) for person in people]


def _annotation(canvas: np.ndarray, person: Person, skeleton: Skeleton) -> dict[str, Any]:
    keypoints, labelled = [], 0
    for name in skeleton.names:
        joint = _POINTS.get(name, name)
        if joint not in person.figure.points:
            raise InputError(
                f"drawn people have no keypoint {name!r}; use the COCO or the CrowdPose skeleton"
            )
        point = person.figure.points[joint][:2]
        v = visibility(canvas, person.figure, person.owners, joint, point)
        x, y = (point - (FINER - 1) / 2) / FINER if v else (0.0, 0.0)
        keypoints += [round(float(x), 2), round(float(y), 2), v]
        labelled += v > 0
    box = np.array(cv2.boundingRect(person.mask.view(np.uint8))) / FINER
    return {
        "keypoints": keypoints,
        "num_keypoints": labelled,
        "bbox": box.tolist(),
        "area": np.count_nonzero(person.mask) / FINER**2,
    }


def write_dataset(
    folder: str | Path,
    train: int = 2000,
    val: int = 200,
    seed: int = 0,
    size: int = 192,
    skeleton: Skeleton = COCO,
    workers: int | None = None,
) -> None:
    """Writes a data set in the layout of COCO, or of CrowdPose for its skeleton.

    The folder appears when it is complete. One that holds the same set already is left as it is.
    CrowdPose's files: "trainval" has the `train` pictures, of which "train" has the first five
    sixths and "val" the rest; "test" has the `val` pictures.

    Args:
        folder: new or empty; its parents are made.
        train: number of pictures to train on.
        val: number of pictures to evaluate on; none of them is among those to train on.
        seed: of both.
        size: height and width of the pictures.
        skeleton: of the people.
        workers: processes that draw; by default two where it pays. The set is the same.
    """
    folder = Path(folder)
    recipe = {
        "train": train,
        "val": val,
        "seed": seed,
        "size": size,
        "num_body_points": skeleton.num_keypoints,
        "drawing": DRAWING,
    }
    _check_recipe(recipe)
    if _is_there(folder, recipe):
        return
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"cannot make a folder beside {folder} ({error.strerror}); give another folder"
        ) from error
    if workers is None:
        workers = 2 if train + val >= WORTH_A_PROCESS and (os.cpu_count() or 1) > 1 else 1
    try:
        _write_files(part, recipe, skeleton, workers)
        (part / RECIPE).write_text(json.dumps(recipe) + "\n", encoding="utf-8")
        try:
            part.rename(folder)
        except OSError:  # another process was faster
            if not _is_there(folder, recipe):
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_recipe(recipe: dict[str, int]) -> None:
    for name, least in (("train", 1), ("val", 1), ("seed", 0), ("size", 32)):
        if recipe[name] < least:
            raise InputError(f"{name} is {recipe[name]}, expected at least {least}")
    if recipe["train"] > VAL_INDEX:
        raise InputError(f"train is {recipe['train']}, expected at most {VAL_INDEX}")


def _is_there(folder: Path, recipe: dict[str, int]) -> bool:
    """Whether the folder holds this set; refuses one that holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    note = folder / RECIPE
    if not note.is_file():
        raise InputError(
            f"{folder} is not empty and holds no {RECIPE}; expected a new or empty folder, "
            "or a set written before: give another folder"
        )
    try:
        found = dict(json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{note} is damaged ({error}); remove the folder") from error
    differing = [name for name, value in recipe.items() if found.get(name) != value]
    if differing:
        raise InputError(
            f"{folder} holds a set with "
            + ", ".join(f"{name} {found.get(name)} instead of {recipe[name]}" for name in differing)
            + "; give another folder or remove it"
        )
    return True


def _write_files(folder: Path, recipe: dict[str, int], skeleton: Skeleton, workers: int) -> None:
    """All pictures and annotation files of a set; ids go on from one split to the next."""
    train, val = recipe["train"], recipe["val"]
    subfolders = ("images", "images") if skeleton == CROWDPOSE else COCO_FOLDERS
    jobs = [(i + 1, i, folder / subfolders[0]) for i in range(train)]
    jobs += [(train + i + 1, VAL_INDEX + i, folder / subfolders[1]) for i in range(val)]
    for name in set(subfolders):
        (folder / name).mkdir(parents=True)
    draw = partial(_write_picture, seed=recipe["seed"], size=recipe["size"], skeleton=skeleton)
    drawn = _numbered(_run(draw, jobs, workers))
    for name, rows in _annotation_files(train, val, skeleton).items():
        (folder / name).parent.mkdir(exist_ok=True)
        contents = {
            "info": {"description": "drawn people", **recipe},
            "images": [image for image, _ in drawn[rows]],
            "annotations": [person for _, people in drawn[rows] for person in people],
            "categories": [_category(skeleton)],
        }
        (folder / name).write_text(json.dumps(contents), encoding="utf-8")


def _annotation_files(train: int, val: int, skeleton: Skeleton) -> dict[str, slice]:
    """Files of annotations and the pictures that they are of."""
    everything = slice(train, train + val)
    if skeleton != CROWDPOSE:
        return {
            "annotations/person_keypoints_train2017.json": slice(train),
            "annotations/person_keypoints_val2017.json": everything,
        }
    cut = train - train // 6
    return {
        "json/crowdpose_train.json": slice(cut),
        "json/crowdpose_val.json": slice(cut, train),
        "json/crowdpose_trainval.json": slice(train),
        "json/crowdpose_test.json": everything,
    }


def _category(skeleton: Skeleton) -> dict[str, Any]:
    return {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }


def _write_picture(
    job: tuple[int, int, Path], *, seed: int, size: int, skeleton: Skeleton
) -> Drawn:
    """Draws a picture into its file."""
    image_id, index, folder = job
    image, people = draw_people(seed, index, size, skeleton)
    name = f"{image_id:012d}.jpg"
    written, data = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 95))
    assert written
    (folder / name).write_bytes(data.tobytes())
    entry = {"id": image_id, "file_name": name, "height": size, "width": size}
    if skeleton == CROWDPOSE:
        entry["crowdIndex"] = crowd_index(people)
    return entry, [{"image_id": image_id, "category_id": 1, "iscrowd": 0, **p} for p in people]


def _run(draw: Callable[[Any], Drawn], jobs: list, workers: int) -> list[Drawn]:
    """Draws all pictures, in order, in this process or in several."""
    bar = partial(
        tqdm,
        total=len(jobs),
        desc="drawing people",
        unit=" pictures",
        disable=not sys.stderr.isatty(),
        leave=False,
    )
    if workers == 1:
        return list(bar(map(draw, jobs)))
    with get_context("spawn").Pool(workers, cv2.setNumThreads, (1,)) as pool:
        return list(bar(pool.imap(draw, jobs, chunksize=25)))


def _numbered(drawn: list[Drawn]) -> list[Drawn]:
    """Gives each person an id, from 1 on."""
    ids = count(1)
    return [(image, [{"id": next(ids), **p} for p in people]) for image, people in drawn]


def crowd_index(people: Sequence[dict[str, Any]]) -> float:
    """CrowdPose's crowding of a picture (Li et al., CVPR 2019, equation 6).

    The mean over its people of: keypoints of others in the person's box / own keypoints.

    Args:
        people: with keypoints, num_keypoints and bbox as in annotations.
    """
    if not people:
        return 0.0
    points = np.array([person["keypoints"] for person in people], dtype=float)
    points = points.reshape(len(people), -1, 3)
    shares = []
    for i, person in enumerate(people):
        x, y, w, h = person["bbox"]
        others = np.delete(points, i, axis=0).reshape(-1, 3)
        inside = (
            (others[:, 0] >= x) & (others[:, 0] <= x + w)
            & (others[:, 1] >= y) & (others[:, 1] <= y + h)
            & (others[:, 2] > 0)
        )  # fmt: skip
        shares.append(inside.sum() / max(1, person["num_keypoints"]))
    return float(np.mean(shares))


def write_preview(
    path: str | Path, seed: int = 0, size: int = 192, skeleton: Skeleton = COCO, pictures: int = 24
) -> None:
    """Writes a grid of pictures with the skeletons of their people, as PNG."""
    cells = []
    for index in range(pictures):
        image, people = draw_people(seed, index, size, skeleton)
        image = cv2.resize(image, (2 * size, 2 * size), interpolation=cv2.INTER_CUBIC)
        keypoints = np.array([p["keypoints"] for p in people], dtype=float)
        keypoints = keypoints.reshape(len(people), -1, 3)
        places = 2 * keypoints[..., :2] + 0.5  # pixel centres, in a picture twice as large
        cells.append(draw_poses(image, places, skeleton=skeleton, visible=keypoints[..., 2] > 0))
    grid = draw_grid(cells, columns=6)
    written, data = cv2.imencode(".png", grid[..., ::-1])
    assert written
    Path(path).write_bytes(data.tobytes())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m datasets.synthetic", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="new or empty")
    parser.add_argument("--train", type=int, default=2000, help="pictures to train on")
    parser.add_argument("--val", type=int, default=200, help="pictures to evaluate on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=192, help="height and width in pixels")
    parser.add_argument("--skeleton", choices=sorted(SKELETONS), default="coco")
    parser.add_argument("--preview", type=Path, metavar="FILE.png", help="write some samples")
    given = parser.parse_args(arguments)
    if given.folder is None and given.preview is None:
        parser.error("give the folder to write to, DIR, or --preview FILE.png")
    return exit_status(lambda: _draw(given))


def _draw(given: argparse.Namespace) -> None:
    skeleton = SKELETONS[given.skeleton]
    if given.preview is not None:
        check_file(given.preview, [], "--preview")
        write_preview(given.preview, given.seed, given.size, skeleton)
    if given.folder is not None:
        write_dataset(given.folder, given.train, given.val, given.seed, given.size, skeleton)


if __name__ == "__main__":
    sys.exit(main())
