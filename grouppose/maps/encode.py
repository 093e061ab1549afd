"""Training targets as maps: gaussians around points, and windows of offsets around centres.

All points are in cells of the map: cell (column i, row j) is the point (i, j). Arrays are numpy's,
since this runs in data workers, picture by picture.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
LEAST_AREA = 1.0  # pixels^2: smaller people do not weigh more than this


def draw_gaussians(
    points: Array, present: Array, sigma: float, size: tuple[int, int]
) -> tuple[Array, Array]:
    """Gaussians of height 1 around real-valued points, cut to a window; people join by maximum.

    Each fills the cells from floor(x - 3 sigma - 1) to ceil(x + 3 sigma + 2) - 1, likewise in y,
    as far as they are on the map.

    Args:
        points: (T, C, 2) x, y.
        present: (T, C) bool; others and points outside the map, [0, w) x [0, h), draw nothing.
        sigma: in cells.
        size: (h, w) of the map.

    Returns:
        maps (C, h, w) float32; windows (C, h, w) bool, the cells of any window of the channel.
    """
    height, width = size
    channels = points.shape[1]
    limit = np.array([width, height])
    present = present & (points >= 0).all(-1) & (points < limit).all(-1)
    reach = int(np.ceil(3 * sigma)) + 2  # so much of a window can lie outside the map
    padded = (channels, height + 2 * reach, width + 2 * reach)
    maps, windows = np.zeros(padded, np.float32), np.zeros(padded, bool)
    for row in np.flatnonzero(present.any(1)):  # a person has each channel once
        (channel,) = np.nonzero(present[row])
        xy = points[row, channel].astype(np.float64)
        first = np.floor(xy - 3 * sigma - 1)
        last = np.ceil(xy + 3 * sigma + 2) - 1
        cells = first[..., None] + np.arange(int((last - first).max()) + 1)  # (n, 2, side)
        curve = np.exp(-((cells - xy[..., None]) ** 2) / (2 * sigma**2))
        inside = cells <= last[..., None]
        curve = np.where(inside, curve, 0).astype(np.float32)
        column, line = (cells.astype(np.int64) + reach).transpose(1, 0, 2)
        index = (channel[:, None, None], line[:, :, None], column[:, None, :])
        maps[index] = np.maximum(maps[index], curve[:, 1, :, None] * curve[:, 0, None, :])
        windows[index] |= inside[:, 1, :, None] & inside[:, 0, None, :]
    middle = (slice(None), slice(reach, reach + height), slice(reach, reach + width))
    return np.ascontiguousarray(maps[middle]), windows[middle]


def draw_offsets(
    keypoints: Array,
    present: Array,
    centres: Array,
    area: Array,
    size: tuple[int, int],
    radius: int = 4,
) -> tuple[Array, Array]:
    """Offsets to a person's keypoints in a window around the centre; smaller people stay on top.

    In the order of people, then of keypoints, cells [c - radius, c + radius) get cell - keypoint
    and weight 1 / sqrt(area). A cell keeps what a keypoint has there if that is not (0, 0) and the
    area noted for the cell is less than the person's. The area is noted at every writing, one for
    all keypoints: a larger person's keypoint that the smaller one lacks overwrites it, and later
    keypoints of the larger one win there.

    Args:
        keypoints: (T, K, 2) x, y.
        present: (T, K) bool; others and keypoints outside the map, [0, w) x [0, h), have none.
        centres: (T, 2) x, y, truncated toward zero; not finite or outside the map: no offsets.
        area: (T,) of each person, at least `LEAST_AREA` of any unit counts.
        size: (h, w) of the map.
        radius: of the window.

    Returns:
        offsets and weights, both (2K, h, w) float32; channels 2k and 2k + 1 are x and y.
    """
    height, width = size
    count = keypoints.shape[1]
    limit = np.array([width, height])
    present = present & (keypoints >= 0).all(-1) & (keypoints < limit).all(-1)
    offsets = np.zeros((count, 2, height, width), np.float32)
    weights = np.zeros((count, 2, height, width), np.float32)
    noted = np.zeros(size, np.float32)
    centres = np.where(np.isfinite(centres), np.trunc(centres), -1).astype(np.int64)
    with_offsets = (centres >= 0).all(-1) & (centres < limit).all(-1) & present.any(1)
    area = np.maximum(area.astype(np.float32), LEAST_AREA)
    for row in np.flatnonzero(with_offsets):
        x, y = centres[row]
        lines = slice(max(y - radius, 0), y + radius)
        columns = slice(max(x - radius, 0), x + radius)
        (own,) = np.nonzero(present[row])
        here = noted[lines, columns]
        cells = np.stack(np.broadcast_arrays(
            np.arange(columns.start, columns.start + here.shape[1], dtype=np.float32),
            np.arange(lines.start, lines.start + here.shape[0], dtype=np.float32)[:, None],
        ))  # fmt: skip
        before = offsets[own, :, lines, columns]
        free = (before == 0).all(1) | (here >= area[row])
        written = np.logical_or.accumulate(free)  # once written, the cell's area is the person's
        new = cells - keypoints[row, own].astype(np.float32)[:, :, None, None]
        offsets[own, :, lines, columns] = np.where(written[:, None], new, before)
        old = weights[own, :, lines, columns]
        weights[own, :, lines, columns] = np.where(written[:, None], area[row] ** -0.5, old)
        noted[lines, columns] = np.where(written[-1], area[row], here)
    shape = (2 * count, height, width)
    return offsets.reshape(shape), weights.reshape(shape)
