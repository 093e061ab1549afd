"""Memory: what to change when there is too little, and how many pictures fit on a GPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from datasets.recipes import recipe_of
from grouppose.errors import InputError, is_out_of_memory
from grouppose.models import targets_of
from util import distributed, norms
from util.log import highest_memory, logger

AUTO = "auto"
SPARED = 0.9  # share of a GPU's memory that a step may fill
SMALLER = "smaller data_aug_scales and data_aug_max_size (affine_size with that recipe)"
CROWD = 30  # people on each of the pictures that sizes are tried with


@contextmanager
def explained(parts: Sequence[tuple], accumulate: int, device: torch.device) -> Iterator[None]:
    """Around a step: if memory runs out, says at which size and what helps."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        pictures, _, height, width = max((part[0].shape for part in parts), key=lambda s: s.numel())
        half = max(1, pictures // 2)
        raise InputError(
            f"out of memory: {highest_memory(device):.1f} GB were in use in a step of {pictures} "
            f"pictures padded to {height} x {width}; what helps: --amp, --options "
            f"use_checkpoint=True, or batch_size={half} accumulate={accumulate * pictures // half}"
            + ("" if pictures > 1 else f"; or {SMALLER}")
        ) from error


def fitting_batch(
    model: nn.Module,
    criterion: nn.Module,
    settings: Mapping[str, Any],
    device: torch.device,
    precision: torch.dtype | None,
) -> int:
    """batch_size = "auto": the pictures of the largest training size that fit on every GPU."""
    if device.type != "cuda":
        raise InputError(
            "batch_size is 'auto', which measures the memory of a GPU, but this run is on the CPU; "
            "give a number, such as batch_size=2"
        )
    ballast = [  # what the optimizer and the averaging of gradients will take
        torch.empty_like(p) for p in model.parameters() if p.requires_grad for _ in range(3)
    ]
    limit = torch.cuda.get_device_properties(device).total_memory * SPARED

    def fits(pictures: int) -> bool:
        torch.cuda.reset_peak_memory_stats(device)
        try:
            _try_step(model, criterion, settings, pictures, device, precision)
        except torch.OutOfMemoryError:
            return False
        finally:
            model.zero_grad(set_to_none=True)
            gc.collect()
            torch.cuda.empty_cache()
        return torch.cuda.max_memory_reserved(device) <= limit

    found = int(distributed.exchange([largest(fits)]).min())
    del ballast
    torch.cuda.reset_peak_memory_stats(device)
    if found == 0:
        raise InputError(
            "batch_size is 'auto', but not even one picture of the largest training size fits; "
            f"what helps: --amp, --options use_checkpoint=True, or {SMALLER}"
        )
    logger.info(f"batch_size=auto: {found} pictures fit")
    return found


def largest(fits: Callable[[int], bool], most: int = 256) -> int:
    """The largest number up to `most` that fits, 0 if 1 does not; asks for few."""
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _try_step(
    model: nn.Module,
    criterion: nn.Module,
    settings: Mapping[str, Any],
    pictures: int,
    device: torch.device,
    precision: torch.dtype | None,
) -> None:
    """Forward and backward of noise of the largest size, with many people."""
    shorter, longer = recipe_of(settings).largest
    images = torch.randint(256, (pictures, 3, shorter, longer), dtype=torch.uint8, device=device)
    padding = torch.zeros(pictures, shorter, longer, dtype=torch.bool, device=device)
    padding[:, -1] = True
    with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
        outputs = norms.train(model)(images, padding)
    target = targets_of(settings)(*_crowd(settings["num_body_points"], shorter, longer))
    targets = [{name: value.to(device) for name, value in target.items()}] * pictures
    criterion.total(criterion(outputs, targets, criterion.count(targets))).backward()


def _crowd(num_keypoints: int, height: int, width: int) -> tuple:
    """Many people all over a picture: what `encode` takes."""
    corners = torch.rand(CROWD, 2, 2).sort(1).values * torch.tensor([width, height])
    people = {
        "keypoints": torch.rand(CROWD, num_keypoints, 2) * torch.tensor([width, height]),
        "visible": torch.ones(CROWD, num_keypoints, dtype=torch.bool),
        "boxes": corners.flatten(1),
        "area": torch.full((CROWD,), 0.1 * height * width),
        "labels": torch.ones(CROWD, dtype=torch.int64),
    }
    return people, (height, width), torch.zeros(height, width, dtype=torch.bool)
