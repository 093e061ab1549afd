"""Sine encodings of positions: of every pixel of a level, and of single points.

Both follow "Attention is all you need" (section 3.5) on two axes, as DETR does: half of the
channels for y, then half for x; within each, sine and cosine alternate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TWO_PI = 2 * math.pi


def _sine(position: Tensor, channels: int, temperature: float) -> Tensor:
    """(...) -> (..., channels): sine at even, cosine at odd channels, of falling frequency."""
    index = torch.arange(channels, dtype=torch.float32, device=position.device)
    period = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / channels)
    angle = position[..., None] / period
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), -1).flatten(-2)


def encode_grid(
    padding: Tensor, channels: int, temperature_y: float = 20, temperature_x: float = 20
) -> Tensor:
    """Encodes where each position lies within the unpadded part of its level.

    Args:
        padding: (B, H, W) bool, True = padding.
        channels: C of the result, even.

    Returns:
        (B, H, W, C) float32. Positions count from 1 and are divided by the last one, times 2 pi.
    """
    inside = (~padding).to(torch.float32)
    y = _encode_axis(inside.transpose(1, 2), channels // 2, temperature_y).transpose(1, 2)
    return torch.cat((y, _encode_axis(inside, channels // 2, temperature_x)), -1)


def encode_full_grid(
    height: int,
    width: int,
    channels: int,
    temperature_y: float = 20,
    temperature_x: float = 20,
    device: torch.device | None = None,
) -> Tensor:
    """`encode_grid` where nothing is padded: (1, H, W, C), computed once a row and a column."""
    rows, columns = (torch.ones(1, size, device=device) for size in (height, width))
    y = _encode_axis(rows, channels // 2, temperature_y)[:, :, None]
    x = _encode_axis(columns, channels // 2, temperature_x)[:, None]
    return torch.cat((y.expand(-1, -1, width, -1), x.expand(-1, height, -1, -1)), -1)


def _encode_axis(inside: Tensor, channels: int, temperature: float) -> Tensor:
    """Positions along the last axis, (...) -> (..., channels); `inside` is 0 where padded."""
    position = inside.cumsum(-1)
    return _sine(position / (position[..., -1:] + 1e-6) * _TWO_PI, channels, temperature)


def encode_points(points: Tensor, channels: int) -> Tensor:
    """Encodes points (..., 2) x, y in [0, 1] as (..., C) with temperature 10000."""
    half = channels // 2
    y = _sine(points[..., 1] * _TWO_PI, half, 10000)
    x = _sine(points[..., 0] * _TWO_PI, half, 10000)
    return torch.cat((y, x), -1)
