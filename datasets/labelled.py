"""Pictures and the people on them as the files of a data set have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datasets.annotations import Annotations
from datasets.ignored import Ignored
from datasets.transforms import People, within
from grouppose.pictures import read_picture

BLACK = 64  # sides in pixels of what stands for a picture of unknown size that cannot be read
AREAS = ("annotated", "box", "corner", "extent")
SMALL = 32.0**2  # square pixels below which COCO calls a person small


@dataclass(frozen=True)
class Labelled:
    """Reads the pictures of a set one by one.

    Attributes:
        annotations: what is on them.
        folder: of the pictures; a zip may be in its place.
        exif: "turn" or "ignore", as `read_picture` takes it.
        area: a person's: "annotated"; width x height of the "box"; of the labelled keypoints, the
            squared diagonal of their "extent", or the squared distance from the picture's "corner"
            to the far corner of that, which DEKR's published losses go by.
        any_small: whether anybody can be small; CrowdPose's people are not.
        ignored: where nothing is to be learnt; None: nobody asks.
    """

    annotations: Annotations
    folder: Path
    exif: str
    area: str = "annotated"
    any_small: bool = True
    ignored: Ignored | None = None

    def read(self, index: int) -> tuple[Tensor, People]:
        """The picture, (3, h, w) uint8 RGB, and the people on it, in its pixels.

        Raises:
            InputError, MissingFileError: the picture cannot be read.
        """
        size = tuple(self.annotations.sizes[index].tolist())
        image = read_picture(self.path(index), size if all(size) else None, self.exif)
        return image, self._people(index, image)

    def black(self, index: int) -> tuple[Tensor, People]:
        """The same in place of a picture that cannot be read, of the size that is annotated."""
        height, width = self.annotations.sizes[index].tolist()
        image = torch.zeros(3, height or BLACK, width or BLACK, dtype=torch.uint8)
        return image, self._people(index, image)

    def path(self, index: int) -> Path:
        """The file of a picture."""
        return self.folder / self.annotations.file_names[index].decode()

    def _people(self, index: int, image: Tensor) -> People:
        data = self.annotations
        rows = slice(data.first[index], data.first[index + 1])
        keypoints = torch.from_numpy(data.keypoints[rows])
        corner, sides = torch.from_numpy(data.boxes[rows]).split(2, dim=-1)
        original = torch.from_numpy(data.area[rows])
        people = {
            "keypoints": keypoints[..., :2],
            "visible": keypoints[..., 2] > 0,
            "boxes": torch.cat([corner, corner + sides], -1),
            "area": original,
            "labels": torch.from_numpy(data.labels[rows]),
            "small": (original < SMALL) & self.any_small,
            "original_area": original,
        }
        if self.area == "box":
            people["area"] = sides.prod(-1)
        elif self.area != "annotated":
            people["area"] = _keypoint_area(people, from_corner=self.area == "corner")
        return within(people, *image.shape[-2:])


def _keypoint_area(people: People, from_corner: bool) -> Tensor:
    """(T,) squared diagonal of what labelled keypoints span; 0 for those who have none."""
    points, visible = people["keypoints"], people["visible"][..., None]
    high = points.masked_fill(~visible, -torch.inf).amax(1)
    low = points.masked_fill(~visible, torch.inf).amin(1)
    if from_corner:
        high, low = high.clamp(min=0), torch.zeros_like(low)
    area = (high - low).square().sum(-1)
    return area.where(visible.any(1)[:, 0], 0)
