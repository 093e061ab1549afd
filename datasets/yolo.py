"""YOLO's format of poses: what a data.yaml and the lines of its label files say.

    kpt_shape: [17, 3]                    keypoints, and numbers each: x, y (2) or x, y, v (3)
    flip_idx: [0, 2, 1, ...]              the keypoint at each place of a mirrored person
    names: {0: person}                    classes; kpt_names: {0: [nose, ...]} their keypoints

A label file has a line a person, in shares of the picture's width and height: class, x and y of the
box's centre, its width and height, then the keypoints. Documented at
https://docs.ultralytics.com/datasets/pose/.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from grouppose.errors import InputError, MissingFileError
from grouppose.keypoints import BOX_SHARE
from grouppose.skeleton import Skeleton, skeleton_of

DECIMALS = 12  # of a share, of which a pixel's tenth is some 5
BEYOND = 1.5  # shares above are pixels


@dataclass(frozen=True)
class Poses:
    """What is on the pictures of a set.

    Attributes:
        classes: their names, by number from 0.
        skeleton: of everybody.
        dims: numbers of a keypoint, 2 or 3.
    """

    classes: tuple[str, ...]
    skeleton: Skeleton
    dims: int = 3


def read_yaml(path: Path) -> Mapping:
    """The content of a data.yaml that has keypoints."""
    try:
        content = yaml.safe_load(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingFileError(f"no file {path}; give a data.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"{path} is not YAML ({text}); expected a data.yaml") from error
    if not isinstance(content, Mapping) or "kpt_shape" not in content:
        raise InputError(f"{path} has no 'kpt_shape'; expected a data.yaml of YOLO's poses")
    return content


def poses_of(content: Mapping, place: str) -> Poses:
    """Classes and keypoints of a data.yaml; `place` starts error messages."""
    shape = content["kpt_shape"]
    if (
        not isinstance(shape, list)
        or [type(n) for n in shape] != [int, int]
        or shape[0] < 1
        or shape[1] not in (2, 3)
    ):
        raise InputError(f"{place}: kpt_shape is {shape!r}, expected [keypoints, 2 or 3]")
    listed = content.get("names")
    if isinstance(listed, list):
        listed = dict(enumerate(listed))
    if not isinstance(listed, Mapping) or sorted(map(str, listed)) != sorted(
        map(str, range(len(listed)))
    ):
        raise InputError(f"{place}: names are {listed!r}, expected a class for each of 0, 1, ...")
    classes = {int(number): str(name) for number, name in listed.items()}
    classes = tuple(classes[number] for number in sorted(classes))
    return Poses(classes, _skeleton(content, shape[0], place), shape[1])


def _skeleton(content: Mapping, count: int, place: str) -> Skeleton:
    """By the names of the keypoints; without any, the published one that mirrors alike, or names
    that say what flip_idx says."""
    order = content.get("flip_idx") or list(range(count))
    right = isinstance(order, list) and all(type(place) is int for place in order)
    right = right and sorted(order) == list(range(count))
    if not right or any(order[order[i]] != i for i in range(count)):
        raise InputError(f"{place}: flip_idx is {order!r}, expected pairs of 0 to {count - 1}")
    pairs = tuple((i, other) for i, other in enumerate(order) if i < other)
    names = content.get("kpt_names")
    names = next(iter(names.values()), None) if isinstance(names, Mapping) else names
    if names is not None:
        if not isinstance(names, list) or len(set(map(str, names))) != count:
            raise InputError(f"{place}: kpt_names are {names!r}, expected {count} different names")
        named = Skeleton.from_names([str(name) for name in names])
        if "flip_idx" not in content or named.flip_order == tuple(order):
            return named
        return Skeleton(named.names, pairs, named.sigmas, ())
    if skeleton_of(count).flip_order == tuple(order):
        return skeleton_of(count)
    names = [f"keypoint_{i}" for i in range(count)]
    for i, other in pairs:
        names[i], names[other] = f"left_{i}", f"right_{i}"
    return Skeleton.from_names(names)


def to_yaml(poses: Poses, splits: Sequence[str]) -> str:
    """The text of a data.yaml beside images/ and labels/."""
    names = dict(enumerate(poses.classes))
    content = {split: f"images/{split}" for split in splits} | {
        "kpt_shape": [poses.skeleton.num_keypoints, poses.dims],
        "flip_idx": list(poses.skeleton.flip_order),
        "names": names,
        "kpt_names": {number: list(poses.skeleton.names) for number in names},
    }
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True)


def read_labels(text: str, place: str, poses: Poses, size: tuple[int, int]) -> list[dict]:
    """The people of a label file as annotations of COCO's format, without ids.

    Args:
        text: of the file.
        place: its name, for error messages.
        poses: of the set.
        size: height, width of the picture as it is shown, in pixels.
    """
    people = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            people.append(_person(line.split(), f"{place}:{number}", poses, size))
    return people


def _person(words: list[str], place: str, poses: Poses, size: tuple[int, int]) -> dict:
    count, dims = poses.skeleton.num_keypoints, poses.dims
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise InputError(f"{place} has something else than numbers; correct it") from error
    if len(values) != 5 + count * dims:
        raise InputError(
            f"{place} has {len(values)} numbers, expected {5 + count * dims}: class, box and "
            f"{count} keypoints of {dims}; correct the line or kpt_shape"
        )
    if values[0] not in range(len(poses.classes)):
        raise InputError(
            f"{place} has class {words[0]}, expected 0 to {len(poses.classes) - 1}; correct it or "
            "names"
        )
    points = [values[start : start + dims] for start in range(5, len(values), dims)]
    shares = [*values[1:5], *(value for point in points for value in point[:2])]
    if not all(abs(share) <= BEYOND for share in shares):
        raise InputError(f"{place} has {max(shares, key=abs)}; expected shares of the picture")
    height, width = size
    x, y, w, h = values[1:5]
    low = (_pixels(x - w / 2, width), _pixels(y - h / 2, height))
    box = [*low, _pixels(w, width), _pixels(h, height)]
    keypoints = [v for point in points for v in _keypoint(point, width, height)]
    return {
        "category_id": int(values[0]) + 1,
        "keypoints": keypoints,
        "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
        "bbox": box,
        "area": BOX_SHARE * box[2] * box[3],
        "iscrowd": 0,
    }


def _keypoint(point: Sequence[float], width: int, height: int) -> list[float]:
    """x, y, v; of two numbers alone, 0 0 and what is negative is not labelled."""
    x, y = point[:2]
    seen = point[2] if len(point) == 3 else 2 * (x >= 0 and y >= 0 and (x, y) != (0, 0))
    if not seen > 0:
        return [0, 0, 0]
    return [_pixels(x, width), _pixels(y, height), 1 if seen == 1 else 2]


def _pixels(share: float, side: int) -> float:
    """The number of pixels with the fewest decimals that is this share of a side."""
    share = round(share, DECIMALS)
    for decimals in range(DECIMALS):
        pixels = round(share * side, decimals)
        if round(pixels / side, DECIMALS) == share:
            return pixels
    return share * side


def label_line(person: Mapping, number: int, size: tuple[int, int]) -> str:
    """A person's line; what lies outside the picture moves to its border.

    Args:
        person: an annotation of COCO's format with a box.
        number: of the class, from 0.
        size: height, width of the picture in pixels.
    """
    height, width = size
    x, y, w, h = person["bbox"]
    left, right = (_share(value, width) for value in (x, x + w))
    top, bottom = (_share(value, height) for value in (y, y + h))
    values = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    words = [str(number), *map(_text, values)]
    points = person["keypoints"]
    for x, y, v in zip(points[::3], points[1::3], points[2::3], strict=True):
        if v > 0:
            words += [_text(_share(x, width)), _text(_share(y, height)), "1" if v == 1 else "2"]
        else:
            words += ["0", "0", "0"]
    return " ".join(words)


def _share(pixels: float, side: int) -> float:
    return min(max(pixels / side, 0.0), 1.0)


def _text(share: float) -> str:
    assert math.isfinite(share)
    return f"{share:.{DECIMALS}f}".rstrip("0").rstrip(".")
