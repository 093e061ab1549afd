"""How a picture is looked at: the inputs that a network gets of it, and how they are made.

A view is worked out from the picture's size alone. `look` makes the inputs of all its views.
Coordinates are those of pixel centres, at whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from grouppose.batch import batch_images
from grouppose.errors import InputError
from grouppose.pictures import planar, resize_picture

RESAMPLING = ("antialias", "cubic", "affine")


@dataclass(frozen=True, eq=False)
class View:
    """One look at a picture.

    Attributes:
        size: height, width of the input in pixels.
        mirrored: whether it is mirrored in the end: column x becomes W - 1 - x.
        matrix: (2, 3) float64, from x, y of the picture to x, y of the input before mirroring.
        resample: "antialias" scales the picture along its axes as PIL does, "cubic" as OpenCV
            does (no antialiasing); both put it at `matrix[:, 2]`, which are whole pixels. "affine"
            is OpenCV's bilinear warp by the matrix. Outside of the picture the input is black.
        picture: height, width of the picture.
        border: whether what lies outside of the picture counts as padding.
        shift: columns that a mirrored input is moved to the left by.
        fill: what then is in the last columns: "picture", as before the shift, or "padding".
    """

    size: tuple[int, int]
    mirrored: bool
    matrix: np.ndarray
    resample: str
    picture: tuple[int, int]
    border: bool = False
    shift: int = 0
    fill: str = "picture"

    @property
    def inverse(self) -> np.ndarray:
        """(2, 3) float64, from x, y of the input (not mirrored) to x, y of the picture."""
        return cv2.invertAffineTransform(self.matrix)


class Input(NamedTuple):
    """What a network gets of a picture: image (3, H, W) uint8 RGB; padding (H, W) bool, or None."""

    image: Tensor
    padding: Tensor | None


def scaled_view(picture: tuple[int, int], size: tuple[int, int], mirrored: bool = False) -> View:
    """The whole picture, of height and width `picture`, brought to `size` with antialiasing."""
    matrix = np.array([[size[1] / picture[1], 0, 0], [0, size[0] / picture[0], 0]])
    return View(size, mirrored, matrix, "antialias", picture)


def look(image: Tensor, views: Sequence[View]) -> list[Input]:
    """The inputs of a picture's views; those that differ by mirroring alone share the resampling.

    Args:
        image: (3, h, w) uint8 RGB, of the size that the views are for.
        views: of it.
    """
    straight: dict[tuple, Input] = {}
    inputs = []
    for view in views:
        key = (view.size, view.matrix.tobytes(), view.resample, view.border)
        if key not in straight:
            straight[key] = _resampled(image, view)
        inputs.append(_mirrored(straight[key], view) if view.mirrored else straight[key])
    return inputs


def _resampled(image: Tensor, view: View) -> Input:
    """The input before it is mirrored."""
    height, width = image.shape[-2:]
    if view.resample == "affine":
        return _warped(image, view)
    scale = view.matrix.diagonal()
    inner = (round(height * scale[1]), round(width * scale[0]))
    if view.resample == "cubic":
        pixels = image.permute(1, 2, 0).numpy()
        pixels = cv2.resize(pixels, inner[::-1], interpolation=cv2.INTER_CUBIC)
        image = torch.from_numpy(pixels).permute(2, 0, 1)
    else:
        image = resize_picture(image, inner)
    image = image if image.is_contiguous() else planar(image)
    if inner == tuple(view.size):
        return Input(image, None)
    left, top = (int(place) for place in view.matrix[:, 2])
    whole, padding = image.new_zeros(3, *view.size), None
    whole[:, top : top + inner[0], left : left + inner[1]] = image
    if view.border:
        padding = torch.ones(view.size, dtype=torch.bool)
        padding[top : top + inner[0], left : left + inner[1]] = False
    return Input(whole, padding)


def _warped(image: Tensor, view: View) -> Input:
    size = tuple(view.size)[::-1]
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    warped = torch.from_numpy(cv2.warpAffine(pixels, view.matrix, size, flags=cv2.INTER_LINEAR))
    padding = None
    if view.border:
        inside = cv2.warpAffine(np.ones(pixels.shape[:2], np.float32), view.matrix, size)
        padding = torch.from_numpy(inside <= 0.5)
    return Input(planar(warped.permute(2, 0, 1)), padding)


def _mirrored(straight: Input, view: View) -> Input:
    """The input mirrored, and moved to the left if the view says so."""
    image, padding = straight.image.flip(-1), straight.padding
    padding = None if padding is None else padding.flip(-1)
    if not view.shift:
        return Input(image, padding)
    rest = image.shape[-1] - view.shift
    moved = image.clone()
    moved[..., :rest] = image[..., view.shift :]
    if padding is None and view.fill == "padding":
        padding = torch.zeros(image.shape[-2:], dtype=torch.bool)
    if padding is not None:
        padding = torch.cat([padding[:, view.shift :], padding[:, rest:]], 1)
    if view.fill == "padding":
        moved[..., rest:] = 0
        padding[:, rest:] = True
    return Input(moved, padding)


def batch_views(pictures: Sequence[Sequence[Input]]) -> list[tuple[Tensor, Tensor]]:
    """The inputs of B pictures, V views each, as V batches: see `batch_images`."""
    batches = []
    for inputs in zip(*pictures, strict=True):
        images, padding = batch_images([each.image for each in inputs])
        for b, each in enumerate(inputs):
            if each.padding is not None:
                height, width = each.padding.shape
                padding[b, :height, :width] |= each.padding
        batches.append((images, padding))
    return batches


def training_eval_size(settings: Mapping[str, Any]) -> list[int] | None:
    """What pictures are evaluated at where nothing else is said: the largest of training.

    Args:
        settings: augmentation, and affine_size, or data_aug_scales, data_aug_max_size and
            data_aug_scale_overlap, as configured.

    Returns:
        The shorter side, and the limit of the longer one if there is one; None if the settings do
        not say.
    """
    if settings.get("augmentation") == "affine":
        return [settings["affine_size"]]
    scales, longest = settings.get("data_aug_scales"), settings.get("data_aug_max_size")
    if not scales or not longest:
        return None
    factor = settings.get("data_aug_scale_overlap") or 1.0
    return [max(round(side * factor) for side in scales), round(longest * factor)]


def scaled_sides(
    eval_size: Sequence[int], scales: Sequence[int] = (), longest: int = 0
) -> list[tuple[int, int | None]]:
    """Shorter side and limit of the longer one, in pixels, of each scale to look at.

    Args:
        eval_size: the shorter side at scale 1, and the limit of the longer one if there is one.
        scales: other shorter sides, in place of that one; limits are in proportion.
        longest: a limit for all of them instead.
    """
    whole = isinstance(eval_size, Sequence) and all(isinstance(side, int) for side in eval_size)
    if not whole or len(eval_size) not in (1, 2) or min(eval_size) < 1:
        raise InputError(
            f"eval_size is {eval_size!r}, expected a side in pixels, or two: the shorter one, "
            "and the limit of the longer one"
        )
    if min([1, *scales]) < 1:
        raise InputError(f"test_scales is {list(scales)}, expected sides in pixels")
    sides = list(scales) or [eval_size[0]]
    return [(side, longest or (resized(eval_size, side) + [None])[1]) for side in sides]


def resized(eval_size: Sequence[int], shorter: int) -> list[int]:
    """An eval_size with another shorter side; a limit of the longer one is in proportion."""
    return [shorter, *(limit * shorter // eval_size[0] for limit in eval_size[1:])]
