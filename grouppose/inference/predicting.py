"""Draws what is found in a source: what `grouppose predict` and `main.py --predict` do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from grouppose.errors import InputError, MissingFileError
from grouppose.files import folder_for_results, remove_begun
from grouppose.inference.outputs import (
    CSV,
    JSON,
    Names,
    check_folder,
    holds_any,
)
from grouppose.inference.reading import count_of
from grouppose.inference.results import Result
from grouppose.inference.sources import listed
from grouppose.inference.window import check_display, show_frame
from grouppose.inference.writer import Writer

if TYPE_CHECKING:
    from grouppose.inference.predictor import Predictor

_NAMED = 5  # files of a folder that are neither pictures nor videos; of more the number is told


@dataclass(frozen=True)
class Job:
    """What to predict on, and what to write.

    Attributes:
        source: see `grouppose.inference.sources.frames`.
        folder: receives drawn pictures, an mp4 for a video, predictions.json and .csv.
        flag: that gave the folder, for messages.
        json: write predictions.json, in COCO's format.
        csv: write predictions.csv.
        show: also in a window.
        quiet: no progress, no line a picture and no summary.
        note: about the model, said before the first picture.
    """

    source: Any
    folder: Path
    flag: str = "--out"
    json: bool = False
    csv: bool = False
    show: bool = False
    quiet: bool = False
    note: str = ""


def predict_into(job: Job, make: Callable[[], Predictor]) -> int:
    """Draws what is found in every picture and video of a source.

    Args:
        job: what to do.
        make: gives the predictor, once everything else that can be wrong was looked at.

    Returns:
        The exit code: 1 if a file could not be read.

    Raises:
        InputError: before anything is read or written, where a file would be lost or cannot be
            written.
    """
    if job.show:
        _check_display()
    try:
        files, others = listed(job.source)
    except MissingFileError:
        make()  # where weights are missing, too, they are told of
        raise
    names = Names(files)
    tables = [name for name, wanted in ((JSON, job.json), (CSV, job.csv)) if wanted]
    check_folder(job.folder, [*names.planned, *tables], files, job.flag)
    if holds_any(job.folder, files):
        names.avoid(job.folder)
    with folder_for_results(job.folder, job.flag):
        predictor = make()
        remove_begun(job.folder, [*names.planned, *tables])
        if job.note:
            sys.stderr.write(f"{job.note}\n")
        endless = not files and isinstance(job.source, int | str)  # a camera, a stream
        writer = Writer(job.folder, job.json, job.csv, names=names, endless=endless)
        with Lines(job.quiet, _total(files)) as lines, writer:
            for result in predictor(job.source):
                drawn = writer.add(result)
                lines.add(result)
                if job.show and not show_frame(drawn):
                    break
    _report(predictor.failed, [] if job.quiet else others)
    if not job.quiet:
        views = f", {predictor.views} views of each" if predictor.views > 1 else ""
        pictures = "1 picture" if lines.pictures == 1 else f"{lines.pictures} pictures"
        tqdm.write(f"{_people(lines.people)} in {pictures}{views}; see {job.folder}")
    return 1 if predictor.failed else 0


def _check_display() -> None:
    try:
        check_display()
    except InputError as error:
        raise InputError("--show needs a screen; leave it out, pictures are in --out") from error


def _total(files: Sequence[str]) -> int | None:
    """Pictures of a source, for the progress bar; None: nobody knows."""
    return sum(count_of(path) for path in files) or None


def _report(failed: Sequence[tuple[str, str]], others: Sequence[str]) -> None:
    """What was left out, and why."""
    for path, reason in failed:
        sys.stderr.write(f"left out: {reason if path in reason else f'{path}: {reason}'}\n")
    if others:
        rest = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        sys.stderr.write(
            f"left out, neither picture nor video by their ending: {', '.join(others[:_NAMED])}"
            f"{rest}\n"
        )


class Lines:
    """Tells how far it is: a bar on a terminal, a line a picture or video, unless quiet.

    Args:
        quiet: says nothing.
        total: pictures; None: nobody knows.

    Attributes:
        pictures, people: how many so far.
    """

    def __init__(self, quiet: bool, total: int | None) -> None:
        self.pictures = self.people = 0
        self._quiet = quiet
        hidden = quiet or not sys.stderr.isatty()
        self._bar = tqdm(total=total, unit=" pictures", disable=hidden, leave=False)
        self._video = ""  # that is being read
        self._seen: list[int] = []  # people in each of its pictures
        self._began = time.perf_counter()  # with the picture or video

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *rest: object) -> None:
        self._end_video()
        self._bar.close()

    def add(self, result: Result) -> None:
        """Of the next picture."""
        self.pictures, self.people = self.pictures + 1, self.people + len(result)
        self._bar.update()
        if not result.rate or result.path != self._video or result.frame == 0:
            self._end_video()
        if result.rate:
            self._video = result.path
            self._seen.append(len(result))
        else:
            page = f" ({result.frame + 1})" if result.frame else ""
            took = sum(result.speed.values())
            self._say(f"{_people(len(result))} in {result.path}{page}, {took:.0f} ms")
            self._began = time.perf_counter()

    def _end_video(self) -> None:
        if self._seen:
            now = time.perf_counter()
            took, self._began = now - self._began, now
            most, number = _people(max(self._seen)), len(self._seen)
            self._say(f"{most} at a time in {self._video}, {number} pictures, {took:.1f} s")
        self._seen = []

    def _say(self, line: str) -> None:
        if not self._quiet:  # names of files may hold bytes that are no text
            tqdm.write(line.encode(errors="replace").decode())


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number} people"
