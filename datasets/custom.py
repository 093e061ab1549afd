"""Data sets of anybody's keypoints: what their annotation file says, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from datasets.annotations import named_skeleton, with_keypoints
from grouppose.errors import InputError
from grouppose.keypoints import BOX_SHARE
from grouppose.skeleton import DEFAULT_SIGMA, Skeleton, read_skeleton, skeleton_of

GIVEN = "the checkpoint's, or those of the setting skeleton"
LEAST_SIDE = 32.0  # pixels of a box that nobody gave
MARGIN = 0.125  # of its sides that such a box is wider than the keypoints, left, right, ...


@dataclass(frozen=True)
class Poses:
    """What is to be found on the pictures of a set.

    Attributes:
        skeleton: of everybody.
        categories: [id, name] of the classes 1, 2, ...; []: one class, whatever the category.
        num_classes: theirs and class 0, which stands for nothing.
        sigmas_from: where its sigmas were found, for the log.
    """

    skeleton: Skeleton
    categories: list[list]
    num_classes: int
    sigmas_from: str

    def __str__(self) -> str:
        skeleton = self.skeleton
        pairs = len(skeleton.flip_pairs)
        classes = f", {len(self.categories)} classes" if len(self.categories) > 1 else ""
        return (
            f"{skeleton.num_keypoints} keypoints, {pairs} left-right pairs, "
            f"{len(skeleton.limbs)} limbs{classes}; sigmas: {self.sigmas_from}"
        )


def poses_of(contents: Mapping, cfg: Mapping) -> Poses:
    """What a file of any keypoints has, checked against the settings.

    Args:
        contents: of its annotation file.
        cfg: skeleton (None: the file's) and categories ([]: the file's); num_body_points and
            num_classes, which are 0 where the file decides. num_classes = 2 makes one class of all
            categories.

    Raises:
        InputError: the file has another number of keypoints than the settings or the skeleton, or
            categories of different keypoints.
    """
    found = keypoint_categories(contents)
    num_keypoints = len(found[0]["keypoints"]) if found else _usual_length(contents)
    if cfg.num_body_points and num_keypoints != cfg.num_body_points:
        raise InputError(
            f"the annotations have {num_keypoints} keypoints, num_body_points is "
            f"{cfg.num_body_points}; leave it out, or give the files that belong to the checkpoint"
        )
    if cfg.skeleton is not None:
        skeleton = read_skeleton(cfg.skeleton)
        if skeleton.num_keypoints != num_keypoints:
            raise InputError(
                f"the skeleton has {skeleton.num_keypoints} keypoints, the annotations have "
                f"{num_keypoints}; give the one that belongs to them, or leave skeleton out"
            )
        source = GIVEN
    else:
        skeleton, source = _skeleton_and_source(contents, num_keypoints)
    categories = [list(entry) for entry in cfg.categories]
    categories = categories or [[entry["id"], str(entry.get("name", ""))] for entry in found]
    if cfg.num_classes == 2 and len(categories) > 1:
        categories = []
    elif cfg.num_classes and categories and cfg.num_classes != len(categories) + 1:
        raise InputError(
            f"num_classes is {cfg.num_classes}, the annotations have {len(categories)} categories "
            f"with keypoints; leave it out, or set 2 to make one class of them"
        )
    num_classes = len(categories) + 1 if categories else cfg.num_classes or 2
    return Poses(skeleton, categories, num_classes, source)


def _skeleton_and_source(contents: Mapping, num_keypoints: int) -> tuple[Skeleton, str]:
    default = f"the default, {DEFAULT_SIGMA} each, as nobody states them"
    skeleton, source = named_skeleton(contents, num_keypoints)
    if skeleton is None:
        skeleton = skeleton_of(num_keypoints)
        alike = skeleton.flip_pairs  # a published one
        return skeleton, "those of the published skeleton of that size" if alike else default
    return skeleton, default if source == "nowhere" else f"those of {source}"


def keypoint_categories(contents: Mapping) -> list[Mapping]:
    """The categories that name keypoints, by id; they must be the same keypoints."""
    found = [c for c in contents["categories"] if isinstance(c.get("keypoints"), list)]
    found = sorted((c for c in found if c["keypoints"]), key=lambda entry: entry["id"])
    for other in found[1:]:
        if other["keypoints"] != found[0]["keypoints"]:
            raise InputError(
                f"categories {found[0].get('name')!r} and {other.get('name')!r} have different "
                "keypoints; one model has one skeleton: keep the annotations of one of them"
            )
    return found


def _usual_length(contents: Mapping) -> int:
    lengths = [
        len(entry["keypoints"])
        for entry in with_keypoints(contents)
        if isinstance(entry["keypoints"], list)
    ]
    if not lengths:
        raise InputError(
            "neither annotations nor categories have 'keypoints'; expected a pose set: name them "
            "in the category"
        )
    return max(set(lengths), key=lengths.count) // 3


def completed(contents: Mapping) -> Mapping:
    """Contents in which everybody has a box and an area.

    A missing or empty 'bbox' becomes the box around the labelled keypoints, a little wider and at
    least `LEAST_SIDE` on each side; a missing 'area', or one of 0, `BOX_SHARE` of the box.
    """
    return {**contents, "annotations": [_complete(entry) for entry in contents["annotations"]]}


def _complete(entry: Mapping) -> Mapping:
    box, points = entry.get("bbox"), entry.get("keypoints")
    area = entry.get("area")
    if not isinstance(points, list) or len(points) % 3:
        return entry  # refused later, with its id
    if not isinstance(box, list) or len(box) != 4 or not min(box[2:]) > 0:
        box = _box_around(points)
    if isinstance(area, int | float) and area > 0:
        return {**entry, "bbox": box}
    return {**entry, "bbox": box, "area": BOX_SHARE * box[2] * box[3]}


def _box_around(points: list) -> list[float]:
    labelled = [i for i in range(0, len(points), 3) if points[i + 2] > 0]
    if not labelled:
        return [0.0, 0.0, 0.0, 0.0]
    low, sides = [], []
    for axis in (0, 1):
        values = [points[i + axis] for i in labelled]
        least, length = min(values), max(values) - min(values)
        side = max(length * (1 + 2 * MARGIN), LEAST_SIDE)
        low.append(least + length / 2 - side / 2)
        sides.append(side)
    return [*map(float, low), *map(float, sides)]
