"""A moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class ModelEma:
    """Averages parameters after every step; buffers are the model's latest.

    Attributes:
        module: the averaged model; equal to the model at the first update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.module: nn.Module = self._average.module
        self.module.requires_grad_(False)

    @property
    def started(self) -> bool:
        return int(self._average.n_averaged) > 0

    def update(self, model: nn.Module) -> None:
        with torch.no_grad():
            self._average.update_parameters(model)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.module.state_dict(), "updates": int(self._average.n_averaged)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["model"])
        self._average.n_averaged.fill_(state["updates"])
