"""Multi-scale deformable attention in plain PyTorch: runs anywhere, and every kernel is compared
with it. Half precision is computed in float32. There are two forms, for exported models: by
grid_sample, and by indices for the runtimes that get grid_sample wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def msda_reference(
    value: Tensor, level_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of bilinear samples of all levels; zero outside a level.

    Args:
        value: (B, S, H, D), all positions of all levels, row by row.
        level_shapes: L pairs (h, w) with sum(h * w) = S.
        locations: (B, Q, H, L, P, 2) x, y in [0, 1] of the level; NaN counts as outside.
        weights: (B, Q, H, L, P).

    Returns:
        (B, Q, H * D), of value's dtype.
    """
    dtype = torch.promote_types(value.dtype, torch.float32)
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    places = _bounded(locations.to(dtype))
    grids = (2 * places - 1).transpose(1, 2).flatten(0, 1)  # (B * H, Q, L, P, 2)
    shares = weights.to(dtype).transpose(1, 2).flatten(0, 1)  # (B * H, Q, L, P)
    maps = value.to(dtype).split([h * w for h, w in level_shapes], dim=1)

    out = value.new_zeros((batch * heads, channels, queries), dtype=dtype)
    for level, ((h, w), flat) in enumerate(zip(level_shapes, maps, strict=True)):
        picture = flat.permute(0, 2, 3, 1).reshape(batch * heads, channels, h, w)
        sampled = F.grid_sample(picture, grids[:, :, level], align_corners=False)  # (B*H, D, Q, P)
        out = out + (sampled * shares[:, None, :, level]).sum(-1)
    out = out.view(batch, heads * channels, queries).transpose(1, 2)
    return out.contiguous().to(value.dtype)


def msda_gather(
    value: Tensor, level_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """`msda_reference` without grid_sample: the four pixels around a place are rows of `value`."""
    dtype = torch.promote_types(value.dtype, torch.float32)
    batch, positions, heads, channels = value.shape
    # a place of value's (B, S, H) is a row; one more, of zeros, stands for all that is outside
    rows = F.pad(value.to(dtype).reshape(-1, channels), (0, 0, 0, 1))
    picture = torch.arange(batch, device=value.device)[:, None, None, None, None]
    head = torch.arange(heads, device=value.device)[:, None, None]
    places, weights = _bounded(locations.to(dtype)), weights.to(dtype)

    out = value.new_zeros((batch, locations.shape[1], heads, channels), dtype=dtype)
    start = 0
    for level, (h, w) in enumerate(level_shapes):
        position, inside, shares = _corners(places[:, :, :, level], h, w)  # (B, Q, H, P, 4)
        row = (picture * positions + start + position) * heads + head
        sampled = F.embedding(torch.where(inside, row, batch * positions * heads), rows)
        shares = shares * weights[:, :, :, level, :, None]
        out = out + (sampled * shares[..., None]).sum((3, 4))
        start = start + h * w
    return out.flatten(2).to(value.dtype)


def _bounded(locations: Tensor) -> Tensor:
    """All beyond [-1, 2] is outside, whatever the level's size; Inf would become NaN later."""
    return torch.nan_to_num(locations, nan=-1.0, posinf=2.0, neginf=-1.0).clamp(-1, 2)


def _corners(places: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The four pixels around places (..., 2) of a level.

    Returns:
        Each (..., 4): position in the level, whether it is inside, bilinear weight.
    """
    x, y = (places * level_sizes([(height, width)], places)[0] - 0.5).unbind(-1)
    left, top = x.floor(), y.floor()
    column = torch.stack((left, left + 1, left, left + 1), -1)
    row = torch.stack((top, top, top + 1, top + 1), -1)
    shares = (1 - (x[..., None] - column).abs()) * (1 - (y[..., None] - row).abs())
    column, row = column.long(), row.long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return row * width + column, inside, shares


def level_sizes(level_shapes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """(L, 2) w, h, of the dtype and on the device of `like`.

    They are filled in there: a copy from the host would wait for a GPU, and no graph captures it.
    """
    sizes = [like.new_full((), size) for h, w in level_shapes for size in (w, h)]
    return torch.stack(sizes).view(-1, 2)


def sampling_points(
    level_shapes: Sequence[tuple[int, int]], reference: Tensor, offsets: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor]:
    """The locations and weights that the fused form computes inside its kernel.

    Args:
        level_shapes: L pairs (h, w).
        reference: (B, Q, L, 2) x, y in [0, 1].
        offsets: (B, Q, H, L, P, 2) in pixels of each level.
        logits: (B, Q, H, L, P).

    Returns:
        locations (B, Q, H, L, P, 2) and weights (B, Q, H, L, P), float32 at least.
    """
    dtype = torch.promote_types(reference.dtype, torch.float32)
    start = reference.to(dtype)[:, :, None, :, None]
    sizes = level_sizes(level_shapes, start)
    locations = start + offsets.to(dtype) / sizes[:, None]
    weights = logits.to(dtype).flatten(-2).softmax(-1).view(logits.shape)
    return locations, weights


def msda_fused_reference(
    value: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    reference: Tensor,
    offsets: Tensor,
    logits: Tensor,
    form: Callable[..., Tensor] = msda_reference,
) -> Tensor:
    """`form` at `sampling_points`; (B, Q, H * D)."""
    locations, weights = sampling_points(level_shapes, reference, offsets, logits)
    return form(value, level_shapes, locations, weights)
