"""Weights, pictures and people that are pure functions of a name: no random generator is involved,
so the published network, run elsewhere on the same inputs, gives the numbers in `fixtures/`.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import grouppose
from grouppose.batch import batch_images
from grouppose.checkpoints import published_names
from grouppose.layers.deformable import MSDeformAttn
from grouppose.ops import backends

HEADS, LEVELS = 8, 4
BACKENDS = (None, *backends.PLAIN, *backends.cpu_variants())  # of the operator; None: the fastest
_NORM = re.compile(r"(norm\d*|bn\d*|downsample\.1|input_proj\.\d+\.1)\.[a-z_]+$")


def fixture(name: str) -> dict:
    """The published network's numbers."""
    return json.loads((Path(__file__).parent / "fixtures" / f"{name}.json").read_text())


def uniform(name: str, shape: tuple[int, ...], low: float = -1, high: float = 1) -> np.ndarray:
    """float32 in [low, high): splitmix64 of (crc32(name) << 32) + index, its upper 24 bits."""
    count = math.prod(shape)
    with np.errstate(over="ignore"):
        x = np.uint64(zlib.crc32(name.encode()) << 32) + np.arange(count, dtype=np.uint64)
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    share = (x >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return (np.float32(low) + share * np.float32(high - low)).reshape(shape)


def spread(name: str, shape: tuple[int, ...], std: float) -> np.ndarray:
    """Uniform with mean 0 and the given standard deviation."""
    return uniform(name, shape, -math.sqrt(3) * std, math.sqrt(3) * std)


def _offset_bias(name: str, size: int) -> np.ndarray:
    points = size // (HEADS * LEVELS * 2)
    angle = np.arange(HEADS) * (2 * math.pi / HEADS)
    grid = np.stack([np.cos(angle), np.sin(angle)], -1)
    grid /= np.abs(grid).max(-1, keepdims=True)
    grid = np.tile(grid[:, None, None], (1, LEVELS, points, 1))
    grid *= (np.arange(points) + 1.0)[:, None]
    return (grid.reshape(-1) + uniform(name, (size,), -0.3, 0.3)).astype(np.float32)


_STD_BY_NAME = [  # the first that matches; s is the shape
    (r"sampling_offsets\.weight$", lambda s: 0.5 / math.sqrt(s[1])),
    (r"attention_weights\.weight$", lambda s: 1 / math.sqrt(s[1])),
    (r"enc_out_class_embed\.weight$", lambda s: 2 / math.sqrt(s[1])),
    (r"^class_embed\.\d+\.weight$", lambda s: 2.5 / math.sqrt(s[1])),
    (r"^pose_embed\.\d+\.layers\.2\.weight$", lambda s: 0.5 / math.sqrt(s[1])),
    (r"enc_pose_embed\.layers\.3\.weight$", lambda s: 0.5 / math.sqrt(s[1])),
    (r"relative_position_bias_table$", lambda s: 0.2),
    (r"(level_embed|keypoint_embedding\.weight|instance_embedding\.weight)$", lambda s: 0.5),
]


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of one entry of a state dict with published names."""
    name = re.sub(r"^transformer\.decoder\.(pose_embed|class_embed)\.", r"\1.", name)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "running_var":
        return uniform(name, shape, 0.5, 1.5)
    if leaf == "running_mean":
        return spread(name, shape, 0.1)
    if _NORM.search(name) and leaf == "weight":
        return uniform(name, shape, 0.8, 1.2)
    if name.endswith("sampling_offsets.bias"):
        return _offset_bias(name, shape[0])
    if re.search(r"class_embed(\.\d+)?\.bias$", name):
        return (-math.log(99.0) + uniform(name, shape, -0.2, 0.2)).astype(np.float32)
    for pattern, std in _STD_BY_NAME:
        if re.search(pattern, name):
            return spread(name, shape, std(shape))
    fan_in = math.prod(shape[1:])
    return spread(name, shape, 0.05 if len(shape) <= 1 else 1 / math.sqrt(fan_in))


def filled_model(**settings: object) -> torch.nn.Module:
    """A model whose weights are functions of their published names, loaded through those names."""
    model = grouppose.build_model("grouppose", **settings)
    state = {
        name: torch.from_numpy(weight(name, tuple(value.shape)))
        if value.dtype.is_floating_point
        else value
        for name, value in published_names(model.state_dict()).items()
    }
    grouppose.load_weights(model, state)
    return model


def use_backend(model: torch.nn.Module, name: str | None) -> None:
    """Makes every deformable attention of the model run on that backend."""
    for module in model.modules():
        if isinstance(module, MSDeformAttn):
            module.backend = name


def picture(height: int, width: int, seed: int) -> Tensor:
    """(3, h, w) float32 of mean 0 and deviation about 1: waves, as if already normalised."""
    y = np.arange(height, dtype=np.float64)[:, None]
    x = np.arange(width, dtype=np.float64)[None, :]
    channels = []
    for c in range(3):
        a = seed * 1.7 + c * 0.9
        channels.append(
            np.sin(0.061 * x + 0.037 * y + a)
            + 0.8 * np.cos(0.173 * x - 0.113 * y + 2.1 * a)
            + 0.6 * np.sin(0.0113 * x * (1 + 0.1 * c) + 0.0297 * y + 0.5 * a)
            + 0.5 * np.sign(np.sin(0.021 * x + a) * np.cos(0.017 * y - a))
        )
    return torch.from_numpy(np.stack(channels).astype(np.float32))


def batch(model: torch.nn.Module, sizes: list[tuple[int, int]], seed: int) -> tuple[Tensor, Tensor]:
    """Pictures of those sizes, with the model's normalisation undone; picture i has seed + 20 i."""
    pictures = [picture(h, w, seed + 20 * i) for i, (h, w) in enumerate(sizes)]
    return batch_images([p * model.std + model.mean for p in pictures])


def people(num_keypoints: int, counts: tuple[int, ...]) -> list[dict[str, Tensor]]:
    """Targets with `counts[i]` people in picture i; about 30 % of the keypoints unlabelled."""
    targets = []
    for i, n in enumerate(counts):
        tag = f"target{i}.K{num_keypoints}"
        centre = uniform(f"{tag}.centre", (n, 1, 2), 0.3, 0.7)
        size = uniform(f"{tag}.size", (n, 1, 2), 0.08, 0.25)
        xy = centre + size * uniform(f"{tag}.offset", (n, num_keypoints, 2))
        visible = uniform(f"{tag}.vis", (n, num_keypoints), 0, 1) > 0.3
        if n:
            visible[0, :2] = True, False
        box = (2 * size[:, 0]).astype(np.float32)
        targets.append(
            {
                "labels": torch.ones(n, dtype=torch.int64),
                "keypoints": torch.from_numpy((xy * visible[..., None]).astype(np.float32)),
                "visible": torch.from_numpy(visible),
                "area": torch.from_numpy(np.float32(0.6) * box[:, 0] * box[:, 1]),
            }
        )
    return targets


def noisy_outputs(num_keypoints: int, counts: tuple[int, ...]) -> tuple[dict, list[dict]]:
    """Predictions near the targets, so that OKS and L1 are in their sensitive range."""
    queries, targets = 20, people(num_keypoints, counts)

    def head(tag: str, noise: float) -> dict[str, Tensor]:
        size = (len(counts), queries)
        logits = torch.from_numpy(uniform(f"crit.{tag}.logits", (*size, 2), -5, 1))
        points = uniform(f"crit.{tag}.kp", (*size, 2 * num_keypoints), 0.05, 0.95)
        points = torch.from_numpy(points).unflatten(-1, (-1, 2))
        for b, target in enumerate(targets):
            for j, area in enumerate(target["area"].tolist()):
                reach = noise * area**0.5
                for c in range(2):  # two candidates per person, the second twice as noisy
                    shift = uniform(
                        f"crit.{tag}.{b}.{j}.{c}", (2 * num_keypoints,), -reach, reach
                    ) * (1 + c)
                    moved = target["keypoints"][j] + torch.from_numpy(shift).unflatten(-1, (-1, 2))
                    points[b, 5 * j + 2 * c + 1] = moved.clamp(0.001, 0.999)
        return {"pred_logits": logits.requires_grad_(), "pred_keypoints": points.requires_grad_()}

    outputs = head("final", 0.15)
    outputs["aux_outputs"] = [head(f"aux{i}", 0.15 + 0.05 * i) for i in range(5)]
    outputs["interm_outputs"] = head("interm", 0.5)
    return outputs, targets
