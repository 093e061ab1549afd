"""Flip, crop and resize: pure functions of a picture and the people on it.

A picture is (3, h, w) uint8. People are a dict in pixels of that picture: keypoints (T, K, 2)
float32 x, y, visible (T, K) bool, boxes (T, 4) float32 x0, y0, x1, y1 and area (T,) float32;
what else there is of everybody, such as labels (T,), stays with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from grouppose.errors import InputError
from grouppose.pictures import resize_picture, resized_size

People = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """The sizes that pictures are brought to, in pixels.

    Attributes:
        scales: shorter sides to train with; the largest is that of evaluation.
        longest: limit of the longer side.
        before_crop: shorter sides before a random crop.
        crop: least and largest side of a random crop.
    """

    scales: tuple[int, ...]
    longest: int
    before_crop: tuple[int, ...]
    crop: tuple[int, int]

    @classmethod
    def from_settings(
        cls,
        scales: Sequence[int],
        longest: int,
        before_crop: Sequence[int],
        crop: Sequence[int],
        factor: float | None = None,
    ) -> Sizes:
        """Takes the settings as they are configured, all multiplied by `factor` if there is one."""
        factor = factor or 1.0
        if len(crop) != 2 or crop[0] > crop[1]:
            raise InputError(
                f"data_aug_scales2_crop is {list(crop)}, expected the least and the largest side"
            )
        lists = [tuple(round(size * factor) for size in sizes) for sizes in (scales, before_crop)]
        longest, low, high = (round(size * factor) for size in (longest, *crop))
        if not all(lists) or min(*lists[0], *lists[1], longest, low) < 1:
            raise InputError(
                "data_aug_scales, data_aug_scales2_resize, data_aug_scales2_crop or "
                "data_aug_max_size gives no side of 1 pixel or more; expected sizes in pixels"
            )
        return cls(lists[0], longest, lists[1], (low, high))

    def at(self, shorter: int) -> Sizes:
        """Evaluation at this shorter side instead, the limit of the longer one in proportion."""
        longest = self.longest * shorter // max(self.scales)
        return replace(self, scales=(shorter,), longest=longest)


def resize(image: Tensor, people: People, size: tuple[int, int]) -> tuple[Tensor, People]:
    """Resizes to (height, width) by antialiased bilinear interpolation, like PIL."""
    height, width = image.shape[-2:]
    if size == (height, width):
        return image, people
    scale = torch.tensor([size[1] / width, size[0] / height])
    return resize_picture(image, size), {
        **people,
        "keypoints": people["keypoints"] * scale,
        "boxes": people["boxes"] * scale.repeat(2),
        "area": people["area"] * scale.prod(),
    }


def flip(image: Tensor, people: People, flip_order: Sequence[int]) -> tuple[Tensor, People]:
    """Mirrors left and right: pixel x becomes w - 1 - x; left and right keypoints change names.

    Args:
        image: (3, h, w).
        people: see the module.
        flip_order: K indices, from the skeleton.
    """
    width = image.shape[-1]
    order = list(flip_order)
    x, y = people["keypoints"][:, order].unbind(-1)
    x0, y0, x1, y1 = people["boxes"].unbind(-1)
    return image.flip(-1), {
        **people,
        "keypoints": torch.stack([width - 1 - x, y], -1),
        "visible": people["visible"][:, order],
        "boxes": torch.stack([width - x1, y0, width - x0, y1], -1),
    }


def crop(
    image: Tensor, people: People, top: int, left: int, height: int, width: int
) -> tuple[Tensor, People]:
    """Cuts a rectangle out.

    Boxes and keypoints outside move to its border and keypoints stay visible, as published; people
    whose box lies outside are removed. A person's area becomes that of what is left of the box.
    """
    corner = torch.tensor([left, top], dtype=torch.float32)
    limit = torch.tensor([width, height], dtype=torch.float32)
    people = within(
        {
            **people,
            "keypoints": (people["keypoints"] - corner).clamp(min=0).minimum(limit),
            "boxes": people["boxes"] - corner.repeat(2),
        },
        height,
        width,
    )
    people["area"] = (people["boxes"][:, 2:] - people["boxes"][:, :2]).prod(-1)
    return image[:, top : top + height, left : left + width], people


def within(people: People, height: int, width: int) -> People:
    """Boxes cut to the picture; people whose box lies outside or is empty are removed."""
    boxes = people["boxes"].clamp(min=0).minimum(torch.tensor([width, height] * 2))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(-1)
    return {name: value[inside] for name, value in {**people, "boxes": boxes}.items()}


@dataclass(frozen=True)
class CropPlan:
    """What recipe "crop" does to one picture.

    Attributes:
        picture: height and width of the picture.
        mirrored: whether left and right change places, first of all.
        before: height and width before the crop; those of the picture if there is none.
        box: top, left, height and width of the crop; None: there is none.
        size: height and width for the network.
    """

    picture: tuple[int, int]
    mirrored: bool
    before: tuple[int, int]
    box: tuple[int, int, int, int] | None
    size: tuple[int, int]

    outside = False  # nothing outside the picture is seen

    def apply(
        self, image: Tensor, people: People, flip_order: Sequence[int]
    ) -> tuple[Tensor, People]:
        """The picture for the network and the people on it."""
        if self.mirrored:
            image, people = flip(image, people, flip_order)
        image, people = resize(image, people, self.before)
        if self.box is not None:
            image, people = crop(image, people, *self.box)
        return resize(image, people, self.size)

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3) from the picture's pixels to the network's, before these are mirrored."""
        top, left, height, width = self.box or (0, 0, *self.before)
        if self.mirrored:
            left = self.before[1] - left - width
        rows = []
        for axis, start, side in ((1, left, width), (0, top, height)):
            first, last = self.before[axis] / self.picture[axis], self.size[axis] / side
            shift = (0.5 * first - 0.5 - start + 0.5) * last - 0.5  # of centres of pixels
            rows.append([first * last * (axis == 1), first * last * (axis == 0), shift])
        return np.array(rows)


@dataclass(frozen=True)
class Crop:
    """Recipe "crop": a random flip, for every second picture a random crop, a random size."""

    sizes: Sizes

    @property
    def largest(self) -> tuple[int, int]:
        """Height and width of the largest pictures."""
        shorter = max(self.sizes.scales)
        return shorter, max(shorter, self.sizes.longest)

    def draw(self, height: int, width: int, generator: np.random.Generator) -> CropPlan:
        """What is done to a picture of that size."""
        picture = before = (height, width)
        mirrored, box = generator.random() < 0.5, None
        if generator.random() < 0.5:
            before = resized_size(*picture, int(generator.choice(self.sizes.before_crop)))
            box = self._box(*before, generator)
        shorter = int(generator.choice(self.sizes.scales))
        size = resized_size(*(box[2:] if box else picture), shorter, self.sizes.longest)
        return CropPlan(picture, mirrored, before, box, size)

    def _box(
        self, full_height: int, full_width: int, generator: np.random.Generator
    ) -> tuple[int, int, int, int]:
        low, high = self.sizes.crop
        width, height = (
            int(generator.integers(min(low, full), min(high, full), endpoint=True))
            for full in (full_width, full_height)
        )
        top = int(generator.integers(full_height - height, endpoint=True))
        left = int(generator.integers(full_width - width, endpoint=True))
        return top, left, height, width


def crop_matrix(
    picture: tuple[int, int],
    scale: float,
    degrees: float,
    shift: tuple[float, float],
    side: int,
) -> tuple[np.ndarray, float]:
    """A square of a picture, turned, as a picture of `side` x `side` pixels.

    Args:
        picture: its height and width.
        scale: side of the square, in shorter sides of the picture.
        degrees: by which the square's content turns about its centre.
        shift: dx, dy in pixels of the square's centre from the picture's.
        side: of the result, in pixels.

    Returns:
        (2, 3) float64 from the picture's pixels to the result's; the factor that areas change by.
    """
    height, width = picture
    length = scale * min(height, width)
    zoom, middle = side / length, side / 2
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([width / 2 + shift[0], height / 2 + shift[1]])
    start = turn @ (side * (0.5 - centre / length) - middle) + middle
    return np.concatenate([zoom * turn, start[:, None]], axis=1), zoom**2


def eval_transform(image: Tensor, people: People, sizes: Sizes) -> tuple[Tensor, People]:
    """The largest of the training sizes."""
    size = resized_size(*image.shape[-2:], max(sizes.scales), sizes.longest)
    return resize(image, people, size)
