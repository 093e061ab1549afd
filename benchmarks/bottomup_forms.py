"""The bottom-up HRNet in the form in which the published code computes it, to be compared with.

Written from the specification, joint by joint: targets as loops over people and keypoints, decoding
with a pooled map, a search for each keypoint and a fit for each peak (scipy's), and the network
with torchvision's deformable convolution and the features of the heatmaps computed three times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import curve_fit
from torch import Tensor

from grouppose.layers import adaptive
from grouppose.layers.adaptive import DeformableConvolution
from grouppose.models.hrnet_bottomup.model import HRNetBottomUp

STRIDE = 4


def targets(people: dict, size: tuple[int, int], ignore: Tensor, *, sigma=2.0, centre_sigma=4.0):
    """`build_targets("hrnet_bottomup")` of people who are not small, in an input not mirrored."""
    height, width = size[0] // STRIDE, size[1] // STRIDE
    keypoints = people["keypoints"].numpy().astype(np.float64) / STRIDE
    visible, area = people["visible"].numpy(), people["area"].numpy()
    boxes = people["boxes"].numpy().astype(np.float64) / STRIDE
    count = keypoints.shape[1]
    heatmaps = np.zeros((count + 1, height, width), np.float32)
    weights = np.full((height, width), 2, np.float32)
    centres = []
    for person, seen, box in zip(keypoints, visible, boxes, strict=True):
        labelled = [point for point, is_seen in zip(person, seen, strict=True) if is_seen]
        middle = sum(labelled) / len(labelled) if labelled else (box[:2] + box[2:]) / 2
        centres.append(middle)
        for k in range(count):
            if seen[k]:
                _draw(heatmaps[k], weights, person[k], sigma)
        _draw(heatmaps[count], weights, middle, centre_sigma)
    weights[weights == 2] = 0.1
    weights = weights * ~ignore.numpy()[::STRIDE, ::STRIDE]
    offsets, offset_weights = _offsets(keypoints, visible, centres, area, (height, width))
    return {
        "heatmaps": torch.from_numpy(heatmaps),
        "weights": torch.from_numpy(weights)[None],
        "offsets": torch.from_numpy(offsets),
        "offset_weights": torch.from_numpy(offset_weights),
    }


def _draw(heatmap, weights, point, sigma) -> None:
    x, y = point
    height, width = heatmap.shape
    if x < 0 or y < 0 or x >= width or y >= height:
        return
    for i in range(max(math.floor(x - 3 * sigma - 1), 0), min(math.ceil(x + 3 * sigma + 2), width)):
        for j in range(
            max(math.floor(y - 3 * sigma - 1), 0), min(math.ceil(y + 3 * sigma + 2), height)
        ):
            value = math.exp(-((i - x) ** 2 + (j - y) ** 2) / (2 * sigma**2))
            heatmap[j, i] = max(heatmap[j, i], value)
            weights[j, i] = 1


def _offsets(keypoints, visible, centres, area, size):
    height, width = size
    count = keypoints.shape[1]
    offsets, weights = (np.zeros((2 * count, height, width), np.float32) for _ in range(2))
    noted = np.zeros((height, width), np.float32)
    for person, seen, centre, own in zip(keypoints, visible, centres, area, strict=True):
        cx, cy = int(centre[0]), int(centre[1])
        if cx < 0 or cy < 0 or cx >= width or cy >= height:
            continue
        for k, (x, y) in enumerate(person):
            if not seen[k] or x < 0 or y < 0 or x >= width or y >= height:
                continue
            for i in range(max(cx - 4, 0), min(cx + 4, width)):
                for j in range(max(cy - 4, 0), min(cy + 4, height)):
                    if offsets[2 * k, j, i] != 0 or offsets[2 * k + 1, j, i] != 0:
                        if noted[j, i] < own:
                            continue
                    offsets[2 * k : 2 * k + 2, j, i] = i - x, j - y
                    weights[2 * k : 2 * k + 2, j, i] = 1 / math.sqrt(own)
                    noted[j, i] = own
    return offsets, weights


def decode(view: dict[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
    """All steps at one scale, with matching and fits. `view` has no batch axis."""
    heat, poses = view["heatmaps"], view["poses"]
    ratio = size[1] // heat.shape[2]
    inner = [side - ratio + 1 for side in size]
    fused = F.interpolate(heat[None], inner, mode="bilinear", align_corners=True)
    fused = F.pad(fused, (0, ratio - 1, 0, ratio - 1), mode="replicate")[0]
    places, scores = _peaks(heat[-1:], _window(heat))
    kept = scores[0] > 0.01
    places, scores = places[0][kept], scores[0][kept]
    keypoints = torch.stack(
        [poses[:, y, x].view(-1, 2) * ratio for x, y in places.tolist()]
        or [poses.new_zeros(len(poses) // 2, 2)]
    )[: len(places)]
    kept = _suppress(keypoints, scores)
    keypoints, scores = keypoints[kept], scores[kept]
    keypoints, confidence = _match(fused[:-1], keypoints, scores)
    keypoints, confidence = _refine(fused, keypoints, confidence, scores)
    means = confidence.mean(1)
    order = means.argsort(descending=True, stable=True)
    return {
        "keypoints": keypoints[order],
        "confidence": confidence[order],
        "scores": means[order],
    }


def _window(heat: Tensor) -> int:
    mean = (heat.shape[1] + heat.shape[2]) / 2
    return 7 if mean > 300 else 5 if mean > 200 else 3


def _peaks(maps: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The 30 best of each map: (C, 30, 2) x, y and (C, 30)."""
    pooled = F.max_pool2d(maps[None], window, 1, window // 2)[0]
    values, index = (maps * (pooled == maps)).flatten(1).topk(30, dim=1)
    width = maps.shape[2]
    return torch.stack([index % width, index // width], -1), values


def _suppress(keypoints: Tensor, scores: Tensor) -> list[int]:
    marked, kept = set(), []
    for i in range(len(keypoints)):
        if i in marked:
            continue
        group = [
            j
            for j in range(len(keypoints))
            if j == i or ((keypoints[i] - keypoints[j]).norm(dim=1) < 10).sum() > 10
        ]
        best = group[int(scores[group].argmax())]
        if best not in marked:
            kept.append(best)
            marked |= set(group)
    return kept


def _match(heat: Tensor, keypoints: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    places, values = _peaks(heat, 5)
    height, width = heat.shape[1:]
    keypoints, confidence = keypoints.clone(), keypoints.new_zeros(keypoints.shape[:2])
    for n in range(len(keypoints)):
        for k in range(keypoints.shape[1]):
            x, y = keypoints[n, k].tolist()
            distance = (places[k] - keypoints[n, k]).norm(dim=1)
            distance[values[k] <= 0] = float("inf")
            nearest = int(distance.argmin())
            if distance[nearest] < 75:
                keypoints[n, k] = places[k, nearest].float()
                value = values[k, nearest] if values[k, nearest] > 0.01 else 0
            else:
                row, column = min(max(int(x), 0), height - 1), min(max(int(y), 0), width - 1)
                value = heat[k, row, column]
            confidence[n, k] = scores[n] * value
    return keypoints, confidence


def _refine(fused: Tensor, keypoints: Tensor, confidence: Tensor, scores: Tensor):
    height, width = fused.shape[1:]
    keypoints, confidence = keypoints.clone(), confidence.clone()
    for n in range(len(keypoints)):
        for k in range(keypoints.shape[1]):
            x, y = (int(value + 0.5) for value in keypoints[n, k].tolist())
            inside = 0 < x < width - 1 and 0 < y < height - 1
            if confidence[n, k] <= 0.05 or not inside:
                continue
            rows = np.arange(max(y - 6, 0), min(y + 7, height))
            columns = np.arange(max(x - 6, 0), min(x + 7, width))
            grid = [axis.ravel() for axis in np.meshgrid(columns, rows)]
            values = fused[k].numpy()[grid[1], grid[0]].astype(np.float64)
            start = (float(fused[k, y, x]), x, y, 2.0)
            try:
                found, _ = curve_fit(_gaussian, grid, values, p0=start, maxfev=300)
            except RuntimeError:
                continue
            if found[0] > 0 and abs(found[1] - x) <= 6 and abs(found[2] - y) <= 6:
                keypoints[n, k] = torch.from_numpy(found[1:3])
                confidence[n, k] = float(found[0]) * scores[n]
    return keypoints, confidence


def _gaussian(place, height, x0, y0, sigma):
    return height * np.exp(-((place[0] - x0) ** 2 + (place[1] - y0) ** 2) / (2 * sigma**2))


class _DeformableConvolution(DeformableConvolution):
    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        return adaptive._by_torchvision(x, offsets, self.weight, self.dilation)


class PublishedForm(HRNetBottomUp):
    """The network at the published code's cost; the same outputs."""

    @classmethod
    def of(cls, model: HRNetBottomUp) -> PublishedForm:
        """Turns a model into this."""
        for module in model.modules():
            if type(module) is DeformableConvolution:
                module.__class__ = _DeformableConvolution
        model.__class__ = cls
        model.transition_cls.register_forward_pre_hook(_twice_more)
        return model


def _twice_more(module: torch.nn.Module, inputs: Sequence[Tensor]) -> None:
    for _ in range(2):
        torch.nn.Sequential.forward(module, *inputs)
