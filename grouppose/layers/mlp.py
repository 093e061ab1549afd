"""A plain multi-layer perceptron, and ways to run functions of single tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_PIECE = 2048  # tokens; their 2,048 hidden channels fit the processor's cache


class MLP(nn.Module):
    """Linear layers with ReLU between them; parameters are named layers.0, layers.1, ..."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int) -> None:
        super().__init__()
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(dims[:-1], dims[1:], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        return self.layers[-1](x)

    def zero_last(self) -> MLP:
        """Starts as the zero function, so that a refinement begins by changing nothing."""
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)
        return self


def in_pieces(
    function: Callable[[Tensor], Tensor], tokens: Tensor, recompute: bool = False
) -> Tensor:
    """`function`, which treats each token (..., C) alone, on a CPU piece by piece.

    The processor's cache then keeps what the function computes on the way, forward and backward;
    pieces also need less memory.

    Args:
        recompute: keeps nothing but the tokens for the backward pass.
    """
    call = partial(checkpoint, function, use_reentrant=False) if recompute else function
    if tokens.device.type != "cpu" or torch.compiler.is_compiling():
        return call(tokens)
    flat = tokens.flatten(0, -2)
    return torch.cat([call(piece) for piece in flat.split(_PIECE)]).unflatten(0, tokens.shape[:-1])


def in_float32(head: nn.Module, x: Tensor) -> Tensor:
    """Runs a head outside autocast: what it gives are logits and places, not features."""
    with torch.autocast(x.device.type, enabled=False):
        return head(x.float())
