"""Label files as people's tools write them, read as they are meant.

`cleaned` is applied to everything that `datasets.annotations` reads, so that training, evaluation
and `python -m datasets.check` go by the same values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grouppose.errors import InputError

SHOWN = 20  # ids of a finding
YES = ("true", "yes", "1")
NO = ("false", "no", "0", "", "null", "none", "nan")
CROWDPOSE_NAMED, CROWDPOSE_COUNTED = 14, 12  # of its keypoints, its num_keypoints counts the latter
_WHOLE = re.compile(r"\s*[+-]?\d{1,30}(\.0*)?\s*")


@dataclass(frozen=True)
class Finding:
    """A kind of problem.

    Attributes:
        text: what was found and what to change; it follows "N annotations" or the like.
        ids: where, in the order of the file.
        serious: training or evaluation would fail or be wrong, or other tools stumble.
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


_TYPE = "as text or with a fraction; read as the whole number that is meant"
SERIOUS = {
    "size": f"pictures have their 'height' or 'width' {_TYPE}",
    "unknown size": "pictures have a 'height' or 'width' of 0; the size is taken from the file",
    "image id": f"pictures have their 'id' {_TYPE}",
    "id": f"annotations have their 'id' {_TYPE}",
    "image_id": f"annotations have their 'image_id' {_TYPE}",
    "category_id": f"annotations have their 'category_id' {_TYPE}",
    "category": f"categories have their 'id' {_TYPE}",
    "no category": "annotations have no 'category_id'; read as the only category there is",
}
NOTES = {
    "iscrowd": "annotations have another 'iscrowd' than 0 or 1; read as what it means",
    "gaps": "annotations have null or NaN in 'keypoints' where v is 0; read as unlabelled",
    "count": "annotations have another 'num_keypoints' than keypoints with v > 0; the points count",
    "area": "annotations have null or text as 'area'; read as none or the number",
    "boxes": "annotations are of a category without 'keypoints'; they are nobody to find",
}


def cleaned(contents: Mapping) -> tuple[Mapping, list[Finding]]:
    """Contents with every value as it is meant, and what was found to be written otherwise.

    What cannot be read stays as it is, for the caller to refuse; entries are not changed in place.

    Args:
        contents: of a COCO-format file whose three lists hold objects.

    Raises:
        InputError: an 'iscrowd' or 'category_id' that means nothing.
    """
    found: dict[str, list[Any]] = {name: [] for name in (*SERIOUS, *NOTES)}
    categories = [_with_ids(entry, {"id": "category"}, found) for entry in contents["categories"]]
    images = [_picture(entry, found) for entry in contents["images"]]
    reader = _Reader(categories, contents["annotations"])
    annotations = [reader.read(entry, found) for entry in contents["annotations"]]
    texts = {**SERIOUS, **NOTES}
    findings = [
        Finding(texts[name], ids, serious=name in SERIOUS, warned=True)
        for name, ids in found.items()
        if ids
    ]
    lists = {"images": images, "annotations": annotations, "categories": categories}
    return {**contents, **lists}, findings


def whole(value: object) -> int | None:
    """The whole number that is meant: by 96, 96.0, "96" or "96.0"; None by anything else."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value.strip().split(".")[0])
    return None


def is_number(value: object) -> bool:
    """Whether it is finite; true and false are none."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < math.inf


def _with_ids(entry: Mapping, keys: Mapping[str, str], found: dict[str, list]) -> Mapping:
    """The entry with whole numbers under these keys; each with the kind of finding it makes."""
    changes = {}
    for key, kind in keys.items():
        value = entry.get(key)
        if type(value) is not int and whole(value) is not None:
            changes[key] = whole(value)
            found[kind].append(changes.get("id", entry.get("id")))
    return {**entry, **changes} if changes else entry


def _picture(entry: Mapping, found: dict[str, list]) -> Mapping:
    entry = _with_ids(entry, {"id": "image id"}, found)
    height, width = entry.get("height"), entry.get("width")
    if type(height) is int and type(width) is int and height > 0 and width > 0:
        return entry
    read = (whole(height), whole(width))
    if 0 in read and all(side is None or side >= 0 for side in read) and _unsaid(height, width):
        found["unknown size"].append(entry["id"] if "id" in entry else None)
        return {**entry, "height": None, "width": None}
    if None in read or read == (height, width) and int is type(height) is type(width):
        return entry
    found["size"].append(entry.get("id"))
    return {**entry, "height": read[0], "width": read[1]}


def _unsaid(*sides: object) -> bool:
    """Whether each side is a whole number or nothing, none of them nonsense."""
    return all(side is None or whole(side) is not None for side in sides)


class _Reader:
    """Reads annotations; knows how many keypoints a person of the file has.

    Attributes:
        length: numbers in a list of keypoints, 3 K.
        posed: ids of the categories that name keypoints.
        boxed: ids of the others, where there are both.
        only: the id of the only category that annotations can be of; None if there are several.
    """

    def __init__(self, categories: Sequence[Mapping], annotations: Sequence[Mapping]):
        named = [c for c in categories if isinstance(c.get("keypoints"), list) and c["keypoints"]]
        lists = (e.get("keypoints") for e in annotations)
        lengths = [len(points) for points in lists if isinstance(points, list) and points]
        if named:
            self.length = 3 * len(named[0]["keypoints"])
        else:
            self.length = max(set(lengths), key=lengths.count) if lengths else 0
        posed = {c.get("id") for c in named if type(c.get("id")) is int}
        others = {c.get("id") for c in categories if type(c.get("id")) is int} - posed
        self.boxed = others if posed else set()
        self.known = others | posed
        alone = posed or others
        self.only = min(alone) if len(alone) == 1 else None

    def read(self, entry: Mapping, found: dict[str, list]) -> Mapping:
        keys = {key: key for key in ("id", "image_id", "category_id")}
        entry = _with_ids(entry, keys, found)
        number, changes = entry.get("id"), {}
        category = entry.get("category_id")
        if type(category) is not int:
            category = self._category(entry)
            if category is not None:
                changes["category_id"] = category
                found["no category"].append(number)
        crowd = entry.get("iscrowd", 0)
        if type(crowd) is not int or crowd not in (0, 1):
            changes["iscrowd"] = int(_means_yes(crowd, number))
            found["iscrowd"].append(number)
        if "area" in entry and not isinstance(entry["area"], int | float):
            area = _decimal(entry["area"])
            if area is not None or entry["area"] is None:
                changes["area"] = area
                found["area"].append(number)
        if "keypoints" in entry:
            changes |= self._keypoints(entry, category, found)
        if not changes:
            return entry
        entry = {**entry, **changes}
        return {key: value for key, value in entry.items() if changes.get(key, 0) is not None}

    def _category(self, entry: Mapping) -> int | None:
        """Of an annotation that states none."""
        if entry.get("category_id") is not None:
            raise InputError(
                f"annotation {entry.get('id')} has category_id {entry['category_id']!r}; expected "
                f"the whole number of a category: {', '.join(map(str, sorted(self.known)))}"
            )
        return self.only

    def _keypoints(self, entry: Mapping, category: object, found: dict[str, list]) -> dict:
        """Changes to keypoints and num_keypoints; None: the entry has none."""
        points, number = entry["keypoints"], entry.get("id")
        if _nobody(points):
            if category in self.boxed:
                found["boxes"].append(number)
                return {"keypoints": None, "num_keypoints": None}
            zeros = [0] * self.length
            changes = {} if points and points == zeros else {"keypoints": zeros or None}
            return self._counted(entry, zeros, changes, found)
        if not isinstance(points, list) or len(points) % 3:
            return {}  # refused later, with its id
        changes = {}
        if not _finite(points):
            filled = _without_gaps(points)
            if filled is None:
                return {}
            if filled != points:
                found["gaps"].append(number)
                points = changes["keypoints"] = filled
        return self._counted(entry, points, changes, found)

    def _counted(self, entry: Mapping, points: list, changes: dict, found: dict) -> dict:
        """Without a num_keypoints that contradicts the points."""
        seen = [v > 0 for v in points[2::3]]
        right = {sum(seen)}
        if len(seen) == CROWDPOSE_NAMED:
            right.add(sum(seen[:CROWDPOSE_COUNTED]))
        if "num_keypoints" in entry:
            stated = entry["num_keypoints"]
            if type(stated) is not int or stated not in right:
                changes["num_keypoints"] = None
                found["count"].append(entry.get("id"))
        return changes


def _means_yes(value: object, number: object) -> bool:
    if value is None:
        return False
    if isinstance(value, int | float):
        return bool(value) and value == value  # NaN is nothing
    text = value.strip().lower() if isinstance(value, str) else ""
    text = str(whole(text)) if whole(text) is not None else text
    if not isinstance(value, str) or text not in (*YES, *NO):
        raise InputError(f"annotation {number} has iscrowd {value!r}; expected 0 or 1")
    return text in YES


def _decimal(value: object) -> float | None:
    """The number that a text spells."""
    try:
        return float(value) if isinstance(value, str) and math.isfinite(float(value)) else None
    except ValueError:
        return None


def _nobody(points: object) -> bool:
    """Whether it is nothing: null, an empty list or object, or zeros alone."""
    return points is None or points == {} or (isinstance(points, list) and not any(points))


def _finite(points: list) -> bool:
    """Whether all are finite numbers; a sum is the fastest way to see it."""
    try:
        return math.isfinite(sum(points))
    except (TypeError, OverflowError):
        return False


def _without_gaps(points: list) -> list | None:
    """Zeros for null and NaN where v is 0, or is missing as well; None where v is no number."""
    filled = []
    for triple in zip(points[::3], points[1::3], points[2::3], strict=True):
        if all(map(_missing, triple)):
            triple = (0, 0, 0)
        if not isinstance(triple[2], int | float):
            return None
        if triple[2] == 0:
            triple = (*(0 if _missing(value) else value for value in triple[:2]), 0)
        filled += triple
    return filled


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
