"""The people of a picture as the rows of a table: one a person, or one a person and keypoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grouppose.errors import InputError, nearest

if TYPE_CHECKING:
    from grouppose.inference.results import Result

BOX = ["x0", "y0", "x1", "y1"]
EACH = ("person", "keypoint")


def table(result: Result, each: str) -> tuple[list[str], list[list[Any]]]:
    """Names of the columns, and the rows; None where there is no value.

    Args:
        each: "person" or "keypoint", as `Result.to_csv` describes them.
    """
    if each not in EACH:
        raise InputError(f"each is {each!r}; {nearest(str(each), EACH)}")
    people = list(zip(result.to_coco(), result.category_names, strict=True))
    if each == "keypoint":
        return _columns_of_keypoints(), _rows_of_keypoints(result, people)
    return _columns_of_people(result), _rows_of_people(result, people)


def _columns_of_people(result: Result) -> list[str]:
    points = [f"{name}_{c}" for name in result.skeleton.names for c in ("x", "y", "confidence")]
    tracked = [] if result.ids is None else ["id"]
    return ["path", "frame", "person", *tracked, "category_id", "category", "score", *BOX, *points]


def _rows_of_people(result: Result, people: list[tuple[dict, str]]) -> list[list[Any]]:
    rows = []
    for i, (found, name) in enumerate(people):
        tracked = [] if result.ids is None else [found["track_id"]]
        row = [result.path, result.frame, i, *tracked, *_person(found, name)]
        for x, y, v, confidence in _points(found):
            row += [x, y, confidence] if v else [None, None, confidence]
        rows.append(row)
    return rows


def _columns_of_keypoints() -> list[str]:
    person = ["path", "frame", "time", "person", "track", "category_id", "category", "score"]
    return [*person, *BOX, "name", "x", "y", "confidence"]


def _rows_of_keypoints(result: Result, people: list[tuple[dict, str]]) -> list[list[Any]]:
    time = round(result.frame / result.rate, 6) if result.rate else None
    rows = []
    for i, (found, category) in enumerate(people):
        track = found.get("track_id")
        person = [result.path, result.frame, time, i, track, *_person(found, category)]
        for name, (x, y, v, confidence) in zip(result.skeleton.names, _points(found), strict=True):
            if v:
                rows.append([*person, name, x, y, confidence])
    return rows


def _person(found: dict[str, Any], category: str) -> list[Any]:
    x, y, w, h = found["bbox"]
    box = [x, y, round(x + w, 3), round(y + h, 3)]
    return [found["category_id"], category, found["score"], *box]


def _points(found: dict[str, Any]) -> list[tuple[float, float, float, float]]:
    values = iter(found["keypoints"])
    return list(zip(values, values, values, found["keypoint_confidence"], strict=True))
