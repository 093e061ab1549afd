"""Files that strangers send: looked over before anything decodes them, and deleted in time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
from PIL import Image

from grouppose.errors import InputError
from grouppose.inference.reading import VIDEOS, animated

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")  # decoded by Pillow itself
# Where a video file's first bytes say what it is. Others are not opened: a list of further files
# to play, which ffmpeg would read too, may be named .mp4 as well.
_CONTAINERS = (
    (4, b"ftyp"),  # mp4, mov, 3gp
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
    (0, b"\x1aE\xdf\xa3"),  # webm, mkv
    (8, b"AVI "),
    (0, b"\x00\x00\x01\xba"),  # mpeg, vob
    (0, b"0&\xb2u\x8ef\xcf\x11"),  # wmv, asf
    (0, b"FLV\x01"),
    (0, b"OggS\x00"),
    (188, b"G"),  # ts: every packet of 188 bytes begins so
    (196, b"G"),  # mts, m2ts: after 4 bytes of time
)
_LEAST_SECONDS, _SLOWEST = 60.0, 1 / 3  # for a whole upload; megabytes a second
_FASTEST = 60  # pictures a second that the limit of a video's duration counts on


@dataclass(frozen=True)
class Limits:
    """What one client may ask for.

    Attributes:
        megabytes: of a file.
        megapixels: of a picture, or of one of a video's.
        seconds: of a video.
        waiting: requests that wait at the same time; more are refused.
    """

    megabytes: float = 20.0
    megapixels: float = 40.0
    seconds: float = 20.0
    waiting: int = 32

    def __post_init__(self) -> None:
        if min(self.megabytes, self.megapixels, self.seconds, self.waiting) <= 0:
            raise InputError(f"{self}: limits must be more than 0")

    @property
    def bytes(self) -> int:
        return int(self.megabytes * 1e6)

    @property
    def upload_seconds(self) -> float:
        """In which a request has to be here as a whole."""
        return max(_LEAST_SECONDS, self.megabytes / _SLOWEST)

    @property
    def frames(self) -> int:
        return int(self.seconds * _FASTEST)


def examine(path: Path, limits: Limits) -> bool:
    """Reads no more than a file's header.

    Returns:
        Whether it is a video or an animation; else it may be a picture.

    Raises:
        InputError: where the file is larger than the limits, or neither of the two.
    """
    if not path.is_file():
        raise InputError("this is no file")
    size = path.stat().st_size
    if size > limits.bytes:
        raise InputError(
            f"the file has {size / 1e6:.1f} MB, at most {limits.megabytes:g} MB are taken; "
            "make it smaller"
        )
    if path.suffix.lower() in VIDEOS:
        _examine_video(path, limits)
        return True
    try:
        with Image.open(path, formats=FORMATS) as picture:
            _examine_pixels(*picture.size, limits)
            return animated(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"this is no picture that can be read; expected {', '.join(FORMATS)}, or a video "
            f"({', '.join(VIDEOS[:5])}, ...)"
        ) from error


def _examine_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.megapixels * 1e6:
        raise InputError(
            f"the picture is {width} x {height}, at most {limits.megapixels:g} megapixels are "
            "taken; make it smaller"
        )


def _examine_video(path: Path, limits: Limits) -> None:
    with open(path, "rb") as file:
        start = file.read(256)
    if not any(start[at:].startswith(mark) for at, mark in _CONTAINERS):
        raise InputError(
            f"this is no video that can be read; expected {', '.join(VIDEOS[:5])}, ..., as its "
            "name says"
        )
    video = cv2.VideoCapture(str(path))
    try:
        frames, rate, width, height = (
            video.get(key)
            for key in (
                cv2.CAP_PROP_FRAME_COUNT,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
            )
        )
    finally:
        video.release()
    _examine_pixels(int(width), int(height), limits)
    if rate > 0 and frames / rate > limits.seconds:
        raise InputError(
            f"the video lasts {frames / rate:.1f} s, at most {limits.seconds:g} s are taken; cut it"
        )


def delete_older(folder: Path, seconds: float) -> None:
    """Deletes files of a folder and those below it that nobody has written to for so long."""
    limit = time.time() - seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds comes before it
        try:
            if path.stat().st_mtime >= limit:
                continue
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
        except OSError:  # gone already, or a folder that is not empty
            continue
