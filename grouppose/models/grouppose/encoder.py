"""The deformable encoder: every position of every level looks at a few places of all levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from grouppose.layers.deformable import MSDeformAttn
from grouppose.layers.mlp import in_pieces


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward block, each with residual and LayerNorm."""

    def __init__(
        self, dim: int, levels: int, heads: int, points: int, dim_feedforward: int, dropout: float
    ) -> None:
        super().__init__()
        self.self_attn = MSDeformAttn(dim, levels, heads, points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        reference: Tensor,
        level_shapes: Sequence[tuple[int, int]],
        padding: Tensor | None,
        recompute: bool = False,
    ) -> Tensor:
        """tokens, position (B, S, C), reference (B, S, L, 2), padding (B, S) -> (B, S, C).

        Args:
            recompute: either block computes its inside again in the backward pass.
        """
        inputs = (tokens, position, reference, level_shapes, padding)
        if recompute:
            tokens = checkpoint(self._attend, *inputs, use_reentrant=False)
        else:
            tokens = self._attend(*inputs)
        return in_pieces(self._feed_forward, tokens, recompute)

    def _attend(
        self,
        tokens: Tensor,
        position: Tensor,
        reference: Tensor,
        level_shapes: Sequence[tuple[int, int]],
        padding: Tensor | None,
    ) -> Tensor:
        attended = self.self_attn(tokens + position, reference, tokens, level_shapes, padding)
        return self.norm1(tokens + self.dropout(attended))

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(self.linear1(tokens).relu_())
        return self.norm2(tokens + self.dropout(self.linear2(hidden)))


class Encoder(nn.Module):
    """A stack of `EncoderLayer`s."""

    def __init__(self, layers: Sequence[EncoderLayer], use_checkpoint: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.use_checkpoint = use_checkpoint

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        valid_ratios: Tensor,
        level_shapes: Sequence[tuple[int, int]],
        padding: Tensor | None,
    ) -> Tensor:
        """As `EncoderLayer.forward`; valid_ratios (B, L, 2) are the unpadded shares (x, y)."""
        centres = grid_centres(level_shapes, valid_ratios)
        reference = centres[:, :, None] * valid_ratios[:, None]
        recompute = self.use_checkpoint and self.training
        for layer in self.layers:
            tokens = layer(tokens, position, reference, level_shapes, padding, recompute)
        return tokens


def grid_centres(level_shapes: Sequence[tuple[int, int]], valid_ratios: Tensor) -> Tensor:
    """Centres of all positions, in shares of the unpadded picture: (B, S, 2) x, y."""
    centres = []
    for level, (height, width) in enumerate(level_shapes):
        y = torch.arange(height, dtype=torch.float32, device=valid_ratios.device) + 0.5
        x = torch.arange(width, dtype=torch.float32, device=valid_ratios.device) + 0.5
        y = y / (valid_ratios[:, level, None, 1] * height)  # (B, h)
        x = x / (valid_ratios[:, level, None, 0] * width)
        shape = (-1, height, width)
        grid = torch.stack((x[:, None, :].expand(shape), y[:, :, None].expand(shape)), -1)
        centres.append(grid.flatten(1, 2))
    return torch.cat(centres, 1)
