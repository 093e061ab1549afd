"""A plain multi-layer perceptron."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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


def in_float32(head: nn.Module, x: Tensor) -> Tensor:
    """Runs a head outside autocast: what it gives are logits and places, not features."""
    with torch.autocast(x.device.type, enabled=False):
        return head(x.float())
