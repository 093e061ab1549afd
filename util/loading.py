"""Which pictures go to which rank, in which order; loaders around it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from grouppose.errors import InputError, UserError
from util import distributed, stopping

SORTED_STEPS = 32  # pictures of so many steps are sorted by aspect together


class TrainBatches(Sampler[list[int]]):
    """Shuffled batches of this rank: a function of seed and epoch; the incomplete end is left out.

    A step of all ranks together is one stretch of the shuffled order; it takes `accumulate`
    batches of each rank.

    Attributes:
        epoch: chooses the order.
        first_step: steps of the epoch that are done already and are left out.
        reshuffles: (step, number) of every time that training diverged and went back to `step`:
            from there on another order follows, of the same pictures.

    Args:
        num_pictures: of the set.
        batch_size: per rank.
        seed: of the order.
        accumulate: batches of a step.
        aspects: (num_pictures,) width / height; pictures of similar ones then share a step, so
            that less padding is computed. None: by chance.
    """

    def __init__(
        self,
        num_pictures: int,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        aspects: np.ndarray | None = None,
    ) -> None:
        self.rank, self.ranks = distributed.rank(), distributed.world_size()
        self.num_pictures, self.batch_size, self.seed = num_pictures, batch_size, seed
        self.accumulate, self.aspects = accumulate, aspects
        self.epoch = self.first_step = 0
        self.reshuffles: list[tuple[int, int]] = []
        if len(self) == 0:
            raise InputError(
                f"{num_pictures} training pictures do not fill {accumulate} x {batch_size} "
                f"(accumulate x batch_size) on each of {self.ranks} processes; set one of them "
                "lower or start fewer processes"
            )

    @property
    def step_size(self) -> int:
        """Pictures of a step of all ranks."""
        return self.batch_size * self.ranks * self.accumulate

    def __len__(self) -> int:
        return self.num_pictures // self.step_size * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        order = self._shuffled(np.arange(self.num_pictures), self.seed, self.epoch)
        for step, number in self.reshuffles:
            done = step * self.step_size
            rest = self._shuffled(order[done:], self.seed, self.epoch, number)
            order = np.concatenate([order[:done], rest])
        for i in range(self.first_step * self.accumulate, len(self)):
            first = (i * self.ranks + self.rank) * self.batch_size
            yield order[first : first + self.batch_size].tolist()

    def _shuffled(self, order: np.ndarray, *seed: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        order = generator.permutation(order)
        return order if self.aspects is None else self._by_aspect(order, generator)

    def _by_aspect(self, order: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Sorts stretches of the order by aspect, then shuffles the steps."""
        step = self.step_size
        stretches = np.split(order, range(SORTED_STEPS * step, len(order), SORTED_STEPS * step))
        order = np.concatenate([s[self.aspects[s].argsort(kind="stable")] for s in stretches])
        steps = len(order) // step
        rows = order[: steps * step].reshape(steps, step)
        return generator.permutation(rows).ravel()


def train_batches(dataset: Any, settings: Mapping[str, Any]) -> TrainBatches:
    """The training batches that the settings ask for."""
    return TrainBatches(
        len(dataset),
        settings["batch_size"],
        settings["seed"],
        settings["accumulate"],
        dataset.aspects if settings["group_by_aspect"] else None,
    )


def effective_batch(settings: Mapping[str, Any]) -> int:
    """Pictures of a step, on all ranks together."""
    return settings["batch_size"] * settings["accumulate"] * distributed.world_size()


class EvalBatches(Sampler[list[int]]):
    """All pictures once, in order. The batches are the same however many ranks share them."""

    def __init__(self, num_pictures: int, batch_size: int) -> None:
        order = list(range(num_pictures))
        batches = [order[i : i + batch_size] for i in range(0, num_pictures, batch_size)]
        self.batches = batches[distributed.rank() :: distributed.world_size()]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def default_workers() -> int:
    """A core each, less the one of the training process itself; at most 8."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    return max(0, min(8, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1))


def make_loader(
    dataset: Any, batches: Sampler[list[int]], collate: Callable, workers: int, device: torch.device
) -> DataLoader:
    """Workers of a training loader stay from epoch to epoch; the data set tells them which.

    The loader seeds them from a generator of its own: it would otherwise advance the global one,
    which a resumed run must find as it was.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0 and isinstance(batches, TrainBatches),
    )


def _start_worker(number: int) -> None:
    """Each has one core, of OpenCV's threads too; PyTorch's are limited by the loader."""
    stopping.ignored_by_worker(number)
    cv2.setNumThreads(0)


def from_workers(batches: Iterable) -> Iterator:
    """The batches of a loader; says in a line what happened to one of its workers."""
    try:
        yield from batches
    except UserError as error:  # of a worker: its trace, which ends in the message
        if "Original Traceback" not in str(error):
            raise
        message = re.sub(r"^[\w.]+: ", "", str(error).strip().splitlines()[-1])
        raise type(error)(message) from None
    except RuntimeError as error:
        found = re.search(r"DataLoader worker \(pid.*?(killed by signal: [^.]*|exited)", str(error))
        if not found:
            raise
        raise InputError(
            f"a process that reads pictures was ended by the system ({found[1]}): most likely the "
            "memory of this machine is full; set --num_workers or batch_size lower, or give "
            "it more memory (in a container also shared memory, --shm-size)"
        ) from error
