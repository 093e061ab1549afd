"""Local maxima of maps, best first. Places are whole: column i, row j."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_PARTIAL = 64  # topk of n takes its k from a heap if n is at least so many times k


class Peaks(NamedTuple):
    """The best peaks of each of C maps, best first; among equals, those that torch.topk takes.

    Attributes:
        columns, rows: (C, n) int64; any place where there are fewer peaks.
        values: (C, n); 0 there.
    """

    columns: Tensor
    rows: Tensor
    values: Tensor


def window_size(height: int, width: int) -> int:
    """Side of the window in which a centre must be the maximum, by the size of its map."""
    mean = (height + width) / 2
    return 7 if mean > 300 else 5 if mean > 200 else 3


def find_peaks(maps: Tensor, window: int, count: int = 30, step: int = 1) -> Peaks:
    """Cells above 0 that equal the maximum of the window around them.

    Args:
        maps: (C, h, w).
        window: side of the window, odd.
        count: peaks that are kept per map, at most.
        step: the maps are bilinear between every so many cells (from `upsample`), so that only
            these cells, and the repeated last ones, can be peaks; 1: nothing is known.
    """
    height, width = maps.shape[-2:]
    count = min(count, height * width)
    if step < max(2, window // 2) or height * width < _PARTIAL * count:
        tops = torch.where(maps == _window_maximum(maps, window), maps, 0).flatten(1)
        values, index = tops.topk(count)
    else:
        channels, rows, columns = _peaks_at_knots(maps, window, step)
        tops = maps[channels, rows, columns]
        values, index = _topk(tops, channels, rows * width + columns, len(maps), count)
    return Peaks(index % width, index // width, values.clamp(min=0))


def _window_maximum(maps: Tensor, window: int) -> Tensor:
    """(C, h, w), side by side: several times faster than pooling in both directions at once."""
    maps = F.max_pool2d(maps, (1, window), 1, (0, window // 2))
    return F.max_pool2d(maps, (window, 1), 1, (window // 2, 0))


def _peaks_at_knots(maps: Tensor, window: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Channels, rows and columns of the peaks above 0, row by row."""
    knots = [_knots(size, step, maps.device) for size in maps.shape[-2:]]
    coarse = _at_knots(_at_knots(maps, 1, step), 2, step)
    channels, rows, columns = _tops_of_knots(coarse, window // 2, step).nonzero(as_tuple=True)
    rows, columns = knots[0][rows], knots[1][columns]
    tops = torch.ones_like(rows, dtype=torch.bool)
    for axis, places in ((1, rows), (2, columns)):  # repeated ones: a look at their windows
        first = maps.shape[axis] - step
        (edge,) = (places >= first).nonzero(as_tuple=True)
        start = max(first - window // 2, 0)
        strip = maps.narrow(axis, start, maps.shape[axis] - start)
        highest = strip == _window_maximum(strip, window)
        at = [channels[edge], rows[edge], columns[edge]]
        at[axis] = at[axis] - start
        tops[edge] &= highest[tuple(at)]
    return channels[tops], rows[tops], columns[tops]


def _knots(size: int, step: int, device: torch.device) -> Tensor:
    """Places where the slope may change: every `step`-th, and the repeated ones at the end."""
    last = size - step
    inner = torch.arange(0, last, step, device=device)
    return torch.cat([inner, torch.arange(last, size, device=device)])


def _at_knots(maps: Tensor, axis: int, step: int) -> Tensor:
    """The cells at `_knots` of an axis; slices are several times faster than indices."""
    last = maps.shape[axis] - step
    inner = maps.narrow(axis, 0, last).movedim(axis, 0)[::step].movedim(0, axis)
    return torch.cat([inner, maps.narrow(axis, last, step)], axis)


def _tops_of_knots(coarse: Tensor, reach: int, step: int) -> Tensor:
    """(C, h, w) bool: above 0, and not below any pixel in reach of which this can be said.

    Between knots a bilinear map is largest at a corner: of the part of a mesh that is in reach, or
    of the mesh. Where the last knots lie side by side, only the 4 neighbours are looked at.
    """
    height, width = coarse.shape[1:]
    around = F.pad(coarse, (1, 1, 1, 1), value=float("-inf"))
    side = {
        (y, x): around[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width]
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    }
    tops = coarse > 0
    for y, x in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        tops &= coarse >= side[y, x]
    share = min(reach / step, 1)  # of a mesh that is in reach
    inner = (slice(None), slice(0, height - step), slice(0, width - step))
    for y, x in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        rest = (1 - share) * (side[y, 0][inner] + side[0, x][inner]) if share < 1 else 0
        tops[inner] &= (2 - share) * coarse[inner] >= rest + share * side[y, x][inner]
    return tops


def _topk(
    tops: Tensor, channels: Tensor, places: Tensor, num_maps: int, count: int
) -> tuple[Tensor, Tensor]:
    """Values and places (C, count) of the best, as topk of the whole maps with 0 elsewhere.

    It keeps a heap that starts as the first `count` cells and looks at the others one by one; so
    equal peaks, such as repeated last rows, come out the same if zeros in between are left out.
    """
    counts = torch.bincount(channels, minlength=num_maps)
    rank = torch.arange(len(channels), device=tops.device) - (counts.cumsum(0) - counts)[channels]
    slots = torch.where(places < count, places, count + rank)
    size = max(count + int(counts.max()), _PARTIAL * count)
    values = tops.new_zeros(num_maps, size)
    index = places.new_zeros(num_maps, size)
    values[channels, slots], index[channels, slots] = tops, places
    values, slots = values.topk(count)
    return values, index.gather(1, slots)
