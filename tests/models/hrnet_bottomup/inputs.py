"""Weights, pictures, people and maps that are functions of a name, as in tests/parity.

The published networks, run elsewhere on the same inputs, give the numbers in `fixtures/`.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import grouppose
from tests.parity.inputs import picture, spread, uniform

_NORM = re.compile(
    r"(^|\.)(bn\d*|downsample\.1|transition\d\.\d\.1|transition\d\.\d\.\d\.1|transition_\w+\.1|"
    r"deconv_layers\.0\.0\.1|fuse_layers\.\d\.\d\.1|fuse_layers\.\d\.\d\.\d\.1)\.(weight|bias)$"
)
_SMALL_NORM = re.compile(r"(layer1\.\d\.bn3|branches\.\d\.\d\.bn2)")
_TIED = re.compile(r"^(multi_level_layers_4x_heatmap)\.\d\.(.*conv\d\.weight)$")
_STD_BY_NAME = [  # the first that matches; s is the shape
    (r"(transform_matrix_conv\d?|translation_conv)\.weight$", lambda s: 0.3 / math.sqrt(9 * s[1])),
    (r"^(final_layers\.[02]|head_heatmap\.1)\.weight$", lambda s: 0.1 / math.sqrt(s[1])),
    (r"^(final_layers\.1|offset_final_layer\.\d+)\.weight$", lambda s: 1 / math.sqrt(s[1])),
    (r"^transition_(cls|reg|heatmap|offset)\.0\.weight$", lambda s: 0.2 / math.sqrt(s[1])),
]


def fixture(name: str) -> dict:
    """The published networks' numbers."""
    return json.loads((Path(__file__).parent / "fixtures" / f"{name}.json").read_text())


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of one entry of a state dict."""
    name = _TIED.sub(r"\1.0.\2", name)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "running_var":
        return uniform(name, shape, 0.5, 1.5)
    if leaf == "running_mean":
        return spread(name, shape, 0.1)
    if _NORM.search(name):
        if leaf == "bias":
            return spread(name, shape, 0.05)
        return uniform(name, shape, *((0.2, 0.4) if _SMALL_NORM.search(name) else (0.8, 1.2)))
    if re.search(r"transform_matrix_conv\d?\.bias$", name):
        return np.float32([1, 0, 0, 1]) + uniform(name, shape, -0.3, 0.3)
    if re.search(r"^(final_layers\.[02]|head_heatmap\.1)\.bias$", name):
        return uniform(name, shape, 0.1, 0.2)
    for pattern, std in _STD_BY_NAME:
        if re.search(pattern, name):
            return spread(name, shape, std(shape))
    return spread(name, shape, 0.05 if len(shape) <= 1 else 1 / math.sqrt(math.prod(shape[1:])))


def filled_model(family: str, **settings: object) -> torch.nn.Module:
    """A model whose weights are functions of their names, loaded by name."""
    model = grouppose.build_model(family, **settings)
    state = {
        name: value
        if name.endswith(("num_batches_tracked", "regular_matrix"))
        else torch.from_numpy(np.asarray(weight(name, tuple(value.shape))))
        for name, value in model.state_dict().items()
    }
    grouppose.load_weights(model, state)
    return model


def pictures(sizes: list[tuple[int, int]], seed: int) -> Tensor:
    """(B, 3, h, w) uint8; picture i has seed + 7 i."""
    found = [picture(h, w, seed + 7 * i) for i, (h, w) in enumerate(sizes)]
    return (torch.stack(found) * 45 + 120).clamp(0, 255).round().to(torch.uint8)


def people_of(tag: str, size: tuple[int, int], count: int, num_keypoints: int = 17) -> tuple:
    """People in pixels of an input, and the ignore mask.

    0 is overlapped by 1; 2 has no labelled keypoint; 3 is small in the original picture; 4 has its
    centre left of the first column; 5 has keypoints outside.
    """
    height, width = size
    sides = np.float32([width, height])
    centre = uniform(f"{tag}.centre", (count, 1, 2), 0.25, 0.75) * sides
    extent = uniform(f"{tag}.size", (count, 1, 1), 0.06, 0.22) * min(size)
    xy = centre + extent * uniform(f"{tag}.offset", (count, num_keypoints, 2))
    visible = uniform(f"{tag}.visible", (count, num_keypoints), 0, 1) > 0.25
    small = np.arange(count) == 3
    visible[:, 0] = True
    if count > 1:
        xy[1] = xy[0] + uniform(f"{tag}.near", (num_keypoints, 2), -6, 6)
    if count > 2:
        visible[2] = False
    if count > 4:
        visible[4] = True
        xy[4, :, 0] += -1.6 - xy[4, :, 0].mean()
    if count > 5:
        xy[5] += np.float32([0.3 * width, 0.25 * height])
    half = extent[:, 0] * np.float32([1, 1.1])
    boxes = np.concatenate([centre[:, 0] - half, centre[:, 0] + half], 1).astype(np.float32)
    y, x = np.mgrid[:height, :width]
    ignore = np.abs(x - 0.2 * width) / (0.11 * width) + np.abs(y - 0.3 * height) / (0.17 * height)
    people = {
        "keypoints": np.where(visible[..., None], xy, 0).astype(np.float32),
        "visible": visible,
        "boxes": boxes,
        "area": (boxes[:, 2:] - boxes[:, :2]).prod(1),
        "small": small,
    }
    people = {name: torch.from_numpy(np.asarray(value)) for name, value in people.items()}
    return people, torch.from_numpy((ignore < 1) | (x >= width - 9))


def scene(seed: int, num_keypoints: int = 17, size: tuple[int, int] = (128, 160), count: int = 4):
    """Outputs (B = 1) of a network for people of random poses: gaussians, noise, noisy offsets."""
    generator = np.random.default_rng(seed)
    h, w = size[0] // 4, size[1] // 4
    y, x = np.mgrid[:h, :w].astype(float)
    centres = generator.uniform(0.2, 0.8, (count, 2)) * [w, h]
    poses = centres[:, None] + generator.uniform(-7, 7, (count, num_keypoints, 2))
    heat = generator.uniform(0, 0.012, (num_keypoints + 1, h, w))

    def spot(place: np.ndarray, sigma: float) -> np.ndarray:
        return np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * sigma**2))

    for centre, pose in zip(centres, poses, strict=True):
        for k in range(num_keypoints):
            if generator.random() > 0.15:
                strength = generator.uniform(0.3, 0.95)
                heat[k] = np.maximum(heat[k], strength * spot(pose[k], 2))
        heat[-1] = np.maximum(heat[-1], generator.uniform(0.4, 0.9) * spot(centre, 1.5))
    nearest = ((np.stack([x, y], -1)[:, :, None] - centres) ** 2).sum(-1).argmin(-1)
    offsets = np.stack([x, y], -1)[:, :, None] - poses[nearest]
    offsets += generator.uniform(-0.6, 0.6, offsets.shape)
    return {
        "heatmaps": torch.from_numpy(heat).float()[None],
        "offsets": torch.from_numpy(offsets).float().flatten(2).permute(2, 0, 1)[None],
    }
