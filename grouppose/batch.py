"""Pictures of different sizes as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grouppose.errors import InputError


def batch_images(images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Pads pictures at the bottom and right to the largest height and width.

    Args:
        images: B tensors (3, h, w) of one dtype (uint8 0..255, or float 0..1).

    Returns:
        images (B, 3, H, W) of that dtype, padded with 0; padding (B, H, W) bool, True = padding.
    """
    if not images:
        raise InputError("batch_images got no picture; expected at least one (3, h, w) tensor")
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] != 3:
            raise InputError(f"picture {i} has shape {tuple(image.shape)}, expected (3, h, w)")
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    batch = images[0].new_zeros(len(images), 3, height, width)
    padding = torch.ones(len(images), height, width, dtype=torch.bool, device=images[0].device)
    for i, image in enumerate(images):
        _, h, w = image.shape
        batch[i, :, :h, :w] = image
        padding[i, :h, :w] = False
    return batch, padding
