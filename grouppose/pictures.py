"""Picture files of any kind as RGB tensors, and their size in the network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torch.nn import functional

from grouppose.errors import InputError, MissingFileError

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_picture(path: str | Path, stated_size: tuple[int, int] | None = None) -> Tensor:
    """Reads a picture as (3, h, w) uint8 RGB.

    A rotation noted in EXIF is applied if only the rotated picture has the stated size, since
    annotations are in the pixels of that size; or if no size is stated.

    Args:
        path: of the file.
        stated_size: height, width according to the annotations.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode == "F":
                raise InputError(
                    f"{path} has floating-point pixels, expected 8 or 16 bits; convert the picture"
                )
            return _as_tensor(_rgb(_upright(picture, path, stated_size)))
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no picture {path}; check the path; where annotations list it, complete the folder or "
            "set --coco_path"
        ) from error
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as a picture ({error}); replace the file or leave it out"
        ) from error


def _upright(
    picture: Image.Image, path: str | Path, stated_size: tuple[int, int] | None
) -> Image.Image:
    width, height = picture.size
    if stated_size == (height, width):
        return picture
    turned = picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # width and height change
    if stated_size is None or (turned and stated_size == (width, height)):
        return ImageOps.exif_transpose(picture)
    raise InputError(
        f"{path} is {width} x {height} pixels, its annotations are for "
        f"{stated_size[1]} x {stated_size[0]}; use the original picture or correct the annotations"
    )


def _rgb(picture: Image.Image) -> Image.Image:
    """Drops transparency, shows one channel as grey, and keeps the upper 8 bits of 16."""
    if picture.mode.startswith("I"):
        grey = np.asarray(picture)
        return Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


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
        return _as_tensor(_rgb(ImageOps.exif_transpose(picture)))
    except _UNREADABLE as error:  # PIL decodes when the pixels are asked for
        raise InputError(f"the picture cannot be decoded ({error}); replace it") from error


def _as_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def planar(image: Tensor) -> Tensor:
    """The same picture (3, h, w) with each channel in one piece of memory.

    Decoders interleave the channels; copying them apart takes a quarter of `contiguous`'s time.
    """
    planes = np.empty(image.shape, dtype=np.uint8)
    cv2.split(image.permute(1, 2, 0).numpy(), list(planes))
    return torch.from_numpy(planes)
