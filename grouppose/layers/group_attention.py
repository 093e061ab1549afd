"""Self-attention inside groups of queries (Group Pose, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention over the second-last axis; all axes before it are groups.

    Parameters are named as in `nn.MultiheadAttention`, which the published checkpoints used.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., T, C) -> (..., T, C)."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-3, -2).unbind(0)
        dropout = self.dropout if self.training else 0.0
        if x.device.type == "cpu" and q.dtype == torch.bfloat16:
            out = _attend_by_products(q, k, v, dropout)
        else:
            out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.out_proj(out.transpose(-3, -2).flatten(-2))


def _attend_by_products(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Scaled dot-product attention as two batched matrix products.

    Torch's fused kernel for CPUs takes several times as long in bfloat16 for few tokens, and longer
    than these even in float32.
    """
    weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
    return F.dropout(weights, dropout) @ v


def attend_within(attention: SelfAttention, tokens: Tensor) -> Tensor:
    """Every person's K+1 queries attend to one another. tokens: (B, N, K+1, C)."""
    return attention(tokens.flatten(0, 1)).view_as(tokens)


def attend_across(attention: SelfAttention, tokens: Tensor) -> Tensor:
    """The N queries of one type attend to one another, each type alone. tokens: (B, N, K+1, C)."""
    by_type = tokens.transpose(1, 2)
    return attention(by_type.flatten(0, 1)).view_as(by_type).transpose(1, 2)
