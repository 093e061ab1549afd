"""What the losses compare with: the labelled people of a picture, in shares of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from grouppose.errors import InputError
from grouppose.skeleton import COCO

COLUMNS = ("keypoints", "visible", "area", "labels")


def build_targets(*, num_body_points: int = COCO.num_keypoints) -> Callable:
    """Builds the step from labelled people to targets, which runs in the workers that read data.

    Args:
        num_body_points: K.
    """
    return partial(encode, num_body_points=num_body_points)


def encode(
    people: Mapping[str, Tensor],
    size: tuple[int, int],
    ignore: Tensor | None = None,
    *,
    num_body_points: int,
) -> dict[str, Tensor]:
    """Keypoints in [0, 1] of the picture's width and height, area as a share of the picture.

    Keypoints that were labelled outside the picture move to its border.

    Args:
        people: keypoints (T, K, 2) float32 x, y in pixels, visible (T, K) bool, area (T,) in
            square pixels and labels (T,) int64, which stay as they are; other columns do not
            count.
        size: height and width of the picture.
        ignore: not read, as the losses go by people.
        num_body_points: K.
    """
    if people["keypoints"].shape[1:] != (num_body_points, 2):
        raise InputError(
            f"people have keypoints {tuple(people['keypoints'].shape)}, expected "
            f"(T, {num_body_points}, 2); is num_body_points the dataset's?"
        )
    height, width = size
    return {
        **{name: people[name] for name in COLUMNS},
        "keypoints": (people["keypoints"] / torch.tensor([width, height])).clamp(0, 1),
        "area": people["area"] / (height * width),
    }
