"""Checkpoints of a run: written while training goes on, and found again after a kill.

checkpoint.pth is the newest; checkpoint_previous1.pth, ..._previous2.pth, ... came before it. A
file appears under its name when it is whole, and no name is taken from a file before that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from grouppose.checkpoints import read_checkpoint, write_checkpoint
from grouppose.errors import InputError
from grouppose.files import being_written, flush_folder, partial_name, write_whole
from util.log import LOG, epochs_in, logger

NEWEST = "checkpoint.pth"
BEST = "checkpoint_best_regular.pth"
_NEXT = ".checkpoint.next"  # whole, but not yet the newest


def name_of(age: int) -> str:
    """Of the newest checkpoint (0), the one before it (1), ..."""
    return f"checkpoint_previous{age}.pth" if age else NEWEST


class CheckpointWriter:
    """Writes on a thread of its own, one checkpoint after the other; for rank 0.

    Args:
        folder: of the run.
        keep: checkpoints to keep, the newest included.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future | None = None

    def write(
        self,
        content: Mapping[str, Any],
        names: Sequence[str] = (),
        others: Mapping[str, Mapping[str, Any]] | None = None,
        again: bool = False,
    ) -> None:
        """Copies the content and starts to write it; first waits for the one before.

        Args:
            content: tensors and plain containers.
            names: further names for the file.
            others: further files, name -> content.
            again: of the same step as the newest one, whose place it takes.
        """
        self.wait()
        content, others = snapshot(content), snapshot(others or {})
        self._pending = self._thread.submit(self._write, content, names, others, again)

    def wait(self) -> None:
        """Returns when everything is on the disk, or raises what went wrong with it."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def check(self) -> None:
        """Raises what went wrong so far; does not wait."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def _write(
        self, content: Any, names: Sequence[str], others: Mapping[str, Any], again: bool
    ) -> None:
        for name, other in others.items():
            write_checkpoint(self.folder / name, other)
        whole = self.folder / _NEXT
        write_checkpoint(whole, content)
        try:
            for name in names:  # copies: a link would be damaged with what it points to
                write_whole(self.folder / name, lambda part: shutil.copyfile(whole, part))
            for age in range(0 if again else self.keep - 1, 0, -1):
                if (self.folder / name_of(age - 1)).exists():
                    _also(self.folder / name_of(age - 1), self.folder / name_of(age))
            os.replace(whole, self.folder / NEWEST)
            flush_folder(self.folder)
        except OSError as error:
            raise InputError(
                f"could not keep {NEWEST} in {self.folder}: {error.strerror}; free space"
            ) from error


def _also(file: Path, name: Path) -> None:
    """Gives a file that is about to lose its name another; copies it where that cannot be done."""
    partial = partial_name(name)
    try:
        os.link(file, partial)
    except OSError:
        shutil.copyfile(file, partial)
    os.replace(partial, name)


def snapshot(value: Any) -> Any:
    """A copy, on the CPU, that training does not change."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: snapshot(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(item) for item in value]
    return value


def find_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run; None if it has not written any.

    It is one of the newest, else the furthest of those that stay: of every so many epochs, of the
    best one. Damaged files are renamed to *.damaged, so that they do not push whole ones out.
    """
    damaged: list[Path] = []
    for path in _by_age(folder):
        if _progress(path, damaged) is not None:
            return path
    found = [(_progress(path, damaged), path) for path in _kept(folder)]
    logged = epochs_in(folder / LOG)
    own = [(progress, path) for progress, path in found if progress and progress[0] <= logged]
    if own:
        return max(own)[1]
    if damaged:
        raise InputError(
            f"no checkpoint in {folder} is whole ({', '.join(path.name for path in damaged)}, now "
            "*.damaged); start from another file with --resume, or anew in another --output_dir"
        )
    return None


def _progress(path: Path, damaged: list[Path]) -> tuple[int, int] | None:
    """Finished epochs and steps after them; None, and one more damaged file, if it is not whole."""
    try:
        content = read_checkpoint(path)
    except InputError as error:
        logger.warning(f"{error}; going on from the one before it")
        damaged.append(path)
        os.replace(path, path.with_name(f"{path.name}.damaged"))
        return None
    return content.get("epoch", 0), content.get("step", 0)


def _by_age(folder: Path) -> list[Path]:
    ages = (path.stem.removeprefix("checkpoint_previous") for path in folder.glob("*.pth"))
    return [
        folder / name_of(age)
        for age in sorted({0, *(int(age) for age in ages if age.isdecimal())})
        if (folder / name_of(age)).is_file()
    ]


def _kept(folder: Path) -> list[Path]:
    """What stays of a run. An earlier run's files may lie among them, further than this one is."""
    numbered = folder.glob("checkpoint[0-9][0-9][0-9][0-9]*.pth")
    return [path for path in (*sorted(numbered), folder / BEST) if path.is_file()]


def remove_partial(folder: Path) -> None:
    """Removes what a killed run had begun to write, but nothing that a process is writing now."""
    for path in folder.glob(".*.part*"):
        if not being_written(path):
            path.unlink(missing_ok=True)
    (folder / _NEXT).unlink(missing_ok=True)
