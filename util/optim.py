"""Parameter groups, the optimizer and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


def parameter_groups(model: nn.Module, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trainable parameters: the backbone at lr_backbone, the rest at lr.

    Returns:
        Groups with "params" and "base_lr", the rate before the schedule.
    """
    backbone, rest = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            slow = any(part in name for part in settings["lr_backbone_names"])
            (backbone if slow else rest).append(parameter)
    groups = [
        {"params": rest, "base_lr": settings["lr"]},
        {"params": backbone, "base_lr": settings["lr_backbone"]},
    ]
    return [group for group in groups if group["params"]]


def count_parameters(model: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def build_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> Optimizer:
    """AdamW with weight decay on everything, as published."""
    groups = parameter_groups(model, settings)
    return AdamW(groups, lr=settings["lr"], weight_decay=settings["weight_decay"], fused=True)


class Schedule:
    """The factor on every base rate, a function of the step alone: nothing of it needs saving.

    "step" divides by ten after every lr_drop epochs; "cosine" falls to 0 at the last step. Both
    rise linearly over the first warmup_steps.
    """

    def __init__(self, settings: Mapping[str, Any], steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.kind = settings["lr_schedule"]
        self.warmup = settings["warmup_steps"]
        self.total = settings["epochs"] * steps_per_epoch
        self.drop = settings["lr_drop"] * steps_per_epoch

    def factor(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.kind == "step":
            return 0.1 ** (step // self.drop)
        share = (step - self.warmup) / max(1, self.total - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def apply(self, optimizer: Optimizer, step: int) -> None:
        """Sets the rates for this step, counted from the start of training."""
        factor = self.factor(step)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor


def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Scales the gradient down to this norm over all parameters; 0 leaves it.

    Returns:
        () the norm before.
    """
    return torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm or math.inf)
