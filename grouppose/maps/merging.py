"""Maps of a mirrored picture turned back, with left and right keypoints exchanged.

The mirrored picture has cell w - 1 - i where the picture has cell i; strides of more than 1 pixel
need the mirrored picture shifted so that this holds, which is the family's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def unflip_heatmaps(maps: Tensor, flip_order: Sequence[int]) -> Tensor:
    """(B, C, h, w), the first K channels keypoints, others as they are -> the same of the picture.

    Args:
        maps: of the mirrored picture.
        flip_order: K, of the skeleton.
    """
    order = [*flip_order, *range(len(flip_order), maps.shape[1])]
    return maps[:, order].flip(-1)


def unflip_poses(poses: Tensor, flip_order: Sequence[int]) -> Tensor:
    """Poses (B, 2K, h, w), in every cell x and y of K keypoints, in cells -> those of the picture.

    Args:
        poses: of the mirrored picture.
        flip_order: K, of the skeleton.
    """
    width = poses.shape[-1]
    x, y = poses.unflatten(1, (-1, 2))[:, list(flip_order)].flip(-1).unbind(2)
    return torch.stack([width - 1 - x, y], 2).flatten(1, 2)


def poses_from_offsets(offsets: Tensor) -> Tensor:
    """Offsets (B, 2K, h, w), cell - keypoint in cells -> poses (B, 2K, h, w): the keypoints."""
    height, width = offsets.shape[-2:]
    x = torch.arange(width, device=offsets.device, dtype=offsets.dtype).expand(height, -1)
    y = torch.arange(height, device=offsets.device, dtype=offsets.dtype)[:, None].expand(-1, width)
    grid = torch.stack([x, y]).repeat(offsets.shape[1] // 2, 1, 1)
    return grid - offsets
