"""Where the files of each data set are, and how it is scored."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.cleaning import Finding
from grouppose import archives
from grouppose.errors import InputError, MissingFileError, nearest

logger = logging.getLogger("grouppose.train.data")
TRIED = 20  # pictures by which the folder of all of them is found
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
_FOLDERS = (
    "images/{}2017",
    "images/{}",
    "{}2017",
    "{}",
    "{}/images",
    "images",
    "",
)  # of a custom split
# In the name of its annotation file, or that of a folder of its own
_WORDS = {"train": ("train",), "val": ("val", "valid", "validation", "test")}


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
    images = cfg[f"{split}_images"]
    images = folder / images if images else images_of(folder, layout, split)
    listed = cfg.train_list or layout.train_list
    place = Place(
        annotations,
        images,
        layout.protocol,
        folder / listed if listed and split == "train" else None,
    )
    if not archives.is_folder(place.images):
        raise MissingFileError(
            f"no folder {place.images}; a {cfg.dataset_file} set has its pictures there, or in "
            f"{place.images.name}.zip: complete it, or set --coco_path or {split}_images"
        )
    return place


def images_of(folder: Path, layout: Layout, split: str) -> Path:
    """The folder of a split's pictures, or that whose zip lies in the set's own folder."""
    images = folder / layout.images.get(split, "")
    packed = folder / images.name
    return packed if not archives.is_folder(images) and archives.is_folder(packed) else images


def known_layout(name: str) -> Layout:
    """The layout of a data set that --dataset_file names."""
    if name not in LAYOUTS:
        raise InputError(f"dataset_file is {name!r}; {nearest(name, [*LAYOUTS, CUSTOM])}")
    return LAYOUTS[name]


def find_annotations(folder: Path, split: str) -> Path:
    """The one JSON file of a custom set that is of this split.

    In its folder or in annotations/, "train", or "val" or else "test", must stand in its name as a
    word of its own; or it is the only one in a folder of that name. Files of keypoints go before
    those of boxes beside them (instances_train.json). A single file for everything
    (CVAT's default) is that of both.
    """
    files = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])
    for word in _WORDS[split]:
        found = [f for f in files if re.search(rf"(?<![a-z]){word}(?![a-z])", f.stem.lower())]
        found = [f for f in found if "keypoints" in f.stem] or found or _of_folder(folder / word)
        if len(found) == 1:
            return found[0]
        if found:
            break
    else:
        default = [f for f in files if f.stem.lower().endswith("_default")]
        if len(default) == len(files) == 1:
            logger.warning(f"{default[0]} is the only annotation file: it is trained and scored on")
            return default[0]
    yolo_hint(folder)
    names = ", ".join(str(file.relative_to(folder)) for file in found or files) or "no JSON file"
    expected = " or ".join(repr(word) for word in _WORDS[split] if word in ("train", "val", "test"))
    raise MissingFileError(
        f"{folder} has {names}; expected one file with {expected} in its name, there or in "
        f"annotations/; set {split}_annotations=FILE"
    )


def _of_folder(folder: Path) -> list[Path]:
    """The annotation files of a split that has a folder of its own, as Roboflow writes it."""
    exact = sorted(folder.glob("_annotations*.json"))
    return exact or sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])


def find_images(
    folder: Path, split: str, file_names: Sequence[str], annotations: Path | None = None
) -> Path:
    """The folder of a custom split's pictures: the first usual one that holds one of these.

    Args:
        folder: of the set.
        split: "train" or "val".
        file_names: of pictures, as the annotations have them; some may have no file.
        annotations: their file; pictures may lie beside it.
    """
    words = [spelt for word in _WORDS[split] for spelt in (word, word.capitalize())]
    usual = [folder / name.format(word) for word in words for name in _FOLDERS]
    usual += [folder / name for name in ("images/default", "default")]
    beside = annotations.parent if annotations else folder
    near = [beside, beside / "images", beside.parent / "images", beside.parent / "images/default"]
    usual = near + usual if beside not in (folder, folder / "annotations") else usual + near
    for file_name in file_names:
        if Path(file_name).is_absolute() and archives.is_file(Path(file_name)):
            return next((place for place in usual if place.is_dir()), folder)
        for place in usual:
            if place_in(place, file_name):
                return place
    inside = [str(place.relative_to(folder)) for place in usual if place.is_relative_to(folder)]
    tried = ", ".join(dict.fromkeys(name for name in inside if name.islower() or name == "."))
    name = file_names[0][:100] if file_names else ""
    zips = dict.fromkeys(str(archives.holder(p)) for p in usual if archives.holder(p) != p)
    raise MissingFileError(
        f"no picture {name} in {folder} or its {tried}"
        + f", nor in {', '.join(zips)}" * bool(zips)
        + f"; complete it or set {split}_images=DIR"
    )


def check_packed(contents: Mapping, images: Path) -> None:
    """Refuses a zip in place of the pictures' folder that holds none of them."""
    names = [name for e in contents["images"] if isinstance(name := e.get("file_name"), str)]
    if names and not images.is_dir():
        if not any(archives.is_file(images / name) for name in names):
            archives.open_member(images / names[0])  # says what is there


def yolo_hint(folder: Path) -> None:
    """Says what to do with a folder in YOLO's format."""
    for file in yolo_files(folder):
        raise InputError(
            f"{folder} is in YOLO's format ({file.name}), expected COCO's; convert it: "
            f"python -m datasets.convert {file} OUT, then --coco_path OUT"
        )


def yolo_files(folder: Path) -> list[Path]:
    """The data.yaml of a folder in YOLO's format of poses."""
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    return [f for f in files if "kpt_shape" in f.read_text(encoding="utf-8", errors="replace")]


def some_pictures(contents: Mapping) -> list[str]:
    """File names by which the folder of the pictures is found, those below it before others."""
    names = [str(entry.get("file_name")) for entry in contents["images"]]
    return sorted(names, key=_foreign)[:TRIED]


def located(contents: Mapping, images: Path) -> tuple[Mapping, list[Finding]]:
    """Contents whose absolute and Windows file names are those under which the pictures are found.

    Args:
        contents: from `read_labels`.
        images: folder of the pictures.
    """
    moved, entries = [], []
    for entry in contents["images"]:
        name = entry.get("file_name")
        found = place_in(images, name) if isinstance(name, str) and _foreign(name) else None
        if found is not None and found != name:
            moved.append(entry["id"])
            entry = {**entry, "file_name": found}
        entries.append(entry)
    finding = Finding(
        "pictures have a 'file_name' of another machine or system; found by its end in the folder "
        "of the pictures",
        moved,
        serious=False,
        warned=True,
    )
    return ({**contents, "images": entries}, [finding]) if moved else (contents, [])


def _foreign(name: str) -> bool:
    return "\\" in name or re.match(r"/|[A-Za-z]:/", name) is not None


def place_in(folder: Path, file_name: str) -> str | None:
    """The name, below a folder, of the file that is meant; None if there is none.

    An absolute name counts where its file exists; else, as for a name with a drive, the longest
    end of it that the folder holds.
    """
    if archives.is_file(folder / file_name):
        return file_name
    if not _foreign(file_name):
        return None
    parts = [part for part in re.split(r"[\\/]+", file_name) if part]
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if archives.is_file(folder / end)), None)
