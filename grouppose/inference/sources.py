"""Pictures out of whatever a person has: files, folders, videos, cameras, arrays."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from grouppose.errors import InputError, MissingFileError
from grouppose.pictures import as_rgb, read_picture

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
_USUAL, _FASTEST = 25.0, 240.0  # pictures a second


@dataclass(frozen=True)
class Frame:
    """A picture of a source.

    Attributes:
        image: (3, H, W) uint8 RGB.
        path: what it came from.
        number: in its source, from 0.
        rate: pictures a second, of videos; 0 otherwise.
        count: pictures in the source; 0: nobody knows, as of a camera.
    """

    image: Tensor
    path: str
    number: int = 0
    rate: float = 0.0
    count: int = 1


Failed = Callable[[str, Exception], None]


def frames(source: Any, bgr: bool = False, failed: Failed | None = None) -> Iterator[Frame]:
    """Goes through all pictures of a source, one at a time.

    Args:
        source: path of a picture, a video or a folder of both, a pattern with `*`, the number of a
            camera, a PIL picture, an array (H, W, 3) or (H, W), uint8, or a tensor (3, H, W) or
            (B, 3, H, W), uint8 or float in [0, 1]; or a list of these.
        bgr: arrays are BGR, as OpenCV has them.
        failed: called with path and error for a file of a folder, pattern or list that cannot be
            read; None: the error is raised. A single file always raises.
    """
    if isinstance(source, str | Path):
        yield from _from_path(str(source), failed)
    elif isinstance(source, bool):
        raise InputError(f"the source is {source}, expected a picture, a path or a camera's number")
    elif isinstance(source, int):
        yield from _from_video(source, f"camera {source}")
    elif isinstance(source, list | tuple):
        for i, item in enumerate(source):
            yield from _tolerant(lambda item=item: frames(item, bgr, failed), f"item {i}", failed)
    elif isinstance(source, Tensor):
        for i, image in enumerate(source if source.ndim == 4 else [source]):
            yield Frame(_from_tensor(image), "tensor", i)
    elif isinstance(source, Image.Image):
        yield Frame(as_rgb(source), getattr(source, "filename", "") or "picture")
    elif isinstance(source, np.ndarray):
        yield Frame(_from_array(source, bgr), "array")
    else:
        raise InputError(
            f"the source is a {type(source).__name__}, expected a path, a camera's number, a PIL "
            "picture, an array, a tensor or a list of these"
        )


def _tolerant(make: Callable[[], Iterator[Frame]], name: str, failed: Failed | None) -> Iterator:
    try:
        yield from make()
    except (InputError, MissingFileError) as error:
        if failed is None:
            raise
        failed(name, error)


def _from_path(path: str, failed: Failed | None) -> Iterator[Frame]:
    if Path(path).is_dir():
        names = sorted(
            str(p) for p in Path(path).iterdir() if p.suffix.lower() in PICTURES + VIDEOS
        )
        if not names:
            raise InputError(
                f"{path} holds no picture and no video; expected {', '.join(PICTURES)}"
            )
        yield from _from_files(names, failed)
    elif glob.has_magic(path) and not Path(path).exists():
        names = sorted(glob.glob(path, recursive=True))
        if not names:
            raise MissingFileError(f"nothing matches {path}; check the pattern")
        yield from _from_files(names, failed)
    elif Path(path).suffix.lower() in VIDEOS:
        if not Path(path).is_file():
            raise MissingFileError(f"no video {path}; check the path")
        yield from _from_video(path, path)
    else:
        yield Frame(read_picture(path), path)


def _from_files(names: Sequence[str], failed: Failed | None) -> Iterator[Frame]:
    for name in names:
        yield from _tolerant(lambda name=name: _from_path(name, failed), name, failed)


def _from_video(place: str | int, name: str) -> Iterator[Frame]:
    video = cv2.VideoCapture(place)
    try:
        if not video.isOpened():
            raise InputError(f"{name} cannot be opened as a video; is it one, or in use elsewhere?")
        rate = video.get(cv2.CAP_PROP_FPS)
        if not 0 < rate <= _FASTEST:  # browsers' recordings say 1000, some files nothing
            rate = _USUAL
        count = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
        number = 0
        while True:
            read, image = video.read()
            if not read:
                break
            yield Frame(_from_array(image, bgr=True), name, number, rate, count)
            number += 1
        if number == 0:
            raise InputError(f"{name} holds no picture that can be read; it may be damaged")
    finally:
        video.release()


def _from_array(image: np.ndarray, bgr: bool) -> Tensor:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise InputError(
            f"an array is {image.dtype} {image.shape}, expected uint8 (height, width, 3)"
        )
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] not in (3, 4):
        raise InputError(f"an array has {image.shape[2]} channels, expected 1, 3 or 4")
    image = image[..., 2::-1] if bgr else image[..., :3]
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


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
