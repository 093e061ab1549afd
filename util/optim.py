"""Parameter groups, the optimizer and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from grouppose.errors import InputError, nearest

SCHEDULES = ("step", "cosine")
OPTIMIZERS = {"adamw": AdamW, "adam": Adam}


def check(settings: Mapping[str, Any]) -> None:
    """Refuses settings of the optimizer and the schedule that cannot work."""
    for name, choices in (("optimizer", OPTIMIZERS), ("lr_schedule", SCHEDULES)):
        if settings[name] not in choices:
            raise InputError(f"{name} is {settings[name]!r}; {nearest(settings[name], choices)}")
    drop, table = settings["lr_drop"], settings["lr_table"]
    drops = [drop] if isinstance(drop, int) else drop
    if any(epoch < 1 for epoch in drops) or sorted(set(drops)) != drops:
        raise InputError(f"lr_drop is {drop}, expected at least 1, and a list to rise")
    if not all(map(_is_entry, table)):
        raise InputError(f"lr_table is {table}, expected pairs [epoch, factor of the rates]")
    if table and settings["lr_schedule"] != "step":
        raise InputError("lr_table is for lr_schedule='step'; leave one of them out")
    if settings["warmup_steps"] and settings["warmup_epochs"]:
        raise InputError("warmup_steps and warmup_epochs are both given; leave one of them out")
    if not 0 <= settings["warmup_ratio"] <= 1:
        raise InputError(f"warmup_ratio is {settings['warmup_ratio']}, expected between 0 and 1")


def _is_entry(pair: Any) -> bool:
    is_pair = isinstance(pair, list | tuple) and len(pair) == 2
    return is_pair and type(pair[0]) is int and type(pair[1]) in (int, float) and min(pair) >= 0


def parameter_groups(model: nn.Module, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trainable parameters: the backbone at lr_backbone, the rest at lr.

    Where only some parameters warm up (warmup_names), each of the two may be split.

    Returns:
        Groups with "params" and "base_lr", the rate before the schedule; those that begin with
        their full rate also with "warmup", False.
    """
    slow_names = settings["lr_backbone_names"] if settings["lr_backbone"] is not None else []
    warm_names = settings.get("warmup_names") or [""]  # "" is in every name
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {
        (slow, warm): [] for slow in (False, True) for warm in (True, False)
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            slow, warm = (any(part in name for part in n) for n in (slow_names, warm_names))
            groups[slow, warm].append(parameter)
    return [
        {"params": parameters, "base_lr": settings["lr_backbone" if slow else "lr"]}
        | ({} if warm else {"warmup": False})
        for (slow, warm), parameters in groups.items()
        if parameters
    ]


def count_parameters(model: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def build_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> Optimizer:
    """One of `OPTIMIZERS`, with weight decay on everything."""
    kind = OPTIMIZERS[settings.get("optimizer", "adamw")]
    groups = parameter_groups(model, settings)
    return kind(groups, lr=settings["lr"], weight_decay=settings["weight_decay"], fused=True)


class Schedule:
    """The factor on every base rate, a function of the step alone: nothing of it needs saving.

    "step" divides by ten after every lr_drop epochs, or after each epoch of a list; in its place
    lr_table gives factors from epochs on. "cosine" falls to 0 at the last step. Each is multiplied
    by a rise over the first warmup_steps (or warmup_epochs): linear, to 1, from warmup_ratio, or
    from 1 / warmup_steps where that is 0.
    """

    def __init__(self, settings: Mapping[str, Any], steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.kind = settings["lr_schedule"]
        epochs = settings.get("warmup_epochs", 0)
        self.warmup = settings["warmup_steps"] or round(epochs * steps_per_epoch)
        self.ratio = settings.get("warmup_ratio", 0.0)
        self.total = settings["epochs"] * steps_per_epoch
        self.drop = settings["lr_drop"]
        self.table = sorted(settings.get("lr_table", ()))

    def factor(self, step: int) -> float:
        """Of parameters that warm up."""
        return self._rise(step) * self._decay(step)

    def _rise(self, step: int) -> float:
        if step >= self.warmup:
            return 1.0
        if self.ratio:
            return self.ratio + (1 - self.ratio) * step / self.warmup
        return (step + 1) / self.warmup

    def _decay(self, step: int) -> float:
        if self.kind == "cosine":
            share = max(0, step - self.warmup) / max(1, self.total - self.warmup)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        epoch = step // self.steps_per_epoch
        if self.table:
            return [1.0, *(factor for start, factor in self.table if start <= epoch)][-1]
        if isinstance(self.drop, int):
            return 0.1 ** (epoch // self.drop)
        return 0.1 ** sum(start <= epoch for start in self.drop)

    def drops(self, epoch: int) -> bool:
        """Whether the rate falls by a step when this epoch begins."""
        first = epoch * self.steps_per_epoch
        return self.kind == "step" and epoch > 0 and self._decay(first) < self._decay(first - 1)

    def apply(self, optimizer: Optimizer, step: int) -> None:
        """Sets the rates for this step, counted from the start of training."""
        for group in optimizer.param_groups:
            factor = self.factor(step) if group.get("warmup", True) else self._decay(step)
            group["lr"] = group["base_lr"] * factor


def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Scales the gradient down to this norm over all parameters; 0 leaves it.

    Returns:
        () the norm before.
    """
    return torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm or math.inf)
