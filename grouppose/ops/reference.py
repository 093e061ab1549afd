"""Multi-scale deformable attention in plain PyTorch: runs anywhere, and every kernel is compared
with it. Half precision is computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    # All beyond [-1, 2] is outside, whatever the level's size; Inf would become NaN on the way.
    places = torch.nan_to_num(locations.to(dtype), nan=-1.0, posinf=2.0, neginf=-1.0).clamp(-1, 2)
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
) -> Tensor:
    """`msda_reference` at `sampling_points`; (B, Q, H * D)."""
    locations, weights = sampling_points(level_shapes, reference, offsets, logits)
    return msda_reference(value, level_shapes, locations, weights)
