"""One epoch of training, one pass of evaluation."""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from grouppose.people import People, chosen, nobody
from util import distributed, norms, sharding, stopping
from util.loading import from_workers
from util.log import Pace, Progress, logger
from util.memory import explained
from util.optim import Schedule, clip_gradients
from util.state import TrainingState

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h


def keep_memory(sparing: bool) -> None:
    """Lets glibc keep what it frees: each step asks for the same sizes again.

    Otherwise a step on CPU gets new pages from the system for every larger tensor, which took a
    quarter of its time and more.

    Args:
        sparing: returns blocks above 32 MB all the same, where memory matters more than time.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt is not None:
            if sparing:
                mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest it takes
            else:
                mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


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


def choose_precision(device: torch.device, amp: bool) -> torch.dtype | None:
    """The type of autocast: bfloat16 where the device computes in it; None: float32 throughout."""
    if not amp:
        return None
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return torch.bfloat16
    logger.warning("--amp: this CPU has no bfloat16 instructions; going on in float32")
    return None


def forward(
    model: nn.Module,
    images: Tensor,
    padding: Tensor,
    device: torch.device,
    precision: Any,
) -> dict[str, Any]:
    """The model's outputs in float32, whatever it computed in; images and padding on the CPU."""
    images = images.to(device, non_blocking=True)
    padding = padding.to(device, non_blocking=True) if padding.any() else None
    with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        outputs = model(images, padding)
    return _to_float(outputs)


def _to_float(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: _to_float(value) for name, value in outputs.items()}
    return [_to_float(value) for value in outputs]


def train_one_epoch(
    model: nn.Module,
    criterion: nn.Module,
    batches: Any,
    state: TrainingState,
    schedule: Schedule,
    after_step: Callable[[Step], None],
    *,
    device: torch.device,
    precision: torch.dtype | None,
    clip_max_norm: float,
    accumulate: int = 1,
    with_ema: bool = True,
) -> tuple[dict[str, float], dict[str, float]]:
    """Goes through the training batches of this rank, from the state's step to the last.

    Args:
        model: on `device`, in DistributedDataParallel where there are several ranks.
        batches: a loader of (images, padding, targets); the number is the same on all ranks.
        state: changes with each step.
        after_step: called after each, on all ranks.
        accumulate: batches of a step. The gradient is that of one batch of all their pictures,
            but that each is padded, and trained batch norm averaged, on its own.
        with_ema: whether the state's average of the weights follows.

    Returns:
        Means over the epoch's good steps and all ranks: "loss", the weighted sum, and every loss
        unweighted; and how fast it went (`Pace`).
    """
    norms.train(model)
    pace = Pace(device)
    first = state.epoch * schedule.steps_per_epoch
    total = schedule.steps_per_epoch * state.step_size
    groups = _in_groups(pace.waiting(from_workers(batches)), accumulate)
    statistics = _statistics(model)
    with Progress(total, f"epoch {state.epoch}", state.step * state.step_size) as progress:
        for parts in groups:
            schedule.apply(state.optimizer, first + state.step)
            before = [buffer.clone() for buffer in statistics]
            with explained(parts, accumulate, device):
                losses = _losses_and_gradient(
                    model, criterion, parts, state.scaler, device, precision
                )
                step = _update(model, state, parts, losses, clip_max_norm)
            if step.good:
                if with_ema and state.ema is not None:
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


def _losses_and_gradient(
    model: nn.Module,
    criterion: nn.Module,
    parts: list[tuple],
    scaler: torch.amp.GradScaler,
    device: torch.device,
    precision: torch.dtype | None,
) -> dict[str, Tensor]:
    """Leaves the gradient of all batches of a step in the parameters.

    Returns:
        () of each loss, over these batches: "loss", the weighted sum, and the others unweighted.
    """
    count = criterion.count([target for _, _, targets in parts for target in targets])
    rows, names = [], ()
    for i, (images, padding, targets) in enumerate(parts):
        targets = [_to_device(target, device) for target in targets]
        with _synchronised(model, i == len(parts) - 1):
            outputs = forward(model, images, padding, device, precision)
            losses = criterion(outputs, targets, count)
            total = criterion.total(losses)
            scaler.scale(total).backward()
        names = ("loss", *losses)
        rows.append(torch.stack([total, *losses.values()]).detach())
    return dict(zip(names, torch.stack(rows).double().sum(0), strict=True))


def _update(
    model: nn.Module,
    state: TrainingState,
    parts: list[tuple],
    losses: dict[str, Tensor],
    clip_max_norm: float,
) -> Step:
    """Changes the weights, if all ranks found the step good; forgets the gradient."""
    state.scaler.unscale_(state.optimizer)
    norm = sharding.whole(clip_gradients(model, clip_max_norm)).double()
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


@torch.inference_mode()
def predict(
    model: nn.Module,
    postprocess: Callable[[dict[str, Any], Tensor], list[People]],
    batches: Any,
    device: torch.device,
    precision: torch.dtype | None,
) -> tuple[list[int], list[People], dict[int, str]]:
    """Finds the people of every picture of the data set, on all ranks together.

    Args:
        model: without DistributedDataParallel, as ranks may have different numbers of batches.
        batches: a loader whose dataset knows its `image_ids`; each rank has its share.

    Returns:
        Image ids in the order of the data set; the people of each picture, on the CPU; ids of
        pictures that could not be read, which have nobody, and why. The same on all ranks.
    """
    model.eval()
    image_ids: list[int] = []
    people: list[People] = []
    unreadable: list[tuple[int, str]] = []
    ranks = distributed.world_size()
    with Progress(len(batches.dataset.image_ids), "evaluation") as progress:
        for images, padding, targets in from_workers(batches):
            if stopping.requested():
                raise stopping.Stopped("stopped during evaluation", stopping.requested())
            outputs = forward(model, images, padding, device, precision)
            sizes = torch.stack([torch.as_tensor(t["orig_size"]) for t in targets]).to(device)
            found = [_to_device(p, torch.device("cpu")) for p in postprocess(outputs, sizes)]
            people += [_seen(p, target) for p, target in zip(found, targets, strict=True)]
            unreadable += [row for target in targets for row in target.get("unreadable", ())]
            image_ids += [int(target["image_id"]) for target in targets]
            progress.step(len(targets) * ranks)
    rows = [row for rows in distributed.from_all(unreadable) for row in rows]
    return *_gather(image_ids, people, batches.dataset), dict(rows)


def _seen(people: People, target: dict[str, Any]) -> People:
    """Nobody, if a black picture stood for one that could not be read."""
    return people if "unreadable" not in target else chosen(people, slice(0))


def _gather(
    image_ids: list[int], people: list[People], dataset: Any
) -> tuple[list[int], list[People]]:
    """Puts the shares of all ranks together, as arrays, in the order of the data set."""
    ids = distributed.gather_rows(torch.tensor(image_ids, dtype=torch.int64)).tolist()
    counts = torch.tensor([len(p["scores"]) for p in people], dtype=torch.int64)
    counts = distributed.gather_rows(counts).tolist()
    columns = {
        name: distributed.gather_rows(torch.cat([nothing, *(p[name] for p in people)])).split(
            counts
        )
        for name, nothing in nobody(dataset.skeleton.num_keypoints).items()
    }
    order = _positions(ids, dataset.image_ids)
    everybody = [{name: column[i] for name, column in columns.items()} for i in order]
    return [ids[i] for i in order], everybody


def _positions(ids: Sequence[int], wanted: Sequence[int]) -> list[int]:
    place = {int(image_id): i for i, image_id in enumerate(wanted)}
    return sorted(range(len(ids)), key=lambda i: place[ids[i]])
