"""From people in pixels to target maps.

Cell (column i, row j) of a map of stride s is the input's pixel (s i, s j). The published code
mirrors training pictures in pixels but labels in cells, i -> w - 1 - i: in a mirrored input a cell
is the pixel (s i + s - 1, s j). The flip test's shift by s - 1 pixels undoes just that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grouppose.errors import InputError
from grouppose.maps.encode import draw_gaussians, draw_offsets

STRIDE = 4
FINE_STRIDE = 2


@dataclass(frozen=True)
class Encoder:
    """Makes the targets of one picture; runs in data workers.

    Attributes:
        num_keypoints: K.
        sigma, centre_sigma: of the gaussians of keypoints and centres, in cells.
        radius: of the window of offsets, in cells.
        background, fine_background: weight outside the gaussians' windows; no finer map: None.
        weight_channels: each channel is weighted by its own windows, not all by anyone's.
        box_centres: people without a labelled keypoint have the centre of their box.
    """

    num_keypoints: int
    sigma: float
    centre_sigma: float
    radius: int
    background: float
    fine_background: float | None = None
    weight_channels: bool = False
    box_centres: bool = True

    def __call__(
        self, people: dict[str, Any], size: tuple[int, int], ignore: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Encodes the people of a picture.

        Args:
            people: in pixels of the input: keypoints (T, K, 2), visible (T, K) bool, boxes (T, 4)
                x0 y0 x1 y1, area (T,) that offsets are weighted with; optionally small (T,) bool,
                who has no centre, and mirrored, whether the input was mirrored.
            size: (H, W) of the input, multiples of 4.
            ignore: (H, W) bool; True carries no loss of heatmaps. None: nowhere.

        Returns:
            heatmaps (K + 1, h, w), the centre last; weights (1, h, w), or (K + 1, h, w) with
            `weight_channels`; offsets and offset_weights (2K, h, w); with `fine_background` also
            fine_heatmaps (K, H / 2, W / 2) and fine_weights (1, H / 2, W / 2). float32.
        """
        if size[0] % STRIDE or size[1] % STRIDE:
            raise InputError(
                f"the input is {size[1]} x {size[0]} pixels, expected multiples of {STRIDE}; "
                "change the training size"
            )
        if people["keypoints"].shape[1:] != (self.num_keypoints, 2):
            raise InputError(
                f"people have keypoints {tuple(people['keypoints'].shape)}, expected "
                f"(T, {self.num_keypoints}, 2); is num_body_points the dataset's?"
            )
        hidden = np.zeros(size, bool) if ignore is None else ignore.numpy()
        maps, weights, points = self._heatmaps(people, STRIDE, hidden, self.background)
        keypoints, centres = points
        offsets, offset_weights = draw_offsets(
            keypoints,
            people["visible"].numpy(),
            centres,
            people["area"].numpy(),
            maps.shape[1:],
            self.radius,
        )
        target = {
            "heatmaps": maps,
            "weights": weights,
            "offsets": offsets,
            "offset_weights": offset_weights,
        }
        if self.fine_background is not None:
            fine = self._heatmaps(people, FINE_STRIDE, hidden, self.fine_background)
            target |= {"fine_heatmaps": fine[0][:-1], "fine_weights": fine[1]}
        return {name: torch.from_numpy(value) for name, value in target.items()}

    def _heatmaps(
        self, people: dict[str, Any], stride: int, ignore: np.ndarray, background: float
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Maps (K + 1, h, w), their weights, and the keypoints and centres in cells."""
        mirrored = bool(people.get("mirrored", False))
        shift = stride - 1 if mirrored else 0
        size = (ignore.shape[0] // stride, ignore.shape[1] // stride)
        keypoints = (people["keypoints"].numpy() - np.float32([shift, 0])) / stride
        centres = self._centres(people, keypoints, stride, shift)
        maps, windows = draw_gaussians(keypoints, people["visible"].numpy(), self.sigma, size)
        centre = draw_gaussians(
            centres[:, None], np.isfinite(centres).all(1)[:, None], self.centre_sigma, size
        )
        maps, windows = np.concatenate([maps, centre[0]]), np.concatenate([windows, centre[1]])
        if not self.weight_channels:
            windows = windows.any(0, keepdims=True)
        weights = np.where(windows, np.float32(1), np.float32(background))
        weights *= ~ignore[::stride, shift::stride]
        return maps, weights, (keypoints, centres)

    def _centres(
        self, people: dict[str, Any], keypoints: np.ndarray, stride: int, shift: int
    ) -> np.ndarray:
        """(T, 2) in cells; nan: none."""
        visible = people["visible"].numpy()
        count = visible.sum(1, keepdims=True)
        centres = (keypoints * visible[..., None]).sum(1) / np.maximum(count, 1)
        boxes = people["boxes"].numpy()
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        if shift:  # boxes are mirrored at W, pixels at W - 1
            middle = middle - np.float32([1 + shift, 0])
        without = middle / stride if self.box_centres else np.full_like(centres, np.nan)
        centres = np.where(count > 0, centres, without)
        if "small" in people:
            centres = np.where(people["small"].numpy()[:, None], np.nan, centres)
        return centres.astype(np.float32)
