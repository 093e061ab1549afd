"""All that a run goes on from, as checkpoints hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from grouppose.checkpoints import load_weights, read_checkpoint, write_checkpoint
from grouppose.errors import InputError
from util import distributed
from util.ema import ModelEma


@dataclass
class TrainingState:
    """What changes while a run trains. The schedule is not here: it follows from the epoch.

    Attributes:
        model: without DistributedDataParallel.
        epoch: finished epochs.
        minutes: spent so far, before and after resuming.
        best: highest AP of the weights ("regular") and of their average ("ema").
    """

    model: nn.Module
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    ema: ModelEma | None = None
    epoch: int = 0
    minutes: float = 0.0
    best: dict[str, float] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain containers; every rank must call it, for its random state."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epoch": self.epoch,
            "minutes": self.minutes,
            "best": dict(self.best),
            "rng": {name: distributed.gather_rows(row[None]) for name, row in _rng().items()},
        }
        if self.ema is not None:
            state["ema"] = self.ema.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any], path: str | Path) -> None:
        """Goes on from a checkpoint of `state_dict`; `path` is for error messages."""
        missing = [key for key in ("optimizer", "scaler", "epoch", "rng") if key not in state]
        if self.ema is not None and "ema" not in state:
            missing.append("ema")
        if missing:
            raise InputError(
                f"{path} holds weights but no {', '.join(missing)}, so training cannot go on from "
                "it; start from its weights with --pretrain_model_path"
            )
        load_into(self.model, state["model"], path)
        self._load_optimizer(state["optimizer"], path)
        if state["scaler"]:  # empty where the earlier run did not scale
            self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.epoch, self.minutes, self.best = state["epoch"], state["minutes"], dict(state["best"])
        _set_rng(state["rng"])

    def _load_optimizer(self, state: dict[str, Any], path: str | Path) -> None:
        base_rates = [group["base_lr"] for group in self.optimizer.param_groups]
        try:
            self.optimizer.load_state_dict(state)
        except ValueError as error:
            raise InputError(
                f"{path}: its optimizer has other parameter groups ({error}); resume with the "
                "config it was trained with"
            ) from error
        for group, rate in zip(self.optimizer.param_groups, base_rates, strict=True):
            group["base_lr"] = rate  # the config's, which may have changed


def _rng() -> dict[str, Tensor]:
    """States of torch's generators. Data augmentation has its own: a function of seed and epoch."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_rng(states: Mapping[str, Tensor]) -> None:
    """Takes the row of this rank; ranks that the earlier run did not have keep their seed."""
    setters = {"cpu": torch.set_rng_state}
    if torch.cuda.is_available():
        setters["cuda"] = torch.cuda.set_rng_state
    for name, set_state in setters.items():
        if name in states and distributed.rank() < len(states[name]):
            set_state(states[name][distributed.rank()].clone())


def save_checkpoints(
    folder: Path, state: TrainingState, settings: Mapping[str, Any], improved: Mapping[str, bool]
) -> None:
    """Writes checkpoint.pth after an epoch, and copies to keep; every rank must call it.

    Kept are every save_checkpoint_interval-th epoch, the last one before each drop of the rate and
    the best so far.

    Args:
        improved: whether "regular" or "ema" has a new best.
    """
    content = {**state.state_dict(), "settings": {**settings, **state.model.settings}}
    if not distributed.is_main():
        return
    names = ["checkpoint.pth"]
    due = state.epoch % settings["save_checkpoint_interval"] == 0
    drops = settings["lr_schedule"] == "step" and state.epoch % settings["lr_drop"] == 0
    if due or drops:
        names.append(f"checkpoint{state.epoch - 1:04}.pth")
    if improved.get("regular"):
        names.append("checkpoint_best_regular.pth")
    for name in names:
        write_checkpoint(folder / name, content)
    if improved.get("ema") and state.ema is not None:
        keep = {key: content[key] for key in ("settings", "epoch", "best")}
        average = {**keep, "model": state.ema.module.state_dict()}
        write_checkpoint(folder / "checkpoint_best_ema.pth", average)


def load_pretrained(model: nn.Module, path: str | Path, ignored: list[str]) -> None:
    """Starts from the weights of a file, except for names that contain one of `ignored`."""
    content = read_checkpoint(path)["model"]
    unknown = [part for part in ignored if not any(part in name for name in content)]
    if unknown:
        raise InputError(
            f"--finetune_ignore {unknown[0]}: no weight of {path} has this in its name; "
            "check the name"
        )

    def is_ignored(name: str) -> bool:
        return any(part in name for part in ignored)

    kept = {name: value for name, value in content.items() if not is_ignored(name)}
    own = {name: value for name, value in model.state_dict().items() if is_ignored(name)}
    load_into(model, {**own, **kept}, path)


def load_into(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Loads weights that were read from `path`, which error messages name."""
    try:
        load_weights(model, weights)
    except InputError as error:
        raise InputError(str(error).replace("the state dict", str(path), 1)) from None
