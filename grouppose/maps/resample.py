"""Maps at other sizes, cells kept in their places: cell i of the low map is pixel r i of the high.

r is the ratio of the sizes, the same stride that targets are encoded with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear between the cells; beyond the last row and column, r - 1 pixels repeat them.

    Args:
        maps: (..., h, w).
        size: (H, W), usually multiples of h and w; r = H / h in y, W / w in x.

    Returns:
        (..., H, W); the maps themselves where the size is theirs.
    """
    height, width = maps.shape[-2:]
    if (height, width) == tuple(size):
        return maps
    flat = maps.reshape(1, -1, height, width)
    if size[0] % height or size[1] % width:
        high = _lines(_lines(flat, size[1]).mT, size[0]).mT
    else:
        r_y, r_x = size[0] // height, size[1] // width
        inner = (size[0] - r_y + 1, size[1] - r_x + 1)
        high = F.interpolate(flat, inner, mode="bilinear", align_corners=True)
        high = F.pad(high, (0, r_x - 1, 0, r_y - 1), mode="replicate")
    return high.reshape(*maps.shape[:-2], *size)


def _lines(maps: Tensor, size: int) -> Tensor:
    """(..., n) -> (..., size) where size / n is no whole number."""
    count = maps.shape[-1]
    place = torch.arange(size, device=maps.device, dtype=torch.float64) * (count / size)
    place = place.clamp(max=count - 1)
    low = place.floor().long()
    share = (place - low).to(maps.dtype)
    return torch.lerp(maps[..., low], maps[..., (low + 1).clamp(max=count - 1)], share)
