"""Decodes files, cameras and addresses of the web into pictures, one at a time."""

from __future__ import annotations

import http.client
import io
import math
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from grouppose.errors import InputError, MissingFileError
from grouppose.pictures import as_shown, naming, open_picture
from grouppose.version import __version__

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
VIDEOS = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".mts",
    ".m2ts", ".3gp", ".3g2", ".flv", ".ogv", ".mxf", ".vob", ".asf", ".divx", ".mjpeg", ".mjpg",
    ".h264", ".hevc", ".y4m",
)  # fmt: skip
# Pillow does not know these endings by itself; a folder names those that nothing reads.
_FURTHER = (
    ".heic", ".heif", ".hif", ".jxl", ".svg", ".exr", ".hdr", ".pam", ".dng", ".cr2", ".cr3",
    ".nef", ".arw", ".raf", ".orf", ".rw2", ".mpo",
)  # fmt: skip
_NO_PICTURES = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")  # that Pillow opens by itself
_ANIMATED = ("AVIF", "FLI", "GIF", "PNG", "WEBP")
_REDUCED = 5  # bits of TIFF's NewSubfileType: a smaller form of another page, or a mask
_NEW_SUBFILE_TYPE = 254

_USUAL, _NONSENSE = 25.0, 1000.0  # pictures a second; browsers' recordings say the latter
# Whose header counts the pictures; others are estimated from the duration.
_COUNTED = (".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".avi")

STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps")
_PLAYED = (*VIDEOS, ".m3u8")  # by OpenCV, while they come
_PATIENCE = 20  # seconds for the next part of an address
_LONGEST = 120  # seconds for a whole picture from an address
_LARGEST = 256 << 20  # bytes of a picture from an address


@dataclass(frozen=True)
class Frame:
    """A picture of a source.

    Attributes:
        image: (3, H, W) uint8 RGB.
        path: what it came from.
        number: in its source, from 0.
        rate: pictures a second, of videos; 0 otherwise.
        count: pictures in the source; 0: nobody knows, as of a camera.
        sequence: pictures of the same one follow each other; "": the one of all pictures that are
            given alone.
    """

    image: Tensor
    path: str
    number: int = 0
    rate: float = 0.0
    count: int = 1
    sequence: str = ""


Failed = Callable[[str, Exception], None]


def silence() -> None:
    """Keeps OpenCV and ffmpeg from adding lines of their own to what a command says."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when the first video is opened
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def picture_endings() -> set[str]:
    """Lower-case endings of what a folder's pictures may be called."""
    Image.init()
    known = {
        ending
        for ending, form in Image.registered_extensions().items()
        if form in Image.OPEN and form not in _NO_PICTURES
    }
    return known | set(PICTURES) | set(_FURTHER)


def is_address(text: str) -> bool:
    """Whether it begins like http://, rtsp://, ..."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text) is not None


def is_moving(path: str) -> bool:
    """Whether a file is drawn as a video: it is one, or an animation."""
    if Path(path).suffix.lower() in VIDEOS:
        return True
    try:
        with open_picture(path) as picture:
            return animated(picture)
    except UnidentifiedImageError:
        return Path(path).suffix.lower() not in picture_endings() and _is_video(path)
    except (OSError, SyntaxError, ValueError):
        return False  # whatever it is, reading it will say


def count_of(path: str) -> int:
    """Pictures in a file, as its header says; 1 where it says nothing."""
    if Path(path).suffix.lower() not in VIDEOS:
        return 1
    video = cv2.VideoCapture(path)
    try:
        return max(1, _said_count(video))
    finally:
        video.release()


def _said_count(video: cv2.VideoCapture) -> int:
    said = video.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(said) if math.isfinite(said) and said > 0 else 0


def animated(picture: Image.Image) -> bool:
    """Whether its pictures follow each other in time, unlike the pages of a TIFF."""
    return picture.format in _ANIMATED and getattr(picture, "n_frames", 1) > 1


def _capture(place: str | int) -> cv2.VideoCapture:
    if isinstance(place, int) or not is_address(place):
        return cv2.VideoCapture(place)
    limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
    return cv2.VideoCapture(
        place, cv2.CAP_FFMPEG, [value for key in limits for value in (key, 1000 * _PATIENCE)]
    )


def _is_video(path: str) -> bool:
    with open(path, "rb") as file:
        if b"\0" not in file.read(4096):  # text, which ffmpeg would show as on a terminal
            return False
    video = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    try:
        return video.isOpened()
    finally:
        video.release()


def from_file(
    path: str, failed: Failed | None = None, max_megapixels: float | None = None
) -> Iterator[Frame]:
    """The pictures of a file: one, the pages of a TIFF, an animation's or a video's."""
    if Path(path).suffix.lower() in VIDEOS:
        if not Path(path).is_file():
            raise MissingFileError(f"no video {path}; check the path")
        yield from from_video(path, path, failed)
        return
    if not Path(path).is_file():
        raise MissingFileError(f"no picture {path}; check the path")
    with naming(path):
        try:
            picture = open_picture(path, max_megapixels)
        except UnidentifiedImageError:
            image = _by_opencv(path)
            known = Path(path).suffix.lower() in picture_endings()
            if image is None and (known or not _is_video(path)):
                raise
            picture = None
    if picture is not None:
        yield from _from_picture(picture, path)
    elif image is not None:
        yield Frame(image, path)
    else:
        yield from from_video(path, path, failed)


def _by_opencv(path: str) -> Tensor | None:
    """A picture of the few formats that OpenCV reads and Pillow does not: PAM, Radiance's HDR."""
    image = cv2.imread(path) if cv2.haveImageReader(path) else None
    return None if image is None else from_array(image, bgr=True)


def _from_picture(picture: Image.Image, path: str) -> Iterator[Frame]:
    with naming(path), picture:
        numbers, rate = [0], 0.0
        if animated(picture):
            numbers, rate = _animation(picture)
        elif picture.format == "TIFF":
            numbers = _pages(picture)
        for i, number in enumerate(numbers):
            picture.seek(number)
            yield Frame(as_shown(picture), path, i, rate, len(numbers))


def _animation(picture: Image.Image) -> tuple[list[int], float]:
    """Numbers of an animation's pictures, and how many there are a second, on average."""
    first = int(bool(picture.info.get("default_image")))  # shown where nothing can move
    numbers = list(range(first, picture.n_frames))
    seconds = 0.0
    for number in numbers:
        picture.seek(number)
        picture.load()
        seconds += 1e-3 * picture.info.get("duration", 0) or 0.1  # as browsers show them
    return numbers, len(numbers) / seconds


def _pages(picture: Image.Image) -> list[int]:
    """Numbers of a TIFF's pages, without previews and masks."""
    numbers = []
    for number in range(picture.n_frames):
        picture.seek(number)
        if not picture.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED:
            numbers.append(number)
    return numbers or [0]


def from_video(place: str | int, name: str, failed: Failed | None = None) -> Iterator[Frame]:
    """The pictures of a video or, where `place` is a number, of a camera.

    Raises:
        InputError: where there are none; also where there are fewer than the file says, unless
            `failed` can be told.
    """
    video = _capture(place)
    try:
        if not video.isOpened():
            advice = (
                "it may be none, or be cut off; convert it"
                if place == name
                else ("is it connected, and in use by no other program? The first is camera 0")
            )
            raise InputError(f"{name} cannot be opened as a video; {advice}")
        rate = video.get(cv2.CAP_PROP_FPS)
        if not 0 < rate < _NONSENSE:
            rate = _USUAL
        count = _said_count(video)
        number = 0
        while True:
            read, image = video.read()
            if not read:
                break
            yield Frame(from_array(image, bgr=True), name, number, rate, count)
            number += 1
    finally:
        video.release()
    if number == 0:
        raise InputError(f"{name} holds no picture that can be read; it may be damaged")
    slack = 0 if Path(name).suffix.lower() in _COUNTED else max(2, count // 20)
    if number < count - slack and not is_address(name):
        error = InputError(
            f"{name}: {number} of {count} pictures could be read; the video is damaged or cut off"
        )
        if failed is None:
            raise error
        failed(name, error)


def from_address(
    address: str, failed: Failed | None = None, max_megapixels: float | None = None
) -> Iterator[Frame]:
    """The picture at an http(s) address, or the pictures of a video or a stream, as they come."""
    try:
        parts = urllib.parse.urlsplit(address)
    except ValueError as error:
        raise InputError(f"{address} is no address ({error}); check it") from error
    if parts.scheme.lower() in STREAMS:
        yield from from_video(address, address, failed)
        return
    if parts.scheme.lower() not in ("http", "https"):
        raise InputError(
            f"{address}: {parts.scheme} addresses are not read, expected http, https, "
            f"{', '.join(STREAMS)}; download the file and give its path"
        )
    content = None
    if Path(parts.path).suffix.lower() not in _PLAYED:
        content = _fetch(address)
    if content is None:
        yield from from_video(address, address, failed)
        return
    with naming(address):
        picture = open_picture(content, max_megapixels)
    yield from _from_picture(picture, address)


def _fetch(address: str) -> BinaryIO | None:
    """What an address gives; None: a video, which need not be fetched as a whole."""
    request = urllib.request.Request(address, headers={"User-Agent": f"grouppose/{__version__}"})
    began = time.monotonic()
    content = io.BytesIO()
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            kind = answer.headers.get_content_type()
            if kind.startswith(("video/", "multipart/")) or "mpegurl" in kind:
                return None
            while part := answer.read1(1 << 16):
                content.write(part)
                if content.tell() > _LARGEST:
                    raise InputError(f"{address} has more than {_LARGEST >> 20} MB; download it")
                if time.monotonic() - began > _LONGEST:
                    raise InputError(f"{address} took more than {_LONGEST} s; download it")
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        code = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise InputError(
            f"{address} cannot be fetched ({code}{reason}); check the address, or download the "
            "file and give its path"
        ) from error
    content.seek(0)
    return content


def from_array(image: np.ndarray, bgr: bool) -> Tensor:
    """An array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, as (3, H, W) RGB."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise InputError(
            f"an array is {image.dtype} {image.shape}, expected uint8 (height, width, 3)"
        )
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] not in (3, 4):
        raise InputError(f"an array has {image.shape[2]} channels, expected 1, 3 or 4")
    image = image[..., 2::-1] if bgr else image[..., :3]
    image = np.require(image, requirements=("C", "W"))  # copied where it is not
    return torch.from_numpy(image).permute(2, 0, 1)
