"""Picture files of any kind as RGB tensors."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from grouppose.errors import InputError, MissingFileError


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
            return pil_to_tensor(_rgb(_upright(picture, path, stated_size)))
    except FileNotFoundError as error:
        raise MissingFileError(
            f"no picture {path}; the annotations list it: complete the folder or set --coco_path"
        ) from error
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} cannot be read as a picture ({error}); "
            "replace the file or remove it from the annotations"
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


def planar(image: Tensor) -> Tensor:
    """The same picture (3, h, w) with each channel in one piece of memory.

    Decoders interleave the channels; copying them apart takes a quarter of `contiguous`'s time.
    """
    planes = np.empty(image.shape, dtype=np.uint8)
    cv2.split(image.permute(1, 2, 0).numpy(), list(planes))
    return torch.from_numpy(planes)
