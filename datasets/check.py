"""Looks a COCO-format keypoint data set over before it is trained on.

    python -m datasets.check DIR
    python -m datasets.check --annotations FILE --images DIR
    python -m datasets.check DIR --pictures
    python -m datasets.check DIR --estimate-sigmas --skeleton-out FILE

Prints what is in it and each kind of problem with the ids it was found at and what to change; "!"
is to be corrected, "-" to be known. --pictures also decodes every picture.
--skeleton-out writes the skeleton as a file to correct and to give as skeleton=FILE.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.annotations import named_skeleton, read_annotations, read_labels
from datasets.cleaning import Finding
from datasets.custom import Poses
from datasets.examination import examine, refusal, skeleton_facts
from datasets.places import (
    LAYOUTS,
    find_annotations,
    find_images,
    images_of,
    located,
    some_pictures,
)
from datasets.sigmas import estimate_sigmas
from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError, MissingFileError
from grouppose.skeleton import DEFAULT_SIGMA, Skeleton, skeleton_of


def check_file(
    annotations: Path,
    images: Path,
    decode: bool = False,
    protocol: str | None = None,
    like: Poses | None = None,
) -> tuple[list[str], list[Finding], Poses | None]:
    """Examines one annotation file and the pictures that it lists.

    Args:
        annotations: the file.
        images: folder of its pictures, or a zip.
        decode: also read every picture to its end.
        protocol: of a published set; None: the set is custom.
        like: what the training file has; None: this is it.

    Returns:
        Lines of facts; findings without those that were found nowhere; what is on the pictures,
        None where training refuses the file.

    Raises:
        UserError: the file is no COCO-format file.
    """
    contents, findings = read_labels(annotations)
    contents, moved = located(contents, images)
    facts, problems = examine(contents, images, decode)
    poses, refused = refusal(contents, annotations, protocol, like)
    findings = [*refused, *problems, *findings, *moved]
    findings.sort(key=lambda finding: not finding.serious)
    more = skeleton_facts(poses.skeleton) if poses else []
    return [f"{annotations}: {facts[0]}", *more], findings, poses


def sets_of(folder: Path) -> list[tuple[str | None, dict[str, tuple[Path, Path]]]]:
    """The sets of a folder: a protocol (None: custom); by split, the annotation file and its
    pictures' folder, of one of the known layouts, or as --dataset_file custom finds them."""
    found = {}
    for layout in LAYOUTS.values():
        pairs = {
            split: (folder / file, images_of(folder, layout, split))
            for split, file in layout.annotations.items()
            if (folder / file).is_file()
        }
        known = [pair for _, others in found.values() for pair in others.values()]
        new = {split: pair for split, pair in pairs.items() if pair not in known}
        if new:
            found[next(iter(new.values()))] = (layout.protocol, new)
    return list(found.values()) or [(None, _custom_files(folder))]


def _custom_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    found = {}
    for split in ("train", "val"):
        try:
            file = find_annotations(folder, split)
        except MissingFileError:
            continue
        contents = read_annotations(file)
        try:
            place = find_images(folder, split, some_pictures(contents), file)
        except MissingFileError:
            place = folder / "images"  # that the pictures are missing is said there
        if (file, place) not in found.values():
            found[split] = (file, place)
    if not found:
        expected = sorted(
            {name for layout in LAYOUTS.values() for name in layout.annotations.values()}
        )
        raise MissingFileError(
            f"{folder} has no annotation file in a known place, expected one of "
            f"{', '.join(expected)}, or one with 'train', 'val' or 'test' in its name; give "
            "--annotations FILE --images DIR"
        )
    return found


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
    parser.add_argument("--images", type=Path, metavar="DIR", help="or a zip")
    parser.add_argument("--pictures", action="store_true", help="decode every picture")
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
    one = [(None, {"train": (given.annotations, given.images)})]
    sets = one if given.annotations else sets_of(given.folder)
    serious = 0
    for protocol, files in sets:
        like = None
        for file, images in files.values():
            facts, findings, poses = check_file(file, images, given.pictures, protocol, like)
            like = like or poses
            sys.stdout.write("\n".join([*facts, *map(str, findings)]) + "\n")
            serious += sum(finding.serious for finding in findings)
    if given.estimate_sigmas or given.skeleton_out:
        files = [file for _, pairs in sets for file, _ in pairs.values()]
        contents, skeleton = _skeleton_of_files(files)
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
