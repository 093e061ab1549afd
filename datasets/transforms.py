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


def train_transform(
    image: Tensor,
    people: People,
    sizes: Sizes,
    flip_order: Sequence[int] | None,
    generator: np.random.Generator,
) -> tuple[Tensor, People]:
    """Random flip; then, for every second picture, a random crop; then a random training size.

    Args:
        image, people, sizes: see the module.
        flip_order: of the skeleton; None: pictures are not mirrored.
        generator: of the random numbers, which are the same with mirroring and without.
    """
    if generator.random() < 0.5 and flip_order is not None:
        image, people = flip(image, people, flip_order)
    if generator.random() < 0.5:
        image, people = _random_crop(image, people, sizes, generator)
    shorter = int(generator.choice(sizes.scales))
    return resize(image, people, resized_size(*image.shape[-2:], shorter, sizes.longest))


def _random_crop(
    image: Tensor, people: People, sizes: Sizes, generator: np.random.Generator
) -> tuple[Tensor, People]:
    shorter = int(generator.choice(sizes.before_crop))
    image, people = resize(image, people, resized_size(*image.shape[-2:], shorter))
    low, high = sizes.crop
    full_height, full_width = image.shape[-2:]
    width, height = (
        int(generator.integers(min(low, full), min(high, full), endpoint=True))
        for full in (full_width, full_height)
    )
    top = int(generator.integers(full_height - height, endpoint=True))
    left = int(generator.integers(full_width - width, endpoint=True))
    return crop(image, people, top, left, height, width)


def eval_transform(image: Tensor, people: People, sizes: Sizes) -> tuple[Tensor, People]:
    """The largest of the training sizes."""
    size = resized_size(*image.shape[-2:], max(sizes.scales), sizes.longest)
    return resize(image, people, size)
