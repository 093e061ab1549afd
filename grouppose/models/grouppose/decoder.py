"""The group decoder: N people of K keypoint queries and one instance query each (section 3.2).

The instance query stands first: token 0 of a person scores it, tokens 1..K are its keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from grouppose.keypoints import inverse_sigmoid
from grouppose.layers.deformable import MSDeformAttn
from grouppose.layers.group_attention import SelfAttention, attend_across, attend_within
from grouppose.layers.mlp import MLP, in_float32
from grouppose.layers.position import encode_points


@dataclass(frozen=True)
class Memory:
    """What queries look at: the encoder's output and how it is laid out.

    Attributes:
        tokens: (B, S, C).
        level_shapes: L pairs (h, w).
        padding: (B, S) bool, True = padding; None: no picture has any.
        valid_ratios: (B, L, 2) unpadded share (x, y) of each level.
    """

    tokens: Tensor
    level_shapes: Sequence[tuple[int, int]]
    padding: Tensor | None
    valid_ratios: Tensor


class DecoderLayer(nn.Module):
    """Attention within people, across people, to the picture; then a feed-forward block."""

    def __init__(
        self, dim: int, levels: int, heads: int, points: int, dim_feedforward: int, dropout: float
    ) -> None:
        super().__init__()
        self.within_attn = SelfAttention(dim, heads, dropout)
        self.within_norm = nn.LayerNorm(dim)
        self.across_attn = SelfAttention(dim, heads, dropout)
        self.across_norm = nn.LayerNorm(dim)
        self.cross_attn = MSDeformAttn(dim, levels, heads, points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, position: Tensor, points: Tensor, memory: Memory) -> Tensor:
        """Updates the queries.

        Args:
            tokens: (B, N, K+1, C).
            position: (B, N, K+1, C), zero for the instance query. It is added to the tokens
                themselves, so that the residual carries it too.
            points: (B, N, K+1, 2) x, y in [0, 1] of the unpadded picture.
            memory: the encoder's output.
        """
        tokens = tokens + position
        tokens = self.within_norm(tokens + self.dropout(attend_within(self.within_attn, tokens)))
        tokens = self.across_norm(tokens + self.dropout(attend_across(self.across_attn, tokens)))
        tokens = tokens + position
        reference = points.flatten(1, 2)[:, :, None] * memory.valid_ratios[:, None]
        looked = self.cross_attn(
            tokens.flatten(1, 2), reference, memory.tokens, memory.level_shapes, memory.padding
        )
        tokens = self.norm1(tokens + self.dropout(looked.view_as(tokens)))
        hidden = self.dropout(self.linear1(tokens).relu_())
        return self.norm2(tokens + self.dropout(self.linear2(hidden)))


class Decoder(nn.Module):
    """A stack of `DecoderLayer`s that refines every person's points layer by layer."""

    def __init__(
        self, layers: Sequence[DecoderLayer], dim: int, use_checkpoint: bool = False
    ) -> None:
        super().__init__()
        self.use_checkpoint = use_checkpoint
        self.layers = nn.ModuleList(layers)
        self.half_pose_ref_point_head = MLP(dim, dim, dim, 2)
        self.dim = dim

    def forward(
        self, tokens: Tensor, points: Tensor, memory: Memory, pose_embed: nn.ModuleList
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Runs all layers.

        Args:
            tokens: (B, N, K+1, C) queries.
            points: (B, N, K, 2) where they start, in [0, 1] of the unpadded picture, detached.
            pose_embed: one head per layer; it moves a point in logit space.

        Returns:
            Per layer: the instance queries (B, N, C), and the keypoints (B, N, K, 2) for the
            losses, whose gradient also reaches the layer before ("look forward twice", DINO).
        """
        instances, keypoints = [], []
        undetached = points
        for layer, head in zip(self.layers, pose_embed, strict=True):
            level0 = points * memory.valid_ratios[:, None, None, 0]
            position = self.half_pose_ref_point_head(encode_points(level0, self.dim))
            position = torch.cat((torch.zeros_like(position[:, :, :1]), position), 2)
            places = with_centre(points)
            if self.use_checkpoint and self.training:
                tokens = checkpoint(layer, tokens, position, places, memory, use_reentrant=False)
            else:
                tokens = layer(tokens, position, places, memory)
            delta = in_float32(head, tokens[:, :, 1:])
            instances.append(tokens[:, :, 0])
            keypoints.append((inverse_sigmoid(undetached) + delta).sigmoid())
            undetached = (inverse_sigmoid(points) + delta).sigmoid()
            points = undetached.detach()
        return instances, keypoints


def with_centre(points: Tensor) -> Tensor:
    """(B, N, K, 2) -> (B, N, K+1, 2), the mean of a person's points first."""
    return torch.cat((points.mean(2, keepdim=True), points), 2)
