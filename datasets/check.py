"""Looks a COCO-format keypoint data set over before it is trained on.

    python -m datasets.check DIR
    python -m datasets.check --annotations FILE --images DIR
    python -m datasets.check DIR --estimate-sigmas --skeleton-out FILE

Prints what is in it and each kind of problem with the ids it was found at and what to change.
--skeleton-out writes the skeleton as a file to correct and to give as skeleton=FILE.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datasets.annotations import named_skeleton, read_annotations, skeleton_in
from datasets.places import LAYOUTS, find_annotations, find_images
from datasets.sigmas import estimate_sigmas
from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError, MissingFileError, UserError
from grouppose.exif import exif_case, orientation_of
from grouppose.pictures import naming, open_picture
from grouppose.skeleton import DEFAULT_SIGMA, Skeleton, skeleton_of

SHOWN = 5  # ids of a problem


@dataclass(frozen=True)
class Finding:
    """A kind of problem.

    Attributes:
        text: what was found and what to change; it follows "N annotations" or the like.
        ids: where, in the order of the file.
        serious: training or evaluation would fail or be wrong.
        warned: it is to be known before training, all the same.
    """

    text: str
    ids: list[Any]
    serious: bool = True
    warned: bool = False

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.ids[:SHOWN]))
        more = f" and {len(self.ids) - SHOWN} more" if len(self.ids) > SHOWN else ""
        return f"{'!' if self.serious else '-'} {len(self.ids)} {self.text}: {shown}{more}"


def check_file(annotations: Path, images: Path) -> tuple[list[str], list[Finding]]:
    """Examines one annotation file and the pictures that it lists.

    Returns:
        Lines of facts, and findings without those that were found nowhere.

    Raises:
        UserError: the file is no COCO-format file.
    """
    contents = read_annotations(annotations)
    facts, findings = examine(contents, images)
    return [f"{annotations}: {facts[0]}", *facts[1:]], findings


def examine(contents: Mapping, images: Path) -> tuple[list[str], list[Finding]]:
    """The same for contents that `read_annotations` gave."""
    people = [entry for entry in contents["annotations"] if "keypoints" in entry]
    lengths = [len(e["keypoints"]) for e in people if isinstance(e["keypoints"], list)]
    usual = max(set(lengths), key=lengths.count) if lengths else 0
    num_keypoints = usual // 3
    named = [c for c in contents["categories"] if c.get("keypoints")]
    facts = [
        f"{len(contents['images'])} pictures, {len(people)} annotations with "
        f"{num_keypoints} keypoints, {len(contents['categories'])} categories"
        + (f", of which {len(named)} name keypoints" if len(named) > 1 else "")
    ]
    findings = _pictures(contents, images) + _people(contents, people, usual)
    if num_keypoints:
        facts += _skeleton_facts(skeleton_in(contents, num_keypoints))
        findings += _skeleton(contents, num_keypoints)
    return facts, [finding for finding in findings if finding.ids]


def _pictures(contents: Mapping, folder: Path) -> list[Finding]:
    labelled = {entry["image_id"] for entry in contents["annotations"]}
    listed = contents["images"]
    bar = tqdm(listed, "pictures", disable=not sys.stderr.isatty(), leave=False)
    missing, cases = [], {"either": [], "stored": [], "neither": []}
    for entry in bar:
        path = folder / str(entry.get("file_name"))
        if os.path.isfile(path):
            cases.get(_exif_case(path, entry), []).append(entry["id"])
        else:
            missing.append(entry["id"])
    return [
        Finding(f"pictures have no file in {folder}; complete it or correct file_name", missing),
        Finding(
            "pictures have nobody annotated; training leaves them out",
            [entry["id"] for entry in listed if entry["id"] not in labelled],
            serious=False,
        ),
        Finding(
            "pictures are of another size than 'width' and 'height' say; use the original pictures "
            "or correct the annotations",
            cases["neither"],
        ),
        Finding(
            "pictures have an EXIF orientation and the same size with and without it; their labels "
            "are taken to be in the turned picture, set exif=ignore if they are in the stored one",
            cases["either"],
            serious=False,
        ),
        Finding(
            "pictures have an EXIF orientation, but 'width' and 'height' are of the stored "
            "picture; their labels are taken to be in the stored one",
            cases["stored"],
            serious=False,
            warned=True,
        ),
    ]


def _exif_case(path: Path, entry: Mapping) -> str:
    """As `exif_case`; "" for what is no picture, which is said when it is read."""
    try:
        with naming(path), open_picture(path) as picture:
            orientation, stored = orientation_of(picture)
    except UserError:
        return ""
    stated = (entry.get("height"), entry.get("width"))
    return exif_case(orientation, stored, stated if all(map(_is_positive, stated)) else None)


# What can be wrong with an annotation, the worst first; {usual} is 3K.
PROBLEMS = {
    "length": "annotations have another number of values than {usual} in 'keypoints', or something "
    "else than numbers; give x, y, v for every keypoint",
    "twice": "annotation ids are used twice; give each its own",
    "zero": "annotations have id 0, which COCO's tool scores as unmatched; count from 1",
    "box": "annotations have no 'bbox' [x, y, width, height] of some size; training needs it, but "
    "with --dataset_file custom, which takes the box around the keypoints",
    "area": "annotations have an 'area' of 0 or no number there; their OKS is 0 wherever a "
    "keypoint is not exact; give the area, leave the entry out, or read the set as "
    "--dataset_file custom, which takes a share of the box",
}
NOTES = {
    "count": "annotations have another 'num_keypoints' than keypoints with v > 0; evaluation goes "
    "by it",
    "outside": "annotations have visible keypoints outside the picture; training moves them to its "
    "border",
    "nobody": "annotations have no labelled keypoint; training leaves them out",
}


def _people(contents: Mapping, people: Sequence[Mapping], usual: int) -> list[Finding]:
    sizes = {entry["id"]: (entry.get("width"), entry.get("height")) for entry in contents["images"]}
    found: dict[str, list[Any]] = {name: [] for name in (*PROBLEMS, *NOTES)}
    seen: set[int] = set()
    for entry in people:
        number, points = entry["id"], entry["keypoints"]
        if number in seen:
            found["twice"].append(number)
        seen.add(number)
        if number == 0:
            found["zero"].append(number)
        if not _are_numbers(points, usual) or usual % 3:
            found["length"].append(number)
            continue
        triples = list(zip(points[::3], points[1::3], points[2::3], strict=True))
        visible = [(x, y) for x, y, v in triples if v > 0]
        if not visible:
            found["nobody"].append(number)
        if entry.get("num_keypoints", len(visible)) != len(visible):
            found["count"].append(number)
        if _any_outside(visible, *sizes[entry["image_id"]]):
            found["outside"].append(number)
        if visible and not _is_positive(entry.get("area", 1)):
            found["area"].append(number)
        if not _is_box(entry.get("bbox"), with_size=bool(visible)):
            found["box"].append(number)
    texts = {**PROBLEMS, **NOTES}
    return [
        Finding(texts[name].format(usual=usual), ids, serious=name in PROBLEMS)
        for name, ids in found.items()
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < math.inf


def _is_positive(value: object) -> bool:
    return _is_number(value) and value > 0


def _is_box(box: object, with_size: bool) -> bool:
    return _are_numbers(box, 4) and (not with_size or min(box[2:]) > 0)


def _are_numbers(values: object, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(_is_number, values))


def _any_outside(points: Sequence[tuple], width: object, height: object) -> bool:
    """Whether a point lies outside a picture; False where its size is not known."""
    if not _is_positive(width) or not _is_positive(height):
        return False
    return any(not (0 <= x <= width and 0 <= y <= height) for x, y in points)


def _listed(entry: Mapping, key: str) -> list:
    """The list of that name; empty where there is none."""
    return entry[key] if isinstance(entry.get(key), list) else []


def _skeleton(contents: Mapping, num_keypoints: int) -> list[Finding]:
    unnamed = [
        category["id"]
        for category in contents["categories"]
        if len(_listed(category, "keypoints")) != num_keypoints
    ]
    return [
        Finding(
            f"categories do not name {num_keypoints} keypoints; left and right are then those of "
            "the published skeleton of that size, or unknown",
            unnamed,
            serious=False,
        )
    ]


def _skeleton_facts(skeleton: Skeleton) -> list[str]:
    names = skeleton.names
    pairs = ", ".join(f"{names[a]} - {names[b]}" for a, b in skeleton.flip_pairs)
    alone = set(range(len(names))) - {i for pair in skeleton.flip_pairs for i in pair}
    middle = ", ".join(names[i] for i in sorted(alone))
    default = all(sigma == DEFAULT_SIGMA for sigma in skeleton.sigmas)
    return [
        f"  flipping exchanges {pairs or 'nothing'}; it leaves {middle or 'nothing'} in place",
        f"  {len(skeleton.limbs)} limbs; sigmas "
        + (f"all {DEFAULT_SIGMA}, as nobody stated them" if default else "of the published set"),
    ]


def files_of(folder: Path) -> list[tuple[Path, Path]]:
    """Annotation files of a folder, each with its pictures' folder: of one of the known layouts,
    or as --dataset_file custom finds them."""
    found = {
        (folder / layout.annotations[split], folder / layout.images[split]): None
        for layout in LAYOUTS.values()
        for split in layout.annotations
        if (folder / layout.annotations[split]).is_file()
    }
    return list(found) or _custom_files(folder)


def _custom_files(folder: Path) -> list[tuple[Path, Path]]:
    found = {}
    for split in ("train", "val"):
        try:
            file = find_annotations(folder, split)
        except MissingFileError:
            continue
        images = read_annotations(file)["images"]
        try:
            place = find_images(folder, split, str(images[0].get("file_name")) if images else "")
        except MissingFileError:
            place = folder / "images"  # that the pictures are missing is said there
        found[file, place] = None
    if not found:
        expected = sorted(
            {name for layout in LAYOUTS.values() for name in layout.annotations.values()}
        )
        raise MissingFileError(
            f"{folder} has no annotation file in a known place, expected one of "
            f"{', '.join(expected)}, or one with 'train', 'val' or 'test' in its name; give "
            "--annotations FILE --images DIR"
        )
    return list(found)


def _skeleton_of_files(files: Sequence[Path]) -> tuple[list[Mapping], Skeleton]:
    contents = [read_annotations(file) for file in files]
    people = [e for part in contents for e in part["annotations"] if e.get("keypoints")]
    if not people:
        raise InputError(f"{files[0]} has nobody with keypoints; give a keypoint file")
    num_keypoints = len(people[0]["keypoints"]) // 3
    skeleton, _ = named_skeleton(contents[0], num_keypoints)
    return contents, skeleton or skeleton_of(num_keypoints)


def with_estimates(contents: Sequence[Mapping], skeleton: Skeleton) -> tuple[Skeleton, list[str]]:
    """The skeleton with estimated sigmas where there are any, and lines that say so."""
    sigmas, deviations, people = estimate_sigmas(contents, skeleton)
    if not people:
        return skeleton, [
            "sigmas: nobody is labelled more than once, so nothing can be estimated; give those of "
            f"a similar set in a skeleton file, or leave the default, {DEFAULT_SIGMA}"
        ]
    lines = [f"sigmas from {people} people who are labelled more than once:"]
    chosen = []
    for i, name in enumerate(skeleton.names):
        known = deviations[i] > 0 and sigmas[i] > 0
        chosen.append(round(float(sigmas[i]), 4) if known else skeleton.sigmas[i])
        source = f"{deviations[i]} deviations" if known else "kept: no repeated label differs"
        lines.append(f"  {name}: {chosen[-1]} ({source})")
    return Skeleton(skeleton.names, skeleton.flip_pairs, tuple(chosen), skeleton.limbs), lines


def _skeleton_text(skeleton: Skeleton) -> str:
    """A skeleton file; pairs by name, so that one sees what they are."""
    names = skeleton.names
    content = {
        "names": list(names),
        "flip_pairs": [[names[a], names[b]] for a, b in skeleton.flip_pairs],
        "limbs": [[names[a], names[b]] for a, b in skeleton.limbs],
        "sigmas": list(skeleton.sigmas),
    }
    rows = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    return "{\n" + ",\n".join(rows) + "\n}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m datasets.check", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="of the data set")
    parser.add_argument("--annotations", type=Path, metavar="FILE")
    parser.add_argument("--images", type=Path, metavar="DIR")
    parser.add_argument(
        "--estimate-sigmas", action="store_true", help="from people labelled more than once"
    )
    parser.add_argument("--skeleton-out", type=Path, metavar="FILE", help="write a skeleton file")
    given = parser.parse_args(arguments)
    if (given.folder is None) == (given.annotations is None):
        parser.error("give the folder of the data set, or --annotations FILE --images DIR")
    if given.annotations and not given.images:
        parser.error("--annotations without --images DIR")
    return exit_status(lambda: check(given))


def check(given: argparse.Namespace) -> int:
    """Prints what is in the files of a command line and what is wrong; 1 if that is serious."""
    serious = 0
    files = [(given.annotations, given.images)] if given.annotations else files_of(given.folder)
    for file, images in files:
        facts, findings = check_file(file, images)
        sys.stdout.write("\n".join([*facts, *map(str, findings)]) + "\n")
        serious += sum(finding.serious for finding in findings)
    if given.estimate_sigmas or given.skeleton_out:
        contents, skeleton = _skeleton_of_files([file for file, _ in files])
        if given.estimate_sigmas:
            skeleton, lines = with_estimates(contents, skeleton)
            sys.stdout.write("\n".join(lines) + "\n")
        if given.skeleton_out:
            given.skeleton_out.write_text(_skeleton_text(skeleton), encoding="utf-8")
            sys.stdout.write(f"{given.skeleton_out} written\n")
    sys.stdout.write("nothing to correct\n" if not serious else "")
    return 1 if serious else 0


if __name__ == "__main__":
    sys.exit(main())
