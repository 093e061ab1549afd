"""Pure functions of keypoints: similarity, agreement, logit space."""

from __future__ import annotations

import torch
from torch import Tensor

from grouppose.errors import InputError

BOX_SHARE = 0.53  # of its box that a person covers, where the area is not known (CrowdPose's rule)
LEAST_SPAN = 32.0  # pixels; COCO calls an object below this size small


def inverse_sigmoid(x: Tensor, eps: float = 1e-3) -> Tensor:
    """Logit of x in [0, 1], x and 1 - x kept at `eps` at least."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def object_keypoint_similarity(
    pred: Tensor, target: Tensor, visible: Tensor, area: Tensor, sigmas: Tensor
) -> Tensor:
    """Scores poses against labelled poses (COCO's OKS); leading dimensions broadcast.

    Args:
        pred: (..., K, 2) x, y; the same unit as `target`.
        target: (..., K, 2).
        visible: (..., K) bool; keypoints without a label do not count.
        area: (...) of the person, in the unit squared; 0 makes any distance count as far.
        sigmas: (K,) labelling spread per keypoint, from the skeleton.

    Returns:
        (...) in [1e-6, 1], as the published losses clamp it; their 1e-6 in the divisor, too, keeps
        a target with nothing visible at the bottom.
    """
    if pred.shape[-2] != target.shape[-2]:
        raise InputError(
            f"pred has {pred.shape[-2]} keypoints, target has {target.shape[-2]}; "
            "is num_body_points the dataset's?"
        )
    similarity = _keypoint_similarity(pred, target, area, sigmas) * visible
    return (similarity.sum(-1) / (visible.sum(-1) + 1e-6)).clamp(min=1e-6)


def _keypoint_similarity(pred: Tensor, target: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    """OKS's term of each keypoint, (..., K) in [0, 1]."""
    squared_distance = (pred - target).square().sum(-1)
    scale = area.clamp(min=1e-12)[..., None] * (2 * sigmas) ** 2 * 2
    return torch.exp(-squared_distance / scale)


def pose_area(keypoints: Tensor, found: Tensor | None = None) -> Tensor:
    """Area that a pose stands for where nobody labelled one.

    One or two keypoints span no area: theirs is that of a square on their distance, at least
    `LEAST_SPAN` pixels.

    Args:
        keypoints: (..., K, 2).
        found: (..., K) bool; None: all of them. The others do not count, whatever they hold.

    Returns:
        (...), in the unit squared; 0 where nothing is found.
    """
    if found is None:
        found = torch.ones(keypoints.shape[:-1], dtype=torch.bool, device=keypoints.device)
    missing = ~found[..., None]
    highest = keypoints.masked_fill(missing, -torch.inf).amax(-2)
    sides = highest - keypoints.masked_fill(missing, torch.inf).amin(-2)
    square = sides.amax(-1, keepdim=True).clamp(min=LEAST_SPAN).expand_as(sides)
    count = found.sum(-1)
    area = BOX_SHARE * torch.where((count < 3)[..., None], square, sides).prod(-1)
    return area.masked_fill(count == 0, 0)


def pose_similarity(
    a: Tensor,
    b: Tensor,
    sigmas: Tensor,
    a_found: Tensor | None = None,
    b_found: Tensor | None = None,
) -> Tensor:
    """OKS of every pose with every pose, by the mean of their areas.

    Args:
        a: (..., n, K, 2).
        b: (..., m, K, 2), the same unit.
        sigmas: (K,) of the skeleton.
        a_found: (..., n, K) bool, the keypoints of `a` that are there; None: all. Those count
            that both poses have; poses with none in common are not alike.
        b_found: (..., m, K), of `b`.

    Returns:
        (..., n, m), symmetric in a and b.
    """
    area = (pose_area(a, a_found)[..., :, None] + pose_area(b, b_found)[..., None, :]) / 2
    visible = torch.ones(a.shape[-2], dtype=torch.bool, device=a.device)
    if a_found is not None:
        a = a.masked_fill(~a_found[..., None], 0)  # which may be no number
        visible = visible & a_found[..., :, None, :]
    if b_found is not None:
        b = b.masked_fill(~b_found[..., None], 0)
        visible = visible & b_found[..., None, :, :]
    a, b = a[..., :, None, :, :], b[..., None, :, :, :]
    return object_keypoint_similarity(a, b, visible, area, sigmas)


def agreement(keypoints: Tensor, before: Tensor, sigmas: Tensor) -> Tensor:
    """How much two successive estimates agree on each keypoint, as its term of OKS.

    A confidence of keypoints from a model that was not trained to give one: what the last decoder
    layer still moves far is uncertain. It is a heuristic, and no probability.

    Args:
        keypoints: (..., K, 2) the last estimate.
        before: (..., K, 2) that of the layer before.
        sigmas: (K,) of the skeleton.

    Returns:
        (..., K) above 0, at most 1; 1: not moved. 0 would say that it is missing.
    """
    likeness = _keypoint_similarity(keypoints, before, pose_area(keypoints), sigmas)
    return likeness.clamp(min=torch.finfo(likeness.dtype).tiny)
