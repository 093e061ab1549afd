"""One epoch of training, one pass of evaluation."""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from grouppose.errors import UserError
from util import distributed
from util.ema import ModelEma
from util.log import Averages, Progress, logger
from util.optim import Schedule, clip_gradients

People = list[dict[str, Tensor]]


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_memory() -> None:
    """Lets glibc keep what it frees: each step asks for the same sizes again.

    Otherwise a step on CPU gets new pages from the system for every larger tensor, which took a
    quarter of its time.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest it takes
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


class NonFiniteLossError(UserError, ArithmeticError):
    """Training diverged."""


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
    **wanted: bool,
) -> dict[str, Any]:
    """The model's outputs in float32, whatever it computed in; images and padding on the CPU."""
    images = images.to(device, non_blocking=True)
    padding = padding.to(device, non_blocking=True) if padding.any() else None
    with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        outputs = model(images, padding, **wanted)
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
    batches: Iterable,
    optimizer: Optimizer,
    schedule: Schedule,
    scaler: torch.amp.GradScaler,
    *,
    epoch: int,
    device: torch.device,
    precision: torch.dtype | None,
    clip_max_norm: float,
    accumulate: int = 1,
    ema: ModelEma | None = None,
) -> dict[str, float]:
    """Goes once through the training batches of this rank.

    Args:
        model: on `device`, in DistributedDataParallel where there are several ranks.
        batches: (images, padding, targets); its length is known and the same on all ranks.
        accumulate: batches of a step. The gradient is that of one batch of all their pictures,
            but that each is padded, and trained batch norm averaged, on its own.
        ema: updated after each step, if given.

    Returns:
        Means over the epoch and all ranks: "loss", the weighted sum, and every loss unweighted.
    """
    model.train()
    averages = Averages()
    ranks = distributed.world_size()
    first_step = epoch * schedule.steps_per_epoch
    with Progress(_count_pictures(batches) * ranks, f"epoch {epoch}") as progress:
        for step, parts in enumerate(_in_groups(batches, accumulate), start=first_step):
            schedule.apply(optimizer, step)
            optimizer.zero_grad(set_to_none=True)
            people = sum(len(target["labels"]) for _, _, targets in parts for target in targets)
            values: dict[str, float] = {}
            for i, (images, padding, targets) in enumerate(parts):
                targets = [_to_device(target, device) for target in targets]
                with _synchronised(model, i == len(parts) - 1):
                    outputs = forward(model, images, padding, device, precision)
                    losses = criterion(outputs, targets, people)
                    total = criterion.total(losses)
                    for name, value in _read_back(total, losses).items():
                        values[name] = values.get(name, 0.0) + value
                    _check_finite(values, epoch, step - first_step)
                    scaler.scale(total).backward()

            scaler.unscale_(optimizer)
            clip_gradients(model, clip_max_norm)
            scaler.step(optimizer)
            scaler.update()
            if ema is not None:
                ema.update(getattr(model, "module", model))

            averages.add(values)
            progress.step(sum(len(part[2]) for part in parts) * ranks, values["loss"])
    return averages.means()


def _in_groups(batches: Iterable, size: int) -> Iterator[list]:
    """Lists of so many batches; their number divides by it."""
    steps = iter(batches)
    while group := list(islice(steps, size)):
        yield group


def _synchronised(model: nn.Module, wanted: bool) -> contextlib.AbstractContextManager:
    """Where backward averages gradients over ranks, or only adds them up on each."""
    if wanted or not hasattr(model, "no_sync"):
        return contextlib.nullcontext()
    return model.no_sync()


def _count_pictures(batches: Any) -> int:
    return sum(len(batch) for batch in batches.batch_sampler)


def _to_device(target: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in target.items()
    }


def _read_back(total: Tensor, losses: dict[str, Tensor]) -> dict[str, float]:
    """All losses as numbers, in a single transfer."""
    values = torch.stack([total, *losses.values()]).detach().tolist()
    return dict(zip(("loss", *losses), values, strict=True))


def _check_finite(values: dict[str, float], epoch: int, step: int) -> None:
    wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
    if wrong:
        found = ", ".join(f"{name} = {value}" for name, value in wrong.items())
        raise NonFiniteLossError(
            f"training diverged in epoch {epoch}, step {step}: {found}; go on from a checkpoint "
            "with a lower lr"
        )


@torch.inference_mode()
def predict(
    model: nn.Module,
    postprocess: Callable[[dict[str, Any], Tensor], People],
    batches: Any,
    device: torch.device,
    precision: torch.dtype | None,
    confidence: bool = False,
) -> tuple[list[int], People]:
    """Finds the people of every picture of the data set, on all ranks together.

    Args:
        model: without DistributedDataParallel, as ranks may have different numbers of batches.
        batches: a loader whose dataset knows its `image_ids`; each rank has its share.
        confidence: also give that of every keypoint.

    Returns:
        Image ids in the order of the data set and the people of each picture, the same on all
        ranks, on the CPU.
    """
    model.eval()
    wanted = {"previous": True} if confidence else {}
    image_ids: list[int] = []
    people: People = []
    ranks = distributed.world_size()
    with Progress(len(batches.dataset.image_ids), "evaluation") as progress:
        for images, padding, targets in batches:
            outputs = forward(model, images, padding, device, precision, **wanted)
            sizes = torch.stack([torch.as_tensor(t["orig_size"]) for t in targets]).to(device)
            people += [_to_device(p, torch.device("cpu")) for p in postprocess(outputs, sizes)]
            image_ids += [int(target["image_id"]) for target in targets]
            progress.step(len(targets) * ranks)
    return _gather(image_ids, people, batches.dataset, confidence)


def _gather(
    image_ids: list[int], people: People, dataset: Any, confidence: bool
) -> tuple[list[int], People]:
    """Puts the shares of all ranks together, as arrays, in the order of the data set."""
    num_keypoints = dataset.skeleton.num_keypoints
    empty = {
        "scores": torch.zeros(0),
        "labels": torch.zeros(0, dtype=torch.int64),
        "keypoints": torch.zeros(0, num_keypoints, 2),
    }
    if confidence:
        empty["confidence"] = torch.zeros(0, num_keypoints)
    ids = distributed.gather_rows(torch.tensor(image_ids, dtype=torch.int64)).tolist()
    counts = torch.tensor([len(p["scores"]) for p in people], dtype=torch.int64)
    counts = distributed.gather_rows(counts).tolist()
    columns = {
        name: distributed.gather_rows(torch.cat([nothing, *(p[name] for p in people)])).split(
            counts
        )
        for name, nothing in empty.items()
    }
    order = _positions(ids, dataset.image_ids)
    everybody = [{name: column[i] for name, column in columns.items()} for i in order]
    return [ids[i] for i in order], everybody


def _positions(ids: Sequence[int], wanted: Sequence[int]) -> list[int]:
    place = {int(image_id): i for i, image_id in enumerate(wanted)}
    return sorted(range(len(ids)), key=lambda i: place[ids[i]])
