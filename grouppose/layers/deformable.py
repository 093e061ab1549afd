"""Multi-scale deformable attention as a module (Deformable DETR, equation 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from grouppose.errors import InputError
from grouppose.ops import msda_fused


class MSDeformAttn(nn.Module):
    """Each query samples `points` places of every level per head and averages what it finds.

    Args:
        dim: C, channels of queries and values; a multiple of `heads`.
        levels: number of feature levels L.
        heads: number of heads.
        points: places sampled per head and level.
        backend: forces one of `grouppose.ops.backends.NAMES`; None picks the fastest.
    """

    def __init__(
        self, dim: int, levels: int, heads: int, points: int, backend: str | None = None
    ) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"dim {dim} is not a multiple of heads {heads}; change one of the two")
        self.levels, self.heads, self.points, self.backend = levels, heads, points, backend
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Starts with head i looking in direction i, point p at distance p + 1 (in pixels)."""
        angle = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = direction[:, None, None] * distance[:, None]  # (heads, 1, points, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        for zero in (
            self.sampling_offsets.weight,
            self.attention_weights.weight,
            self.attention_weights.bias,
            self.value_proj.bias,
            self.output_proj.bias,
        ):
            nn.init.zeros_(zero)
        nn.init.xavier_uniform_(self.value_proj.weight)
        nn.init.xavier_uniform_(self.output_proj.weight)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        value: Tensor,
        level_shapes: Sequence[tuple[int, int]],
        padding: Tensor | None = None,
    ) -> Tensor:
        """Attends from queries to the levels.

        Args:
            query: (B, Q, C).
            reference: (B, Q, L, 2) x, y in [0, 1] of each padded level; offsets start there.
            value: (B, S, C), all positions of all levels.
            level_shapes: L pairs (h, w) with sum(h * w) = S.
            padding: (B, S) bool, True = padding; its values count as 0.

        Returns:
            (B, Q, C).
        """
        batch, num_queries, _ = query.shape
        value = self.value_proj(value)
        if padding is not None:
            value = torch.where(padding[..., None], 0, value)  # on CPU faster than masked_fill
        shape = (batch, num_queries, self.heads, self.levels, self.points)
        sampled = msda_fused(
            value.unflatten(-1, (self.heads, -1)),
            level_shapes,
            reference,
            self.sampling_offsets(query).view(*shape, 2),
            self.attention_weights(query).view(shape),
            backend=self.backend,
        )
        return self.output_proj(sampled)
