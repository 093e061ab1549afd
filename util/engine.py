"""One epoch of training."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from grouppose.inference.find import forward
from util import distributed, norms, sharding, stopping
from util.loading import from_workers
from util.log import Pace, Progress
from util.memory import explained
from util.optim import clip_gradients

if TYPE_CHECKING:
    from util.session import Session


@dataclass
class Step:
    """What a step of training did.

    Attributes:
        parts: its batches on this rank: (images, padding, targets).
        values: the weighted sum "loss" and every loss unweighted, of this rank.
        gradient_norm: over all parameters, before clipping; the same on all ranks.
        good: whether losses and gradient are finite on all ranks; otherwise it was left out.
        stop: the signal by which any rank was asked to stop; 0: none.
        unreadable: pictures of all ranks that could not be read and have others in their place.
    """

    parts: list[tuple]
    values: dict[str, float]
    gradient_norm: float
    good: bool = True
    stop: int = 0
    unreadable: int = 0


def train_one_epoch(
    session: Session, after_step: Callable[[Step], None]
) -> tuple[dict[str, float], dict[str, float]]:
    """Goes through the training batches of this rank, from the state's step to the last.

    A step is of `accumulate` batches. Its gradient is that of one batch of all their pictures, but
    that each is padded, and trained batch norm averaged, on its own.

    Args:
        session: its state changes with each step. Its loader gives (images, padding, targets); the
            number of batches is the same on all ranks.
        after_step: called after each, on all ranks.

    Returns:
        Means over the epoch's good steps and all ranks: "loss", the weighted sum, and every loss
        unweighted; and how fast it went (`Pace`).
    """
    run, model, state = session.run, session.model, session.state
    norms.train(model)
    pace = Pace(run.device)
    first = state.epoch * session.schedule.steps_per_epoch
    total = session.schedule.steps_per_epoch * state.step_size
    with_ema = state.ema is not None and state.epoch >= run.settings.ema_epoch
    groups = _in_groups(pace.waiting(from_workers(run.train_batches)), run.settings.accumulate)
    statistics = _statistics(model)
    with Progress(total, f"epoch {state.epoch}", state.step * state.step_size) as progress:
        for parts in groups:
            session.schedule.apply(state.optimizer, first + state.step)
            before = [buffer.clone() for buffer in statistics]
            with explained(parts, run.settings.accumulate, run.device):
                losses = _losses_and_gradient(session, parts)
                step = _update(session, parts, losses)
            if step.good:
                if with_ema:
                    state.ema.update(getattr(model, "module", model))
                state.averages.add(step.values)
            else:
                for buffer, value in zip(statistics, before, strict=True):
                    buffer.copy_(value)
            state.step += 1
            pace.count(state.step_size)
            progress.step(state.step_size, step.values["loss"] if step.good else None)
            after_step(step)
    return state.averages.means(), pace.figures()


def _losses_and_gradient(session: Session, parts: list[tuple]) -> dict[str, Tensor]:
    """Leaves the gradient of all batches of a step in the parameters.

    Returns:
        () of each loss, over these batches: "loss", the weighted sum, and the others unweighted.
    """
    model, run = session.model, session.run
    count = run.criterion.count([target for _, _, targets in parts for target in targets])
    rows, names = [], ()
    for i, (images, padding, targets) in enumerate(parts):
        targets = [_to_device(target, run.device) for target in targets]
        inputs = _training_inputs(model, targets)
        with _synchronised(model, i == len(parts) - 1):
            outputs = forward(model, images, padding, run.device, run.precision, **inputs)
            losses = run.criterion(outputs, targets, count)
            total = run.criterion.total(losses)
            session.state.scaler.scale(total).backward()
        names = ("loss", *losses)
        rows.append(torch.stack([total, *losses.values()]).detach())
    return dict(zip(names, torch.stack(rows).double().sum(0), strict=True))


def _training_inputs(model: nn.Module, targets: list[dict[str, Any]]) -> dict[str, Tensor]:
    """What the model wants of the targets while it trains: `model.training_inputs` names it."""
    names = getattr(getattr(model, "module", model), "training_inputs", ())
    return {name: torch.stack([target[name] for target in targets]) for name in names}


def _update(session: Session, parts: list[tuple], losses: dict[str, Tensor]) -> Step:
    """Changes the weights, if all ranks found the step good; forgets the gradient."""
    state = session.state
    state.scaler.unscale_(state.optimizer)
    norm = clip_gradients(session.model, session.run.settings.clip_max_norm)
    norm = sharding.whole(norm).double()
    # after matching, the only time in a step that the host waits for the device
    *values, norm = torch.stack([*losses.values(), norm]).tolist()
    step = Step(parts, dict(zip(losses, values, strict=True)), norm)
    _agree(step, scaled=state.scaler.is_enabled())
    if step.good:
        state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    return step


def _agree(step: Step, scaled: bool) -> None:
    """Brings together what the ranks found.

    Args:
        scaled: the scaler leaves out steps of infinite gradients by itself, to find its scale.
    """
    finite = all(map(math.isfinite, step.values.values()))
    finite = finite and (scaled or math.isfinite(step.gradient_norm))
    missing = sum("unreadable" in target for _, _, targets in step.parts for target in targets)
    bad, stops, missing = distributed.exchange([not finite, stopping.requested(), missing]).T
    step.good, step.stop, step.unreadable = not bad.any(), int(stops.max()), int(missing.sum())


def _statistics(model: nn.Module) -> list[Tensor]:
    """What the forward pass changes: running means of batch norm that is trained."""
    kind = nn.modules.batchnorm._BatchNorm
    return [b for m in model.modules() if isinstance(m, kind) for b in m.buffers()]


def _in_groups(batches: Iterable, size: int) -> Iterator[list]:
    """Lists of so many batches; their number divides by it."""
    steps = iter(batches)
    while group := list(islice(steps, size)):
        yield group


@contextlib.contextmanager
def _synchronised(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Where backward averages gradients over ranks, or only adds them up on each."""
    if hasattr(model, "set_requires_gradient_sync"):  # sharded
        model.set_requires_gradient_sync(wanted)
    elif not wanted and hasattr(model, "no_sync"):
        with model.no_sync():
            yield
        return
    yield


def _to_device(target: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in target.items()
    }
