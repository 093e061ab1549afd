"""All that a run goes on from, as checkpoints hold it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from grouppose.errors import InputError, UserError
from grouppose.models import load_weights, named, weights_for
from util import distributed, sharding
from util.ema import ModelEma
from util.log import Averages, logger


@dataclass
class TrainingState:
    """What changes while a run trains. The schedule is not here: it follows from the step.

    Attributes:
        model: without DistributedDataParallel.
        step_size: pictures of a step of all ranks.
        epoch: finished epochs.
        step: finished steps of the epoch after them.
        minutes: spent so far, before and after resuming.
        best: highest AP of the weights ("regular") and of their average ("ema").
        stale: evaluations since the last of these.
        averages: losses of the epoch so far, of this rank.
        skipped: steps of the epoch so far whose loss or gradient was not finite.
        bad_in_a_row: the last steps that were such.
        reshuffles: of the epoch's data, see `TrainBatches`.
        rollbacks: times that training diverged and went back to a checkpoint.
        unreadable: ids of pictures that could not be read.
    """

    model: nn.Module
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    ema: ModelEma | None = None
    step_size: int = 1
    epoch: int = 0
    step: int = 0
    minutes: float = 0.0
    best: dict[str, float] = field(default_factory=dict)
    stale: int = 0
    averages: Averages = field(default_factory=Averages)
    skipped: int = 0
    bad_in_a_row: int = 0
    reshuffles: list[tuple[int, int]] = field(default_factory=list)
    rollbacks: int = 0
    unreadable: list[int] = field(default_factory=list)

    def start_epoch(self) -> None:
        """Counts an epoch as finished."""
        self.epoch, self.step, self.skipped = self.epoch + 1, 0, 0
        self.averages, self.reshuffles = Averages(), []

    def is_finite(self) -> bool:
        """Whether every weight is a number; the same on all ranks."""
        own = sharding.local(self.model.state_dict().values())
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in own)
        return bool(distributed.exchange([float(finite)]).all())

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain containers; every rank must call it, for its random state."""
        state = {
            "model": sharding.gathered(self.model.state_dict()),
            "optimizer": sharding.gathered(self.optimizer.state_dict()),
            "scaler": self.scaler.state_dict(),
            **{name: getattr(self, name) for name in _PLAIN},
            "averages": self.averages.state_dict(),
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
        try:
            self._load(state, path)
        except _MISFITS as error:
            if isinstance(error, UserError):
                raise
            raise InputError(
                f"{path} holds something else than a run's state ({error}); start from its weights "
                "with --pretrain_model_path"
            ) from error

    def _load(self, state: Mapping[str, Any], path: str | Path) -> None:
        load_into(self.model, state["model"], path)
        self._load_optimizer(state["optimizer"], path)
        if state["scaler"]:  # empty where the earlier run did not scale
            self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        for name in _PLAIN:
            if name in state and name != "step_size":
                setattr(self, name, copy.copy(state[name]))
        self.averages = Averages()
        if "averages" in state:
            self.averages.load_state_dict(state["averages"])
        self._fit_step(state.get("step_size", self.step_size))
        _set_rng(state["rng"])

    def _fit_step(self, before: int) -> None:
        """Where the epoch stands, if steps had another number of pictures before."""
        if self.step and before != self.step_size:
            logger.warning(
                f"steps of {self.step_size} pictures follow on steps of {before}: the rest of the "
                "epoch has another order than it would have had"
            )
            self.step = self.step * before // self.step_size
            self.reshuffles = []

    def _load_optimizer(self, state: dict[str, Any], path: str | Path) -> None:
        base_rates = [group["base_lr"] for group in self.optimizer.param_groups]
        try:
            self.optimizer.load_state_dict(sharding.like_parameters(state, self.optimizer))
        except ValueError as error:
            raise InputError(
                f"{path}: its optimizer has other parameter groups ({error}); resume with the "
                "config it was trained with"
            ) from error
        for group, rate in zip(self.optimizer.param_groups, base_rates, strict=True):
            group["base_lr"] = rate  # the config's, which may have changed


MOST_DIFFERING = 0.25  # share of a network's weights that fine-tuning may leave out
_MISFITS = (  # what loading something else raises
    TypeError,
    LookupError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
_PLAIN = (  # attributes that checkpoints hold as they are
    "step_size",
    "epoch",
    "step",
    "minutes",
    "best",
    "stale",
    "skipped",
    "bad_in_a_row",
    "reshuffles",
    "rollbacks",
    "unreadable",
)


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


def load_pretrained(model: nn.Module, path: str | Path, ignored: list[str]) -> None:
    """Starts from the weights of a file, except for names that contain one of `ignored`."""
    content = weights_for(model, path)
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


def fine_tune(model: nn.Module, path: str | Path, ignored: list[str]) -> None:
    """Starts training from the weights of a file; where they do not fit, says what to leave out."""
    try:
        load_pretrained(model, path, ignored)
    except InputError as error:
        parts = _differing(weights_for(model, path), model.state_dict())
        if not parts:
            raise
        raise InputError(
            f"{error}; or fine-tune without the weights that differ: --finetune_ignore "
            f"{' '.join(parts)}"
        ) from None


def _differing(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Parts of names for --finetune_ignore that name the weights of another shape and no others.

    Empty where names differ, too, or most shapes: that is another network.
    """
    names = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if own.keys() != weights.keys() or len(names) > MOST_DIFFERING * len(own):
        return []
    parts, left = [], set(names)
    while left:
        found = {part: {name for name in own if part in name} for n in left for part in _parts(n)}
        fitting = {part: named for part, named in found.items() if named <= set(names)}
        parts.append(max(sorted(fitting), key=lambda part: (len(fitting[part]), -len(part))))
        left -= fitting[parts[-1]]
    return parts


def _parts(name: str) -> list[str]:
    """Whole words of a dotted name that follow each other, from a word on that is no number."""
    words = name.split(".")
    firsts = [i for i, word in enumerate(words) if not word.isdigit()]
    return [".".join(words[i:j]) for i in firsts for j in range(i + 1, len(words) + 1)]


def load_into(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Loads weights that were read from `path`, which error messages name."""
    try:
        load_weights(model, sharding.like_model(weights, model))
    except InputError as error:
        raise InputError(named(str(error), path)) from None
