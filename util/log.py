"""What a person sees of a run: the console, info.txt, the progress, log.txt."""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from termcolor import colored
from torch import Tensor
from tqdm import tqdm

from grouppose.files import write_whole
from util import distributed

logger = logging.getLogger("grouppose.train")
LOG = "log.txt"  # in a run's folder: a JSON line an epoch
LINE_EVERY = 30.0  # seconds between progress lines where there is no terminal
SMOOTHED_OVER = 20  # steps


class _Console(logging.Formatter):
    COLOURS = {logging.WARNING: "yellow", logging.ERROR: "red"}

    def format(self, record: logging.LogRecord) -> str:
        moment = colored(self.formatTime(record, "%H:%M:%S"), "green")
        message = record.getMessage()
        colour = self.COLOURS.get(record.levelno)
        return f"{moment} {colored(message, colour) if colour else message}"


class _AboveTheBar(logging.Handler):
    """Writes lines so that a progress bar stays below them."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()


def set_up(info_file: Path | None = None) -> None:
    """Messages of rank 0 go to the console and, if given, to a file; other ranks are silent."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = False
    logger.setLevel(logging.INFO if distributed.is_main() else logging.CRITICAL)
    if not distributed.is_main():
        warnings.simplefilter("ignore")  # rank 0 gives the same ones
        return
    console = _AboveTheBar()
    console.setFormatter(_Console())
    logger.addHandler(console)
    if info_file is not None:
        file = logging.FileHandler(info_file, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(file)


class Progress:
    """One line on rank 0 that says where an epoch stands: a bar, or text every LINE_EVERY seconds.

    Args:
        total: pictures of all ranks.
        title: what is counted, "epoch 3".
        done: pictures of them that were counted before.
    """

    def __init__(self, total: int, title: str, done: int = 0) -> None:
        self.total, self.title = total, title
        self.done = self.before = done
        self.losses: deque[float] = deque(maxlen=SMOOTHED_OVER)
        self.began = self.written = time.monotonic()
        terminal = sys.stderr.isatty()
        self.bar = (
            tqdm(
                total=total,
                initial=done,
                desc=title,
                unit=" pictures",
                leave=False,
                dynamic_ncols=True,
            )
            if terminal and distributed.is_main()
            else None
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self, pictures: int, loss: float | None = None) -> None:
        """Counts pictures of all ranks."""
        self.done = min(self.total, self.done + pictures)
        if loss is not None:
            self.losses.append(loss)
        if self.bar is not None:
            if self.losses:
                self.bar.set_postfix_str(f"loss {self.loss:.3f}", refresh=False)
            self.bar.update(self.done - self.bar.n)
        elif time.monotonic() - self.written >= LINE_EVERY:
            self.written = time.monotonic()
            logger.info(self.line())

    @property
    def loss(self) -> float:
        """Mean of the latest steps."""
        return sum(self.losses) / len(self.losses)

    def line(self) -> str:
        seconds = max(1e-9, time.monotonic() - self.began)
        rate = (self.done - self.before) / seconds
        left = round((self.total - self.done) / max(1e-9, rate))
        loss = f"  loss {self.loss:.3f}" if self.losses else ""
        return (
            f"{self.title}  {self.done}/{self.total}{loss}  {rate:.1f} pictures/s  "
            f"{left // 60}:{left % 60:02d} left"
        )


class Pace:
    """How fast an epoch goes, on this rank; with pictures of all ranks."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pictures = 0
        self.waited = 0.0
        self.began = time.monotonic()

    def waiting(self, batches: Iterable) -> Iterator:
        """The batches; measures how long each takes to come."""
        batches = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def count(self, pictures: int) -> None:
        self.pictures += pictures

    def figures(self) -> dict[str, float]:
        """Pictures a second, the share of time spent waiting for data, the highest memory in GB."""
        seconds = max(1e-9, time.monotonic() - self.began)
        return {
            "pictures_per_second": round(self.pictures / seconds, 2),
            "data_wait": round(self.waited / seconds, 4),
            "memory_gb": round(highest_memory(self.device), 3),
        }


def highest_memory(device: torch.device) -> float:
    """GB that this process has used at most: of the GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class Averages:
    """Means of named numbers over an epoch and over ranks."""

    def __init__(self) -> None:
        self.sums: Tensor | None = None
        self.names: list[str] = []
        self.steps = 0

    def add(self, values: dict[str, float]) -> None:
        row = torch.tensor(list(values.values()), dtype=torch.float64)
        self.names = list(values)
        self.sums = row if self.sums is None else self.sums + row
        self.steps += 1

    def means(self) -> dict[str, float]:
        """The same on all ranks; every rank must call it."""
        if self.sums is None:
            return {}
        means = distributed.average(self.sums / self.steps)
        return dict(zip(self.names, means.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Sums of all ranks; every rank must call it."""
        sums = torch.zeros(0) if self.sums is None else self.sums
        sums = distributed.gather_rows(sums[None])
        return {"names": self.names, "steps": self.steps, "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the row of this rank; their mean where there were other ranks."""
        self.names, self.steps = list(state["names"]), state["steps"]
        if self.steps:
            sums = state["sums"]
            same = len(sums) == distributed.world_size()
            self.sums = sums[distributed.rank()] if same else sums.mean(0)


def start_log(path: Path, first_epoch: int) -> None:
    """Keeps the lines of the epochs before `first_epoch`, which a resumed run goes on from."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _epoch_of(line) < first_epoch]
        write_text(path, "".join(f"{line}\n" for line in kept))


def epochs_in(path: Path) -> float:
    """How many epochs a log.txt tells of; without one, any number."""
    if not path.exists():
        return math.inf
    epochs = map(_epoch_of, path.read_text(encoding="utf-8").splitlines())
    return 1 + max((epoch for epoch in epochs if epoch < math.inf), default=-1)


def _epoch_of(line: str) -> float:
    try:
        return json.loads(line)["epoch"]
    except (ValueError, KeyError, TypeError):  # cut off when the run was killed
        return math.inf


def append_log(path: Path, entry: dict[str, Any]) -> None:
    """Adds one JSON line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a whole file or none."""
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
