"""Data sets in YOLO's format of poses and in COCO's, each from the other.

    python -m datasets.convert data.yaml OUT     # to annotations/{train,val}.json and images/
    python -m datasets.convert DIR OUT           # to data.yaml, images/ and labels/
    python -m datasets.convert FILE OUT --images DIR     # of one annotation file, as train

OUT is a new folder; pictures are linked there, or copied from a zip or to another disk. YOLO's
format has no crowds, which are left out, and no areas, which become 0.53 of the box; what lies
outside a picture moves to its border.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from addict import Dict

from datasets import yolo
from datasets.annotations import flat_annotations, read_labels
from datasets.check import sets_of
from datasets.custom import Poses, completed, poses_of
from datasets.places import located, yolo_files
from grouppose import archives
from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError, MissingFileError
from grouppose.exif import exif_case, orientation_of
from grouppose.files import check_way, write_whole
from grouppose.pictures import naming, open_picture
from grouppose.skeleton import Skeleton

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic", ".jp2")
Texts = dict[str, str]  # by the name of the file below OUT
Links = dict[str, Path]  # the same of pictures, with the file each is


def from_yolo(source: Path) -> tuple[Texts, Links, list[str]]:
    """A set in COCO's format, with lines that say what is in it.

    Args:
        source: its data.yaml.
    """
    content = yolo.read_yaml(source)
    poses = yolo.poses_of(content, str(source))
    texts, links, lines = {}, {}, []
    for split, key in (("train", "train"), ("val", "val"), ("val", "valid"), ("test", "test")):
        if not content.get(key) or f"annotations/{split}.json" in texts:
            continue
        pictures = _pictures_of(source, content, content[key])
        images, people = [], []
        for number, (name, path) in enumerate(pictures.items(), start=1):
            size = _shown_size(path)
            height, width = size
            images.append({"id": number, "file_name": name, "height": height, "width": width})
            labels = _labels_of(path)
            text = labels.read_text(encoding="utf-8-sig") if labels.is_file() else ""
            for person in yolo.read_labels(text, str(labels), poses, size):
                people.append({"id": len(people) + 1, "image_id": number, **person})
            links[f"images/{split}/{name}"] = path
        contents = {"images": images, "annotations": people, "categories": _categories(poses)}
        texts[f"annotations/{split}.json"] = json.dumps(contents)
        lines.append(f"{split}: {len(images)} pictures, {len(people)} people")
    if not texts:
        raise InputError(f"{source} names neither 'train' nor 'val'; give the folder of pictures")
    skeleton = poses.skeleton
    if skeleton.flip_order != Skeleton.from_names(skeleton.names).flip_order:
        texts["skeleton.json"] = json.dumps(skeleton.to_dict())
        lines.append("the names do not say left and right: train with skeleton=OUT/skeleton.json")
    return texts, links, lines


def _categories(poses: yolo.Poses) -> list[dict[str, Any]]:
    limbs = [[a + 1, b + 1] for a, b in poses.skeleton.limbs]
    names = list(poses.skeleton.names)
    return [
        {"id": number, "name": name, "keypoints": names, "skeleton": limbs}
        for number, name in enumerate(poses.classes, start=1)
    ]


def _pictures_of(source: Path, content: Mapping, listed: object) -> dict[str, Path]:
    """Pictures by their names below the folder of a split, which may be a folder, a text file of
    names, or a list of these."""
    root = source.parent / str(content.get("path") or "")
    root = root if root.is_dir() else source.parent
    found: dict[str, Path] = {}
    for entry in listed if isinstance(listed, list) else [listed]:
        place = _existing(root, source.parent, str(entry))
        if place.is_dir():
            paths = sorted(p for p in place.rglob("*") if p.suffix.lower() in PICTURES)
            new = {path.relative_to(place).as_posix(): path for path in paths}
        else:
            names = place.read_text(encoding="utf-8-sig").splitlines()
            paths = [_existing(root, place.parent, name.strip()) for name in names if name.strip()]
            new = {path.name: path for path in paths}
            if len(new) < len(paths):
                raise InputError(f"{place} lists two pictures of one name; rename one of them")
        twice = sorted(set(found) & set(new))
        if twice:
            raise InputError(f"{source} has two pictures {twice[0]} in a split; rename one of them")
        found |= new
    if not found:
        raise MissingFileError(f"{source}: no pictures in {listed}; complete it")
    return found


def _existing(root: Path, beside: Path, name: str) -> Path:
    """A file or folder of a data.yaml: below its root, beside it, or as Roboflow writes it."""
    for place in (root / name, beside / name, beside / name.removeprefix("../")):
        if place.exists():
            return place
    raise MissingFileError(f"no {root / name}; complete the set or correct its data.yaml")


def _labels_of(picture: Path) -> Path:
    """images/train/a.jpg -> labels/train/a.txt; the last folder of that name counts."""
    parts = list(picture.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _shown_size(path: Path) -> tuple[int, int]:
    """Height and width as EXIF turns the picture, in which YOLO's labels are."""
    with naming(path), open_picture(path) as picture:
        orientation, size = orientation_of(picture)
    return size[::-1] if orientation >= 5 else size


def to_yolo(sets: Mapping[str, tuple[Path, Path]]) -> tuple[Texts, Links, list[str]]:
    """A set in YOLO's format, with lines that say what is in it.

    Args:
        sets: annotation file and folder of pictures by split; all of one kind of pose.
    """
    texts, links, lines = {}, {}, []
    first = None
    for split, (file, images) in sets.items():
        contents, _ = located(read_labels(file)[0], images)
        cfg = {"skeleton": None, "categories": first.categories if first else []}
        poses = poses_of(contents, Dict({**cfg, "num_body_points": 0, "num_classes": 0}), first)
        first = first or poses
        contents = completed(contents)
        flat_annotations(contents, poses.skeleton.num_keypoints, True)  # refuses what is wrong
        people = _people_by_picture(contents)
        for entry in contents["images"]:
            path, name = images / entry["file_name"], _inside(entry)
            lines_of = _label_text(people.get(entry["id"], []), _labelled_size(path, entry), poses)
            label = f"labels/{split}/{Path(name).with_suffix('.txt').as_posix()}"
            if label in texts:
                raise InputError(f"{file} has two pictures {name} but for the ending; rename one")
            texts[label], links[f"images/{split}/{name}"] = lines_of, path
        written = sum(map(len, people.values()))
        left = len(contents["annotations"]) - written
        lines.append(f"{split}: {len(contents['images'])} pictures, {written} people")
        lines += [f"  left out: {left} annotations (crowds, nobody)"] if left else []
    classes = tuple(name for _, name in first.categories) or ("person",)
    texts["data.yaml"] = yolo.to_yaml(yolo.Poses(classes, first.skeleton), list(sets))
    return texts, links, lines


def _people_by_picture(contents: Mapping) -> dict[int, list[Mapping]]:
    """Everybody with keypoints and a box, by image id; no crowds."""
    people: dict[int, list[Mapping]] = {}
    for entry in contents["annotations"]:
        if entry.get("keypoints") and not entry.get("iscrowd") and min(entry["bbox"][2:]) > 0:
            people.setdefault(entry["image_id"], []).append(entry)
    return people


def _label_text(people: Sequence[Mapping], size: tuple[int, int], poses: Poses) -> str:
    """The label file of a picture, with the keypoints and classes of the set."""
    order = poses.order or range(poses.skeleton.num_keypoints)
    ids = list(poses.file_ids)
    rows = []
    for person in people:
        number = ids.index(person["category_id"]) if ids else 0
        rows.append(yolo.label_line(_reordered(person, order), number, size) + "\n")
    return "".join(rows)


def _reordered(person: Mapping, order: Sequence[int]) -> Mapping:
    points = person["keypoints"]
    triples = [points[3 * place : 3 * place + 3] for place in order]
    return {**person, "keypoints": [value for triple in triples for value in triple]}


def _labelled_size(path: Path, entry: Mapping) -> tuple[int, int]:
    """Height and width of the picture that labels belong to, which must be the one shown."""
    with naming(path), open_picture(path) as picture:
        orientation, stored = orientation_of(picture)
    stated = (entry.get("height"), entry.get("width"))
    case = exif_case(orientation, stored, None if None in stated else stated)
    if case in ("neither", "stored"):
        raise InputError(
            f"image {entry['id']} ({path}) is not shown in the size that is annotated; correct "
            "'height' and 'width', or save the picture without EXIF's orientation"
        )
    return stored[::-1] if orientation >= 5 else stored


def _inside(entry: Mapping) -> str:
    """A picture's name below a folder of this set."""
    path = Path(entry["file_name"])
    outside = path.is_absolute() or ".." in path.parts
    return path.name if outside else path.as_posix()


def write_set(out: Path, texts: Texts, links: Links) -> None:
    """Writes a set into a folder that is not there yet, or empty."""
    check_way(out, "OUT")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already; give OUT as a new folder")
    for name, path in links.items():
        place = out / name
        place.parent.mkdir(parents=True, exist_ok=True)
        packed = archives.read_member(path)
        if packed is not None:
            place.write_bytes(packed.getbuffer())
            continue
        try:
            os.link(path.resolve(), place)
        except OSError:  # another disk, or one without links
            shutil.copy2(path, place)
    for name, text in texts.items():
        place = out / name
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, lambda partial, text=text: partial.write_text(text, encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m datasets.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="a data.yaml, an annotation file, a folder")
    add("out", type=Path, metavar="OUT", help="a new folder")
    add("--images", type=Path, metavar="DIR", help="pictures of an annotation file")
    given = parser.parse_args(arguments)
    return exit_status(lambda: convert(given))


def convert(given: argparse.Namespace) -> None:
    """Converts what a command line names."""
    source, images = given.source, given.images
    found = yolo_files(source) if source.is_dir() else []
    if found or source.suffix.lower() in (".yaml", ".yml"):
        texts, links, lines = from_yolo(found[0] if found else source)
    elif source.is_dir():
        texts, links, lines = to_yolo(sets_of(source)[0][1])
    elif images:
        texts, links, lines = to_yolo({"train": (source, images)})
    else:
        raise InputError(f"{source} needs the folder of its pictures; give --images DIR")
    write_set(given.out, texts, links)
    sys.stdout.write("\n".join([*lines, f"{given.out} written"]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
