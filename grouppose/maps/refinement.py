"""Peaks between the pixels: least-squares gaussians, all at once.

Points are in pixels of the map: column i, row j is the point (i, j).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ITERATIONS = 60
EXACT_FROM = 6  # the first steps go by J'J, as MINPACK's, into the same valley; then Newton's
TINY = 1e-30
PRECISION = 1e-8  # pixels, or share of a parameter: a smaller step ends a fit


@torch.no_grad()
def fit_gaussians(
    maps: Tensor,
    channels: Tensor,
    columns: Tensor,
    rows: Tensor,
    radius: int = 6,
    sigma: float = 2.0,
) -> tuple[Tensor, Tensor]:
    """Fits A exp(-((x - x0)^2 + (y - y0)^2) / (2 s^2)) to the window around each pixel.

    Levenberg-Marquardt in float64 with analytic derivatives; all four parameters are free and start
    from the value there, the pixel and `sigma`. Windows are cut at the map's border. Later steps
    have the exact Hessian: where residuals are large, J'J alone takes hundreds of steps.

    Args:
        maps: (C, h, w).
        channels, columns, rows: (n,) int64, pixels on the map.
        radius: the window reaches so many pixels to each side.
        sigma: where s starts, in pixels.

    Returns:
        (n, 4) float64 of A, x0, y0 and s; (n,) bool: it converged.
    """
    size = 2 * radius + 1
    height, width = maps.shape[-2:]
    reach = torch.arange(-radius, radius + 1, device=maps.device)
    lines, across = rows[:, None] + reach, columns[:, None] + reach
    inside = torch.stack(
        [(across >= 0) & (across < width), (lines >= 0) & (lines < height)], 1
    ).double()  # (n, 2, size)
    padded = F.pad(maps, (radius,) * 4)
    stride = padded.stride()
    corner = channels * stride[0] + rows * stride[1] + columns
    cells = torch.arange(size, device=maps.device)
    windows = (cells[:, None] * stride[1] + cells).flatten()
    data = padded.flatten()[corner[:, None] + windows].double().view(-1, size, size)
    data = data * (inside[:, 1, :, None] * inside[:, 0, None])
    start = data.new_zeros(len(channels), 4)
    start[:, 0], start[:, 3] = maps[channels, rows, columns].double(), sigma
    found, converged = _minimise(data, inside, start)
    found[:, 1] += columns
    found[:, 2] += rows
    return found, converged


class _Sums(NamedTuple):
    """What a step needs: J'J and the rest of the Hessian (n, 4, 4), J'r (n, 4), squares (n,)."""

    products: Tensor
    curvature: Tensor
    gradient: Tensor
    error: Tensor


def _table(terms: Sequence[Sequence[Mapping]]) -> Tensor:
    """(25, 16): from all sums [q, p] to the entries of such a matrix."""
    table = torch.zeros(25, 16, dtype=torch.float64)
    for entry, parts in enumerate(part for row in terms for part in row):
        for (q, p), times in parts.items():
            table[5 * q + p, entry] = times
    return table


# Of sums [q, p] of something times dy^q dx^p: the products of 1, dx, dy and dx^2 + dy^2, 4 x 4, and
# what second derivatives of a gaussian have beside these.
_MOMENTS = _table((
    ({(0, 0): 1}, {(0, 1): 1}, {(1, 0): 1}, {(0, 2): 1, (2, 0): 1}),
    ({(0, 1): 1}, {(0, 2): 1}, {(1, 1): 1}, {(0, 3): 1, (2, 1): 1}),
    ({(1, 0): 1}, {(1, 1): 1}, {(2, 0): 1}, {(1, 2): 1, (3, 0): 1}),
    (
        {(0, 2): 1, (2, 0): 1},
        {(0, 3): 1, (2, 1): 1},
        {(1, 2): 1, (3, 0): 1},
        {(0, 4): 1, (2, 2): 2, (4, 0): 1},
    ),
))  # fmt: skip
_BESIDE = _table((
    ({}, {}, {}, {}),
    ({}, {(0, 0): 1}, {}, {(0, 1): 2}),
    ({}, {}, {(0, 0): 1}, {(1, 0): 2}),
    ({}, {(0, 1): 2}, {(1, 0): 2}, {(0, 2): 3, (2, 0): 3}),
))  # fmt: skip


def _sums(data: Tensor, inside: Tensor, found: Tensor, exact: bool) -> _Sums:
    """Sums over windows (n, size, size), as products of sums over rows and over columns.

    The gaussian is a curve in x times one in y; its derivatives are the gaussian times 1, dx, dy
    and dx^2 + dy^2, and so on, (dx, dy) the distance from its centre.
    """
    height, scale = found[:, 0], found[:, 3]
    reach = data.shape[-1] // 2
    cells = torch.arange(-reach, reach + 1, device=found.device, dtype=found.dtype)
    distance = cells - found[:, 1:3, None]  # (n, 2, size)
    square = distance**2
    curve = torch.exp(square / (-2 * scale**2)[:, None, None]) * inside
    ones = torch.ones_like(square)
    powers = torch.stack([ones, distance, square, square * distance, square**2], 2)
    times = powers * curve[:, :, None]
    along_x, along_y = times.unbind(1)  # (n, 5, size)
    with_data = along_y @ data @ along_x.mT  # [q, p]: sum of data g dy^q dx^p
    own_x, own_y = (times @ curve[..., None]).squeeze(-1).unbind(1)
    own = own_y[:, :, None] * own_x[:, None]  # [q, p]: sum of g^2 dy^q dx^p
    left = (with_data - height[:, None, None] * own).flatten(1)  # of the residual times g
    unit, inverse = torch.ones_like(scale), 1 / scale
    order = torch.stack([unit, inverse, inverse, inverse**2], 1)
    share = height * inverse
    column = torch.stack([unit, share, share, share], 1) * order
    moments = (left @ _MOMENTS.to(data.device)).view(-1, 4, 4)
    outer = column[:, :, None] * column[:, None]
    products = outer * (own.flatten(1) @ _MOMENTS.to(data.device)).view(-1, 4, 4)
    curvature = torch.zeros_like(products)
    if exact:
        beside = (left @ _BESIDE.to(data.device)).view(-1, 4, 4)
        height = height[:, None, None]
        curvature = outer * moments / torch.where(height == 0, TINY, height)
        curvature[:, 0, 0] = 0
        curvature -= height * (order[:, :, None] * order[:, None]) * beside
    height = found[:, 0]
    error = (data**2).sum((1, 2)) - 2 * height * with_data[:, 0, 0] + height**2 * own[:, 0, 0]
    return _Sums(products, curvature, column * moments[:, 0], error)


def _step(sums: _Sums, damping: Tensor, exact: bool) -> Tensor:
    """(n, 4): Levenberg-Marquardt's step; with the exact Hessian where that has a minimum."""
    damped = damping[:, None] * sums.products.diagonal(dim1=1, dim2=2).clamp(min=TINY)
    hessian = sums.products + torch.diag_embed(damped)
    if exact:
        full = hessian - sums.curvature
        curved = torch.linalg.cholesky_ex(full).info == 0
        hessian = torch.where(curved[:, None, None], full, hessian)
    step, failed = torch.linalg.solve_ex(hessian, sums.gradient)
    return torch.where((failed == 0)[:, None], step, float("nan"))


def _minimise(data: Tensor, inside: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters (n, 4), centres relative to the window's middle, and which converged (n,)."""
    result, converged = found.clone(), torch.zeros_like(found[:, 0], dtype=torch.bool)
    active = torch.arange(len(found), device=found.device)
    damping = torch.full_like(found[:, 0], 1.0)
    sums = _sums(data, inside, found, exact=False)
    for iteration in range(ITERATIONS):
        exact = iteration >= EXACT_FROM
        step = _step(sums, damping, exact)
        tried = _sums(data, inside, found + step, exact)
        better = tried.error <= sums.error  # not where a step is no number
        small = (step.abs() <= PRECISION * (found.abs() + 1)).all(1)
        found = torch.where(better[:, None], found + step, found)
        damping = torch.where(better, damping / 5, damping * 5).clamp(min=1e-12)
        sums = _Sums(*(
            torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(tried, sums, strict=True)
        ))  # fmt: skip
        result[active], converged[active] = found, small
        going = ~small & (damping < 1e9)
        if not going.any():
            break
        active, data, inside, found, damping = (
            v[going] for v in (active, data, inside, found, damping)
        )
        sums = _Sums(*(v[going] for v in sums))
    return result, converged
