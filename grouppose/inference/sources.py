"""Pictures out of whatever a person has: files, folders, videos, cameras, addresses, arrays."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from grouppose.errors import InputError, MissingFileError
from grouppose.inference.reading import (
    PICTURES,
    VIDEOS,
    Failed,
    Frame,
    from_address,
    from_array,
    from_file,
    from_video,
    is_address,
    picture_endings,
)
from grouppose.pictures import as_rgb

_MOST_CAMERAS = 2**31 - 1


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
        bgr: arrays are BGR, as OpenCV has them.
        failed: called with path and error for a file of a folder, pattern or list that cannot be
            read; None: the error is raised. A single file always raises.
        in_order: paths of a list are read in the order of the numbers in their names, too, as
            those of folders and patterns are.
        max_megapixels: of a picture file; see `open_picture`.
    """

    bgr: bool = False
    failed: Failed | None = None
    in_order: bool = False
    max_megapixels: float | None = None


def frames(source: Any, reading: Reading | None = None) -> Iterator[Frame]:
    """Goes through all pictures of a source, one at a time.

    Pictures of a folder, a pattern or a list whose names hold a number are one sequence, those of
    another folder another; each video is one of its own.

    Args:
        source: path of a picture, a video or a folder of both, a pattern with `*`, an address of
            http(s) or rtsp, the number of a camera, a PIL picture, an array (H, W, 3) or (H, W),
            uint8, or a tensor (3, H, W) or (B, 3, H, W), uint8 or float in [0, 1]; or a list or an
            iterator of these.
        reading: how.
    """
    reading = reading or Reading()
    if isinstance(source, list | tuple):
        items = _ordered(source) if reading.in_order else source
        yield from _each(items, reading, alone=len(source) == 1)
    elif isinstance(source, Iterator):
        yield from _each(source, reading)
    elif isinstance(source, str | Path):
        yield from _from_path(str(source), reading)
    elif isinstance(source, int | np.integer):
        yield from _from_camera(source, reading)
    elif isinstance(source, Tensor):
        for i, image in enumerate(source if source.ndim == 4 else [source]):
            yield Frame(_from_tensor(image), "tensor", i)
    elif isinstance(source, Image.Image):
        yield Frame(as_rgb(source), getattr(source, "filename", "") or "picture")
    elif isinstance(source, np.ndarray):
        yield Frame(from_array(source, reading.bgr), "array")
    else:
        raise InputError(
            f"the source is a {type(source).__name__}, expected a path, a camera's number, a PIL "
            "picture, an array, a tensor or a list of these"
        )


def listed(source: Any) -> tuple[list[str], list[str]]:
    """The files that a source is made of, as far as it is, in order, and those of its folders
    whose ending says neither picture nor video.

    Raises:
        InputError: a folder without a picture or video.
        MissingFileError: a pattern that nothing matches; a file that is not there.
    """
    if isinstance(source, list | tuple):
        parts = [listed(item) for item in source]
        return [f for files, _ in parts for f in files], [f for _, rest in parts for f in rest]
    if not isinstance(source, str | Path) or is_address(str(source)):
        return [], []
    files, rest = _expanded(str(source))
    if files is None:
        if not os.path.exists(source):
            kind = "video" if Path(source).suffix.lower() in VIDEOS else "picture"
            raise MissingFileError(f"no {kind} {source or repr(source)}; check the path")
        return [str(source)], []
    parts = [listed(name) for name in files if name not in rest and os.path.isdir(name)]
    flat = [name for name in files if not os.path.isdir(name)]
    return flat + [f for inner, _ in parts for f in inner], rest


def camera_or_path(text: str) -> int | str:
    """What a source on a command line is: digits are a camera, unless something has that name."""
    if text.isascii() and text.isdecimal() and not os.path.exists(text):
        return int(text)
    return text


def _each(items: Iterable[Any], reading: Reading, alone: bool = False) -> Iterator[Frame]:
    """Pictures of several sources; one that is `alone` in its list is like one given without."""
    for i, item in enumerate(items):
        is_path = isinstance(item, str | Path)
        pictures = frames(item, reading) if alone else _item(item, reading, i)
        yield from _tolerant(pictures, str(item) if is_path else f"item {i}", reading.failed)


def _item(item: Any, reading: Reading, index: int) -> Iterator[Frame]:
    """An item of a list; a video that is in it twice is two sequences."""
    for frame in frames(item, reading):
        if isinstance(item, str | Path) and frame.sequence == "":
            frame = replace(frame, sequence=_sequence(frame.path))
        yield replace(frame, sequence=f"{index} {frame.sequence}") if frame.rate else frame


def _ordered(source: list | tuple) -> list:
    """A list with its paths in the order of their numbers, where it holds nothing else."""
    if all(isinstance(item, str | Path) for item in source):
        return sorted(source, key=lambda item: natural_order(str(item)))
    return list(source)


def natural_order(name: str) -> list[str | int]:
    """A key that sorts 9 before 10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", name))]


def _sequence(path: str) -> str:
    """Of a picture among others: its folder's, if its name holds a number; else its own."""
    numbered = re.search("[0-9]", Path(path).stem)
    return os.path.dirname(os.path.abspath(path)) if numbered and not is_address(path) else path


def _tolerant(pictures: Iterator[Frame], name: str, failed: Failed | None) -> Iterator[Frame]:
    try:
        yield from pictures
    except (InputError, MissingFileError) as error:
        if failed is None:
            raise
        failed(name, error)


def _named(pictures: Iterator[Frame], sequence: str) -> Iterator[Frame]:
    for frame in pictures:
        yield replace(frame, sequence=sequence)


def _from_camera(number: int, reading: Reading) -> Iterator[Frame]:
    if isinstance(number, bool):
        raise InputError(f"the source is {number}, expected a picture, a path or a camera's number")
    name = f"camera {number}"
    if not 0 <= number <= _MOST_CAMERAS:  # OpenCV crashes
        raise InputError(f"there is no {name}; the first is 0")
    yield from _named(from_video(int(number), name, reading.failed), name)


def _from_path(path: str, reading: Reading) -> Iterator[Frame]:
    """Pictures that are given alone are of the sequence "", videos of their own."""
    files, _ = (None, []) if is_address(path) else _expanded(path)
    if files is not None:
        yield from _each(files, reading)
        return
    read = from_address if is_address(path) else from_file
    for frame in read(path, reading.failed, reading.max_megapixels):
        yield replace(frame, sequence=path) if frame.rate else frame


def _expanded(path: str) -> tuple[list[str] | None, list[str]]:
    """Files of a folder or pattern, and the rest of the folder; None, []: it is neither."""
    if os.path.isdir(path):
        return _files_of(path)
    if glob.has_magic(path) and not os.path.exists(path):
        names = sorted(glob.glob(path, recursive=True), key=natural_order)
        if not names:
            raise MissingFileError(f"nothing matches {path}; check the pattern")
        return names, []
    return None, []


def _files_of(folder: str) -> tuple[list[str], list[str]]:
    """Pictures and videos of a folder, and its other files; hidden ones are neither."""
    try:
        names = sorted(os.listdir(folder), key=natural_order)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be listed ({error.strerror}); check its rights"
        ) from error
    known = picture_endings() | set(VIDEOS)
    files, others = [], []
    for name in names:
        path = str(Path(folder) / name)
        if not name.startswith(".") and not os.path.isdir(path):
            (files if Path(name).suffix.lower() in known else others).append(path)
    if not files:
        raise InputError(f"{folder} holds no picture and no video; expected {', '.join(PICTURES)}")
    return files, others


def _from_tensor(image: Tensor) -> Tensor:
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise InputError(f"a tensor is {tuple(image.shape)}, expected (3, H, W) or (B, 3, H, W)")
    image = image.detach().cpu()
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point() or not bool((image >= 0).all() & (image <= 1).all()):
        raise InputError(
            f"a tensor is {image.dtype} from {image.min():g} to {image.max():g}, expected uint8 "
            "or float in [0, 1]"
        )
    return (image * 255).round().to(torch.uint8)
