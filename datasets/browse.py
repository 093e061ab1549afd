"""Shows training samples as the model gets them, to see wrong flip pairs at once.

    python -m datasets.browse -c config/grouppose.py --coco_path DIR [--dataset_file NAME]
        [--options KEY=VALUE ...] [--count 12] [--out browse.html]

A row a picture: as it is labelled, mirrored, and augmented twice. A person's left is blue, the
right red: in the mirrored picture, blue must still be on the person's left. Where nothing is to be
learnt (crowds, people without labels, borders; see ignore_regions), augmented pictures are violet.
FILE.html also lists the keypoints; FILE.png is the grid alone.
"""

from __future__ import annotations

import argparse
import base64
import html
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from datasets.build import build_dataset
from datasets.custom import Poses
from datasets.keypoints import KeypointDataset
from datasets.settings import frozen, read_settings
from datasets.transforms import People
from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError
from grouppose.files import check_file, write_whole
from grouppose.inference.visualize import draw_grid, draw_poses

SIDE = 420  # pixels, about, of a drawn picture's longer side
VIOLET = np.array([70, 20, 110], dtype=np.uint8)  # added to pixels of half their brightness
COLUMNS = ("as labelled", "mirrored", "augmented", "augmented again")


def sample_grid(dataset: KeypointDataset, count: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a row for each of so many pictures of a training set.

    Args:
        dataset: of the training split.
        count: pictures, spread over the set.
    """
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    views = [dataset.view(), dataset.view(mirrored=True), dataset, dataset]
    cells = []
    for place in dict.fromkeys(places.tolist()):
        for epoch, view in enumerate(views):
            dataset.set_epoch(epoch)
            cells.append(_drawn(*view.sample(place), dataset.poses))
    return draw_grid(cells, len(views))


def _drawn(image: Tensor, people: People, poses: Poses) -> np.ndarray:
    """With the class of each at its keypoints, where there are several."""
    skeleton = poses.skeleton
    size = np.array(image.shape[:0:-1])  # width, height
    factor = SIDE / size.max()
    pixels = image.permute(1, 2, 0).numpy()
    if "ignore" in people:
        pixels = np.where(people["ignore"].numpy()[..., None], pixels // 2 + VIOLET, pixels)
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    pixels = cv2.resize(pixels, np.rint(size * factor).astype(int).tolist(), interpolation=way)
    points = people["keypoints"].numpy() * (np.array(pixels.shape[1::-1]) / size)
    visible = people["visible"].numpy()
    labels = None
    if len(poses.categories) > 1:
        labels = [str(poses.categories[label - 1][1]) for label in people["labels"].tolist()]
    drawn = draw_poses(pixels, points, skeleton=skeleton, visible=visible, labels=labels)
    colours = {"left": (60, 130, 255), "right": (235, 50, 50), "middle": (70, 200, 90)}
    for person, shown in zip(points, visible, strict=True):
        for (x, y), seen, side in zip(person, shown, skeleton.sides, strict=True):
            if seen:
                place = (round(float(x)), round(float(y)))
                cv2.circle(drawn, place, 4, (22, 22, 26), -1, cv2.LINE_AA)
                cv2.circle(drawn, place, 3, colours[side], -1, cv2.LINE_AA)
    return drawn


def page(grid: np.ndarray, dataset: KeypointDataset) -> str:
    """The HTML page: keypoints, pairs and the grid, in one file."""
    skeleton = dataset.skeleton
    names = [html.escape(name) for name in skeleton.names]
    pairs = ", ".join(f"{names[a]} - {names[b]}" for a, b in skeleton.flip_pairs)
    middle = [name for name, side in zip(names, skeleton.sides, strict=True) if side == "middle"]
    unused = "" if dataset.mirrors else "; training does not mirror"
    picture = base64.b64encode(_png(grid)).decode()
    heads = "".join(f"<th>{column}</th>" for column in COLUMNS)
    return (
        "<!DOCTYPE html><meta charset='utf-8'><title>training samples</title>"
        "<style>body{font:15px sans-serif;margin:2em}img{width:100%}table{width:100%}"
        "th{width:25%}</style>"
        f"<h1>{len(dataset)} training pictures, {dataset.people} "
        f"{html.escape(dataset.poses.called)}</h1>"
        f"<p>{html.escape(str(dataset.poses))}</p>"
        f"<p>Mirroring exchanges {pairs or 'nothing'}{unused}.</p>"
        f"<p>Neither left nor right: {', '.join(middle) or 'none'}.</p>"
        "<p>A person's left is blue, the right red, the rest green. In the mirrored picture blue "
        "must still be on the person's left. Nothing is learnt where augmented pictures are violet."
        "</p>"
        f"<table><tr>{heads}</tr></table><img alt='samples' src='data:image/png;base64,{picture}'>"
    )


def _png(grid: np.ndarray) -> bytes:
    written, data = cv2.imencode(".png", grid[..., ::-1])
    assert written
    return data.tobytes()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m datasets.browse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-c", "--config_file", required=True, metavar="FILE", help="a file of config/")
    add("--dataset_file", metavar="NAME", help="see docs/datasets.md")
    add("--coco_path", metavar="DIR", help="folder of the data set")
    add("--options", nargs="*", default=[], metavar="KEY=VALUE", help="settings, as for main.py")
    add("--count", type=int, default=12, metavar="N", help="pictures")
    add("--out", type=Path, default=Path("browse.html"), metavar="FILE", help=".html or .png")
    given = parser.parse_args(arguments)
    return exit_status(lambda: browse(given))


def browse(given: argparse.Namespace) -> None:
    """Writes the file that a command line asks for."""
    if given.out.suffix not in (".html", ".png") or given.count < 1:
        raise InputError(
            f"--out {given.out} --count {given.count}; expected a name that ends in .html or .png "
            "and at least one picture"
        )
    if not given.out.parent.is_dir():
        raise InputError(f"cannot write {given.out}; give --out in a folder that exists")
    check_file(given.out, [], "--out")
    names = ("dataset_file", "coco_path")
    flags = {name: getattr(given, name) for name in names if getattr(given, name)}
    settings = frozen(read_settings(given.config_file, given.options, flags))
    dataset = build_dataset("train", settings)
    grid = sample_grid(dataset, given.count)
    content = _png(grid) if given.out.suffix == ".png" else page(grid, dataset).encode()
    write_whole(given.out, lambda partial: partial.write_bytes(content))
    sys.stdout.write(f"{given.out} written\n")


if __name__ == "__main__":
    sys.exit(main())
