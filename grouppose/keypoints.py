"""Pure functions of keypoints: similarity, areas, logit space."""

from __future__ import annotations

import torch
from torch import Tensor

from grouppose.errors import InputError


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
    squared_distance = (pred - target).square().sum(-1)
    scale = area.clamp(min=1e-12)[..., None] * (2 * sigmas) ** 2 * 2
    similarity = torch.exp(-squared_distance / scale) * visible
    return (similarity.sum(-1) / (visible.sum(-1) + 1e-6)).clamp(min=1e-6)
