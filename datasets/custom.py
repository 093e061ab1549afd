"""Data sets of anybody's keypoints: what their annotation file says, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datasets.annotations import keypoint_names, named_skeleton, with_keypoints
from datasets.cleaning import is_number
from datasets.naming import (
    check_classes,
    class_ids,
    difference,
    inverse,
    keypoint_order,
    names_in,
)
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
        order: the place of each keypoint in the lists of this set's file; (): the same.
        file_ids: the id of each class in the file; (): it does not tell them apart.
        file_names: what the file calls its keypoints; (): nothing.
    """

    skeleton: Skeleton
    categories: list[list]
    num_classes: int
    sigmas_from: str
    order: tuple[int, ...] = ()
    file_ids: tuple[int, ...] = ()
    file_names: tuple[str, ...] = ()

    @property
    def file_skeleton(self) -> Skeleton:
        """In the order of the file, which results and scores go by."""
        return self.skeleton.in_order(self.order) if self.order else self.skeleton

    @property
    def file_order(self) -> tuple[int, ...]:
        """The keypoint at each place of the file's lists; (): the same."""
        return inverse(self.order)

    @property
    def training_names(self) -> tuple[str, ...]:
        """What this set's file calls the keypoints, in the order of the skeleton."""
        names = self.file_names
        return tuple(names[place] for place in self.order) if names and self.order else names

    @property
    def called(self) -> str:
        """What is labelled, for people who read it: its classes, or "people"."""
        names = [name for _, name in self.categories if name]
        return ", ".join(names) if names and names != ["person"] else "people"

    def __str__(self) -> str:
        skeleton = self.skeleton
        pairs = len(skeleton.flip_pairs)
        classes = f", {len(self.categories)} classes" if len(self.categories) > 1 else ""
        return (
            f"{skeleton.num_keypoints} keypoints, {pairs} left-right pairs, "
            f"{len(skeleton.limbs)} limbs{classes}; sigmas: {self.sigmas_from}"
        )


def poses_of(contents: Mapping, cfg: Mapping, like: Poses | None = None) -> Poses:
    """What a file of any keypoints has, checked against the settings.

    Args:
        contents: of its annotation file.
        cfg: skeleton (None: the file's) and categories ([]: the file's); num_body_points and
            num_classes, which are 0 where the file decides. num_classes = 2 makes one class of all
            categories.
        like: of the training set, with whose keypoints and classes this one is read.

    Raises:
        InputError: the file has other keypoints or classes than the settings, the skeleton or the
            training set, or categories of different keypoints.
    """
    found = keypoint_categories(contents)
    num_keypoints = len(found[0]["keypoints"]) if found else _usual_length(contents)
    if cfg.num_body_points and num_keypoints != cfg.num_body_points:
        raise InputError(
            f"the annotations have {num_keypoints} keypoints, num_body_points is "
            f"{cfg.num_body_points}; leave it out, or give the files that belong to the checkpoint"
            + _unknown(names_in(contents, num_keypoints), cfg.skeleton)
        )
    chosen = cfg.skeleton is not None and not isinstance(cfg.skeleton, Mapping)
    if like is not None:
        skeleton, source = like.skeleton, like.sigmas_from
    elif cfg.skeleton is not None:
        skeleton, source = read_skeleton(cfg.skeleton), GIVEN
    else:
        skeleton, source = _skeleton_and_source(contents, num_keypoints)
    if skeleton.num_keypoints != num_keypoints:
        raise InputError(
            f"the skeleton has {skeleton.num_keypoints} keypoints, the annotations have "
            f"{num_keypoints}; give the one that belongs to them, or leave skeleton out"
            + _unknown(names_in(contents, num_keypoints), cfg.skeleton)
        )
    order = keypoint_order(contents, skeleton, like.training_names if like else (), chosen)
    categories, file_ids = _classes(contents, found, cfg, like)
    num_classes = len(categories) + 1 if categories else cfg.num_classes or 2
    names = names_in(contents, num_keypoints)
    return Poses(skeleton, categories, num_classes, source, order, tuple(file_ids), names)


def _unknown(names: Sequence[str], skeleton: object) -> str:
    """The end of a message: a keypoint that only the file or only a checkpoint's skeleton has."""
    if not names or not isinstance(skeleton, Mapping):
        return ""
    return f" ({difference(names, skeleton['names'])})"


def _classes(
    contents: Mapping, found: Sequence[Mapping], cfg: Mapping, like: Poses | None
) -> tuple[list[list], list[int]]:
    """[id, name] of the model's classes, and the file's ids of them."""
    categories = [list(entry) for entry in cfg.categories]
    categories = categories or [[entry["id"], str(entry.get("name", ""))] for entry in found]
    if cfg.num_classes == 2 and len(categories) > 1:
        return [], []
    if cfg.num_classes and categories and cfg.num_classes != len(categories) + 1:
        raise InputError(
            f"num_classes is {cfg.num_classes}, the annotations have {len(categories)} categories "
            f"with keypoints; leave it out, or set 2 to make one class of them"
        )
    if not categories:
        return [], []
    ids = class_ids(found or contents["categories"], categories)
    check_classes(contents, ids, categories, stored=bool(cfg.categories) and like is None)
    return categories, ids


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
    for before, category in zip(found, found[1:], strict=False):
        if before["id"] == category["id"]:
            raise InputError(
                f"categories {before.get('name')!r} and {category.get('name')!r} have the id "
                f"{category['id']}; give each its own"
            )
    for category in found:
        keypoint_names(category)  # refuses a name that stands there twice
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
    box, points, area = entry.get("bbox"), entry.get("keypoints"), entry.get("area")
    if not isinstance(points, list) or len(points) % 3 or not all(map(is_number, points)):
        return entry  # refused later, with its id
    sized = isinstance(box, list) and len(box) == 4 and all(map(is_number, box))
    if not sized or not min(box[2:]) > 0:
        box = _box_around(points)
    if is_number(area) and area > 0:
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
