"""Picture files of any kind as RGB tensors, and their size in the network."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from grouppose import archives
from grouppose.errors import InputError, MissingFileError
from grouppose.exif import as_stored, exif_case, orientation_of, upright

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands
MOST_MEGAPIXELS = 2e-6 * (Image.MAX_IMAGE_PIXELS or 0)  # where PIL gives up, unless told otherwise
LIMIT_VARIABLE = "GROUPPOSE_MAX_MEGAPIXELS"  # of the environment


def read_picture(
    path: str | Path, stated_size: tuple[int, int] | None = None, exif: str = "turn"
) -> Tensor:
    """Reads a picture as (3, h, w) uint8 RGB, turned as EXIF's orientation says.

    Args:
        path: of the file, which may lie in a zip (see `grouppose.archives`).
        stated_size: height, width according to the annotations. Where only the stored picture has
            that size, or only the turned one, labels are in its pixels, whatever `exif` says.
        exif: "turn" or "ignore" the orientation elsewhere.
    """
    with naming(path), open_picture(archives.read_member(path) or path) as picture:
        return _as_tensor(_rgb(_as_labelled(picture, stated_size, exif)))


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turns what goes wrong while a picture is read into an error that names it."""
    try:
        yield
    except MissingFileError:  # which names the zip
        raise
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no picture {path}; check the path; where annotations list it, complete the folder or "
            "set --coco_path"
        ) from error
    except InputError as error:
        named = str(path) in str(error)
        raise error if named else InputError(f"{archives.described(path)} {error}") from error
    except _UNREADABLE as error:
        raise InputError(
            f"{archives.described(path)} cannot be read as a picture ({error}); replace the file "
            "or leave it out"
        ) from error


def open_picture(file: str | Path | BinaryIO, max_megapixels: float | None = None) -> Image.Image:
    """Opens a picture of any format that Pillow or, where it is installed, pillow-heif reads.

    Args:
        file: path, also into a zip, or an open file.
        max_megapixels: larger pictures are refused before they are decoded; None: what the
            environment's GROUPPOSE_MAX_MEGAPIXELS says, else Pillow's limit.

    Raises:
        InputError: with a message that goes on from the file's name (see `naming`).
    """
    limit = max_megapixels or _stated_limit()
    usual, raised = Image.MAX_IMAGE_PIXELS, limit > MOST_MEGAPIXELS
    if raised:
        Image.MAX_IMAGE_PIXELS = None
    try:
        picture = _opened(file)
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(f"is too large ({error})")) from error
    finally:
        if raised:
            Image.MAX_IMAGE_PIXELS = usual
    width, height = picture.size
    if width * height > limit * 1e6:
        raise InputError(_too_large(f"has {width} x {height} pixels, over {limit:g} million"))
    if picture.mode == "F":
        raise InputError("has floating-point pixels, expected 8 or 16 bits; convert the picture")
    return picture


def _stated_limit() -> float:
    stated = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit = float(stated) if stated else MOST_MEGAPIXELS
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise InputError(f"{LIMIT_VARIABLE} is {stated!r}, expected millions of pixels such as 250")
    return limit


def _too_large(found: str) -> str:
    return (
        f"{found}; make the picture smaller, or let it through: --max-megapixels 500, "
        f"Predictor(max_megapixels=500) or {LIMIT_VARIABLE}=500"
    )


def _opened(file: str | Path | BinaryIO) -> Image.Image:
    if isinstance(file, str | Path):
        file = archives.open_member(file) or file
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if not _is_heif(file):
            raise
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError as error:
        raise InputError(
            "is HEIF, which needs the package pillow-heif; pip install 'grouppose[heif]'"
        ) from error
    register_heif_opener()
    return Image.open(file)


def _is_heif(file: str | Path | BinaryIO) -> bool:
    """By the file's first bytes; a file that is open is at its start again afterwards."""
    if isinstance(file, str | Path):
        with open(file, "rb") as opened:
            return _is_heif(opened)
    file.seek(0)
    start = file.read(12)
    file.seek(0)
    return start[4:8] == b"ftyp" and start[8:] in _HEIF


def _as_labelled(
    picture: Image.Image, stated_size: tuple[int, int] | None, exif: str
) -> Image.Image:
    orientation, (height, width) = orientation_of(picture)
    case = exif_case(orientation, (height, width), stated_size)
    if case == "neither":
        raise InputError(
            f"is {width} x {height} pixels, its annotations are for "
            f"{stated_size[1]} x {stated_size[0]}; use the original picture or correct the "
            "annotations"
        )
    turn = case == "turned" or (case == "either" and exif == "turn")
    return upright(picture) if turn else as_stored(picture)


def _rgb(picture: Image.Image) -> Image.Image:
    """Drops transparency, shows one channel as grey, and 16 bits as 8."""
    if picture.mode.startswith("I"):
        return _eight_bits(np.asarray(picture)).convert("RGB")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _eight_bits(grey: np.ndarray) -> Image.Image:
    """The upper 8 of as many bits as the largest value needs: 10, 12 or 14 are kept in 16, too."""
    bits = min(int(grey.max()).bit_length(), 16)
    return Image.fromarray((grey >> max(bits - 8, 0)).clip(0, 255).astype(np.uint8))


def resized_size(
    height: int, width: int, shorter: int, longest: int | None = None
) -> tuple[int, int]:
    """Height and width with that shorter side, or a smaller one that keeps `longest`.

    The aspect stays: the longer side is rounded down. Where `longest` rules, the shorter side is
    what it leaves, rounded to the nearest.
    """
    low, high = min(height, width), max(height, width)
    if longest is not None and high * shorter > longest * low:
        shorter = max(1, round(longest * low / high))
    longer = shorter * high // low
    return (shorter, longer) if height <= width else (longer, shorter)


def resize_picture(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes (3, h, w) to (height, width) by antialiased bilinear interpolation, like PIL."""
    if tuple(size) == tuple(image.shape[-2:]):
        return image
    interleaved = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # several times faster
    return functional.interpolate(interleaved[None], size, mode="bilinear", antialias=True)[0]


def as_rgb(picture: Image.Image) -> Tensor:
    """A PIL picture of any kind, as its EXIF rotation shows it: (3, h, w) uint8 RGB."""
    try:
        return as_shown(picture)
    except _UNREADABLE as error:  # PIL decodes when the pixels are asked for
        raise InputError(f"the picture cannot be decoded ({error}); replace it") from error


def as_shown(picture: Image.Image) -> Tensor:
    """The same without a word about what goes wrong: `naming` has it."""
    return _as_tensor(_rgb(upright(picture)))


def _as_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def planar(image: Tensor) -> Tensor:
    """The same picture (3, h, w) with each channel in one piece of memory.

    Decoders interleave the channels; copying them apart takes a quarter of `contiguous`'s time.
    """
    planes = np.empty(image.shape, dtype=np.uint8)
    cv2.split(image.permute(1, 2, 0).numpy(), list(planes))
    return torch.from_numpy(planes)


def centred_resize(
    size: tuple[int, int], side: int, scale: float = 1.0
) -> tuple[tuple[int, int], np.ndarray]:
    """How bottom-up networks look at a whole picture: resized about its centre, black around it.

    The shorter side becomes `scale` times the base side; the longer one `scale` times what it would
    be in proportion, in whole pixels, rounded up to a multiple of 64. The surplus is on both sides.

    Args:
        size: (h, w) of the picture.
        side: base side in pixels, rounded up to a multiple of 64.
        scale: of the whole input.

    Returns:
        (H, W) of the input; (2, 3) float64, from pixels of the picture to pixels of the input:
        x' = q (x - cx) + W / 2 with cx = w / 2, rounded up; likewise in y.
    """
    height, width = size
    low, high = min(size), max(size)
    base = -(-side // 64) * 64
    short = int(base * scale)
    longer = int((base / low * high + 63) // 64 * 64 * scale)
    wanted = (short, longer) if height <= width else (longer, short)
    ratio = short / low
    shift_x = wanted[1] / 2 - ratio * int(width / 2 + 0.5)
    shift_y = wanted[0] / 2 - ratio * int(height / 2 + 0.5)
    return wanted, np.array([[ratio, 0, shift_x], [0, ratio, shift_y]])
