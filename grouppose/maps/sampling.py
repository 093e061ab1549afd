"""Values of maps at points. Points are in pixels of the map: column i, row j is the point (i, j).

Each keypoint reads its own channel.
"""

from __future__ import annotations

import torch
from torch import Tensor


def at_cells(maps: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Values at whole places, moved to the border where they are outside.

    Args:
        maps: (K, h, w).
        columns, rows: (n, K) int64.

    Returns:
        (n, K).
    """
    height, width = maps.shape[-2:]
    channel = torch.arange(len(maps), device=maps.device)
    return maps[channel, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]


def bilinear_truncated(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values, cells found by truncation toward zero.

    So x in (-1, 0) extrapolates from columns 0 and 1. Points whose four cells are not all on the
    map read 0.

    Args:
        maps: (K, h, w).
        points: (n, K, 2) x, y.

    Returns:
        (n, K).
    """
    height, width = maps.shape[-2:]
    corner = points.trunc()
    x, y = corner.long().unbind(-1)
    inside = (x >= 0) & (y >= 0) & (x + 1 < width) & (y + 1 < height)
    right, down = (points - corner).to(maps.dtype).unbind(-1)
    value = (
        at_cells(maps, x, y) * (1 - right) * (1 - down)
        + at_cells(maps, x + 1, y) * right * (1 - down)
        + at_cells(maps, x, y + 1) * (1 - right) * down
        + at_cells(maps, x + 1, y + 1) * right * down
    )
    return torch.where(inside, value, 0)
