"""Recipe "affine": a square of the picture, scaled, turned, moved and mirrored at random.

Every picture becomes a square of one size. What it has beyond the border of the file is black.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from datasets.transforms import People, crop_matrix, flip
from grouppose.errors import InputError


@dataclass(frozen=True)
class AffinePlan:
    """What recipe "affine" does to one picture.

    Attributes:
        matrix: (2, 3) float64 from the picture's pixels to the network's, before these are
            mirrored.
        factor: that areas change by.
        side: of the network's input, in pixels.
        mirrored: whether left and right change places, last of all.
    """

    matrix: np.ndarray
    factor: float
    side: int
    mirrored: bool

    outside = True  # black borders are no part of the picture

    @property
    def size(self) -> tuple[int, int]:
        return self.side, self.side

    def apply(
        self, image: Tensor, people: People, flip_order: Sequence[int]
    ) -> tuple[Tensor, People]:
        """The picture for the network and the people of whom something may be seen there.

        Boxes keep the direction of their sides; only their centres turn.
        """
        pixels = cv2.warpAffine(image.permute(1, 2, 0).numpy(), self.matrix, self.size)
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        people = self._in_view(self._moved(people))
        return flip(image, people, flip_order) if self.mirrored else (image, people)

    def _moved(self, people: People) -> People:
        corners = people["boxes"].reshape(-1, 2, 2)
        centres = self._points(corners.mean(1))
        half = (corners[:, 1] - corners[:, 0]) * (self.factor**0.5 / 2)
        return {
            **people,
            "keypoints": self._points(people["keypoints"]),
            "boxes": torch.cat([centres - half, centres + half], -1),
            "area": people["area"] * self.factor,
        }

    def _points(self, points: Tensor) -> Tensor:
        matrix = torch.from_numpy(self.matrix)
        return (points.double() @ matrix[:, :2].T + matrix[:, 2]).float()

    def _in_view(self, people: People) -> People:
        """Leaves out whose box, labelled keypoints and centre of these all lie outside."""
        visible = people["visible"]
        points, count = people["keypoints"], visible.sum(1).clamp(min=1)
        centres = (points * visible[..., None]).sum(1) / count[:, None]
        boxes = people["boxes"]
        kept = (boxes[:, 2:] > 0).all(-1) & (boxes[:, :2] < self.side).all(-1)
        kept |= (self._inside(points) & visible).any(-1)
        kept |= self._inside(centres) & visible.any(-1)
        return {name: value[kept] for name, value in people.items()}

    def _inside(self, points: Tensor) -> Tensor:
        return ((points >= 0) & (points < self.side)).all(-1)


@dataclass(frozen=True)
class Affine:
    """The ranges that plans are drawn from.

    Attributes:
        side: of the network's input, in pixels.
        scale: least and largest side of the square, in shorter sides of the picture.
        rotation: degrees to either side.
        translation: of the square's centre to either side, as a share of its side.
    """

    side: int
    scale: Sequence[float]
    rotation: float
    translation: float

    def __post_init__(self) -> None:
        if self.side < 1:
            raise InputError(f"affine_size is {self.side}, expected pixels such as 512")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(
                f"affine_scale is {list(self.scale)}, expected the least and the largest factor"
            )
        if not (0 <= self.rotation <= 180 and 0 <= self.translation <= 1):
            raise InputError(
                f"affine_rotation is {self.rotation} and affine_translation {self.translation}, "
                "expected 0 to 180 degrees and 0 to 1"
            )

    @property
    def largest(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.side, self.side

    def draw(self, height: int, width: int, generator: np.random.Generator) -> AffinePlan:
        """What is done to a picture of that size."""
        scale = generator.uniform(*self.scale)
        degrees = generator.uniform(-self.rotation, self.rotation)
        most = int(self.translation * scale * min(height, width))
        shift = generator.integers(-most, most, 2) if most else (0, 0)  # whole pixels
        mirrored = bool(generator.random() < 0.5)
        matrix, factor = crop_matrix((height, width), scale, degrees, shift, self.side)
        return AffinePlan(matrix, factor, self.side, mirrored)
