"""Where the files of each data set are, and how it is scored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from datasets.annotations import read_json
from grouppose.errors import InputError, MissingFileError, nearest

UNSCORED = "none"  # the protocol of a set whose labels its makers keep


@dataclass(frozen=True)
class Layout:
    """Folders of pictures and annotation files by split, and the protocol of evaluation.

    Attributes:
        train_list: a file that names the training pictures; "": all that are annotated.
    """

    images: Mapping[str, str]
    annotations: Mapping[str, str]
    protocol: str
    train_list: str = ""


@dataclass(frozen=True)
class Place:
    """One split: its annotation file, the folder of its pictures, the list of those that count."""

    annotations: Path
    images: Path
    protocol: str
    listed: Path | None = None


def _layout(train: tuple[str, str], val: tuple[str, str], protocol: str, **more: str) -> Layout:
    """Each split as (annotation file, folder of pictures)."""
    return Layout(
        {"train": train[1], "val": val[1]},
        {"train": train[0], "val": val[0]},
        protocol,
        **more,
    )


_TRAIN = ("annotations/person_keypoints_train2017.json", "images/train2017")
_VAL = ("annotations/person_keypoints_val2017.json", "images/val2017")
_OCHUMAN = {
    part: (f"annotations/ochuman_coco_format_{part}_range_0.00_1.00.json", "images")
    for part in ("val", "test")
}

LAYOUTS = {
    "coco": _layout(_TRAIN, _VAL, "coco"),
    "coco_minitrain": _layout(
        _TRAIN, _VAL, "coco", train_list="annotations/instances_minitrain2017.json"
    ),
    "coco_testdev": _layout(
        _TRAIN, ("annotations/image_info_test-dev2017.json", "images/test2017"), UNSCORED
    ),
    "synthetic": _layout(_TRAIN, _VAL, "coco"),
    "crowdpose": _layout(
        ("json/crowdpose_trainval.json", "images"),
        ("json/crowdpose_test.json", "images"),
        "crowdpose",
    ),
    "ochuman": _layout(_OCHUMAN["val"], _OCHUMAN["test"], "ochuman"),
    "ochuman_val": _layout(_OCHUMAN["test"], _OCHUMAN["val"], "ochuman"),
    "humanart": _layout(
        ("HumanArt/annotations/training_humanart.json", "."),
        ("HumanArt/annotations/validation_humanart.json", "."),
        "coco",
    ),
}
CUSTOM = "custom"
_FOLDERS = ("images/{}2017", "images/{}", "{}2017", "{}", "images", "")  # of a custom split
_WORDS = {"train": ("train",), "val": ("val", "test")}  # in the name of its annotation file


def place_of(split: str, cfg: Mapping, layout: Layout | None = None) -> Place:
    """The files of a split, which settings may name in place of the layout's.

    Args:
        split: "train" or "val".
        cfg: dataset_file, coco_path, train_annotations, val_annotations, train_images, val_images
            and train_list, the last five relative to coco_path or absolute, "" for the layout's.
        layout: None: that of dataset_file.

    Raises:
        MissingFileError: says what was looked for.
    """
    folder = Path(cfg.coco_path)
    if cfg.dataset_file == CUSTOM:
        layout = Layout({}, {}, "coco")
    elif layout is None:
        layout = known_layout(cfg.dataset_file)
    annotations = cfg[f"{split}_annotations"] or layout.annotations.get(split, "")
    annotations = folder / annotations if annotations else find_annotations(folder, split)
    images = cfg[f"{split}_images"] or layout.images.get(split, "")
    listed = cfg.train_list or layout.train_list
    place = Place(
        annotations,
        folder / images,
        layout.protocol,
        folder / listed if listed and split == "train" else None,
    )
    if not place.images.is_dir():
        raise MissingFileError(
            f"no folder {place.images}; a {cfg.dataset_file} set has its pictures there: "
            f"complete it, or set --coco_path or {split}_images"
        )
    return place


def known_layout(name: str) -> Layout:
    """The layout of a data set that --dataset_file names."""
    if name not in LAYOUTS:
        raise InputError(f"dataset_file is {name!r}; {nearest(name, [*LAYOUTS, CUSTOM])}")
    return LAYOUTS[name]


def find_annotations(folder: Path, split: str) -> Path:
    """The one JSON file of a custom set, in its folder or in annotations/, that is of this split.

    "train", or "val" or else "test", must stand in its name as a word of its own.
    """
    files = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])
    for word in _WORDS[split]:
        found = [f for f in files if re.search(rf"(?<![a-z]){word}(?![a-z])", f.stem.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            break
    names = ", ".join(str(file.relative_to(folder)) for file in found or files) or "no JSON file"
    expected = " or ".join(repr(word) for word in _WORDS[split])
    raise MissingFileError(
        f"{folder} has {names}; expected one file with {expected} in its name, there or in "
        f"annotations/; set {split}_annotations=FILE"
    )


def find_images(folder: Path, split: str, file_name: str) -> Path:
    """The folder of a custom split's pictures: the first usual one that holds this picture."""
    usual = [folder / name.format(word) for word in _WORDS[split] for name in _FOLDERS]
    for place in usual:
        if (place / file_name).is_file():
            return place
    tried = ", ".join(dict.fromkeys(str(place.relative_to(folder)) for place in usual))
    raise MissingFileError(
        f"no picture {file_name} in {folder} or its {tried}; complete it or set {split}_images=DIR"
    )


def read_list(path: Path) -> set[str]:
    """The pictures that a list names, as `stem` gives them.

    Args:
        path: a text file with a file name or COCO id per line, or a COCO-format file, whose
            images count.
    """
    try:
        if path.suffix == ".json":
            content, _ = read_json(path)
            images = content.get("images") if isinstance(content, Mapping) else None
            if not isinstance(images, list):
                raise InputError(f"{path} has no 'images'; expected a COCO-format file")
            names = [str(entry.get("file_name", "")) for entry in images]
        else:
            names = path.read_text(encoding="utf-8").split()
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no list of pictures {path}; complete it or set train_list"
        ) from error
    return {stem(name) for name in names}


def stem(file_name: str) -> str:
    """A file name without folder and ending; a number has 12 digits, as in COCO's names."""
    name = Path(file_name).stem
    return name.zfill(12) if name.isdigit() else name
