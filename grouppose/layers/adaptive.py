"""Adaptive convolution: a 3x3 kernel whose taps each place turns and stretches by its own matrix.

From the bottom-up networks of Microsoft (https://arxiv.org/abs/2006.15480 and DEKR,
https://arxiv.org/abs/2104.02300). Sampling is torchvision's deformable convolution, or its equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_DY = (-1, -1, -1, 0, 0, 0, 1, 1, 1)
_DX = (-1, 0, 1, -1, 0, 1, -1, 0, 1)


def regular_grid() -> Tensor:
    """(2, 9) float32: y and x of the taps of a 3x3 kernel, row by row."""
    return torch.tensor([_DY, _DX], dtype=torch.float32)


def tap_offsets(matrices: Tensor, grid: Tensor, translation: Tensor | None = None) -> Tensor:
    """How far each tap moves from its regular place: A R - R, plus a translation for all taps.

    Args:
        matrices: (B, 4, h, w), A = ((a, b), (c, d)) of each place, row by row.
        grid: R, (2, 9) of `regular_grid`.
        translation: (B, 2, h, w) dy, dx; None: 0.

    Returns:
        (B, 18, h, w): dy, dx of tap 0, of tap 1, ..., as deformable convolution takes them.
    """
    batch, _, height, width = matrices.shape
    grid = grid.to(matrices.dtype)
    moved = torch.einsum("birhw,rt->btihw", matrices.view(batch, 2, 2, height, width), grid)
    offsets = moved - grid.T[:, :, None, None]
    if translation is not None:
        offsets = offsets + translation[:, None]
    return offsets.flatten(1, 2)


class DeformableConvolution(nn.Module):
    """3x3 deformable convolution without bias; below float32 it is computed in float32.

    Args:
        channels: in and out.
        dilation: of the regular taps; offsets are not multiplied by it.

    Attributes:
        standard: whether operators that any runtime has are used, though they are slower.
    """

    standard = False

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        bound = 1 / math.sqrt(9 * channels)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        """x (B, C, h, w), offsets (B, 18, h, w) of `tap_offsets` -> (B, C, h, w)."""
        kind = torch.promote_types(x.dtype, torch.float32)
        on_cpu = x.device.type == "cpu"
        convolve = _by_gathers if self.standard else _on_cpu if on_cpu else _by_torchvision
        with torch.autocast(x.device.type, enabled=False):
            y = convolve(x.to(kind), offsets.to(kind), self.weight.to(kind), self.dilation)
        return y.to(x.dtype)


def _by_torchvision(x: Tensor, offsets: Tensor, weight: Tensor, dilation: int) -> Tensor:
    from torchvision.ops import deform_conv2d  # slow to import

    return deform_conv2d(x, offsets, weight, padding=dilation, dilation=dilation)


def _on_cpu(x: Tensor, offsets: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """The same from weighted sums of whole rows of channels, several times faster there."""

    def samples(places: Tensor, shares: Tensor, rows: Tensor) -> Tensor:
        return F.embedding_bag(places, rows, per_sample_weights=shares, mode="sum")

    return _by_rows(samples, x, offsets, weight, dilation)


def _by_gathers(x: Tensor, offsets: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """The same for exported files."""

    def samples(places: Tensor, shares: Tensor, rows: Tensor) -> Tensor:
        return sum(rows[places[:, i]] * shares[:, i, None] for i in range(4))

    return _by_rows(samples, x, offsets, weight, dilation)


def _by_rows(sample: Callable, x: Tensor, offsets: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Deformable convolution by a function that samples rows of channels.

    Args:
        sample: places and shares (n, 4) of `_neighbours`, rows (m, C) -> (n, C).
    """
    batch, channels, height, width = x.shape
    places, shares = _neighbours(offsets, dilation)
    rows = x.permute(0, 2, 3, 1).contiguous().view(-1, channels)
    samples = sample(places, shares, rows)
    taps = weight.permute(2, 3, 1, 0).reshape(9 * channels, -1)
    y = samples.view(-1, 9 * channels) @ taps
    return y.view(batch, height, width, -1).permute(0, 3, 1, 2).contiguous()


def _neighbours(offsets: Tensor, dilation: int) -> tuple[Tensor, Tensor]:
    """The four cells around every tap and their bilinear shares, 0 for those outside the map.

    Args:
        offsets: (B, 18, h, w).
        dilation: of the regular taps.

    Returns:
        Places among all cells of the batch (B h w 9, 4) int64, shares of the same shape.
    """
    batch, _, height, width = offsets.shape
    device, kind = offsets.device, offsets.dtype
    grid = dilation * regular_grid().to(device, kind)
    offsets = offsets.unflatten(1, (9, 2)).permute(2, 0, 3, 4, 1)  # (2, B, h, w, 9)
    lines, line_shares = _axis(offsets[0], grid[0], height, 1)
    columns, column_shares = _axis(offsets[1], grid[1], width, 2)
    first = torch.arange(batch, device=device).view(-1, 1, 1, 1, 1) * height
    places = (first + lines)[..., :, None] * width + columns[..., None, :]
    shares = line_shares[..., :, None] * column_shares[..., None, :]
    return places.view(-1, 4), shares.view(-1, 4)


def _axis(offsets: Tensor, taps: Tensor, size: int, axis: int) -> tuple[Tensor, Tensor]:
    """Along one axis of (B, h, w, 9): the two cells around each tap (.., 2), and their shares."""
    regular = torch.arange(size, device=offsets.device, dtype=offsets.dtype)
    regular = regular.view(-1, *[1] * (3 - axis)) + taps
    place = regular + offsets
    low = place.floor()
    share = place - low
    cells = torch.stack([low, low + 1], -1).long()
    inside = (cells >= 0) & (cells < size)
    shares = torch.where(inside, torch.stack([1 - share, share], -1), 0)
    return cells.clamp(0, size - 1), shares


class AdaptiveBlock(nn.Module):
    """relu(x + norm(adaptive convolution of x)), each place with its matrix and translation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("regular_matrix", regular_grid())
        self.transform_matrix_conv = still(nn.Conv2d(channels, 4, 3, padding=1))
        self.translation_conv = still(nn.Conv2d(channels, 2, 3, padding=1))
        self.adapt_conv = DeformableConvolution(channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        matrices, translation = self.transform_matrix_conv(x), self.translation_conv(x)
        offsets = tap_offsets(matrices, self.regular_matrix, translation)
        return (self.bn(self.adapt_conv(x, offsets)) + x).relu_()


def still(convolution: nn.Conv2d) -> nn.Conv2d:
    """The convolution with weights and biases 0: all taps start at the centre of the kernel."""
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    return convolution
