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
    pred: Tensor, target: Tensor, visible: Tensor, area: Tensor, sigmas: Tensor, eps: float = 1e-6
) -> Tensor:
    """Scores poses against labelled poses (COCO's OKS); leading dimensions broadcast.

    Args:
        pred: (..., K, 2) x, y; the same unit as `target`.
        target: (..., K, 2).
        visible: (..., K) bool; keypoints without a label do not count.
        area: (...) of the person, in the unit squared; kept at `eps` at least.
        sigmas: (K,) labelling spread per keypoint, from the skeleton.
        eps: also added to the divisor of the exponent, as in the published losses.

    Returns:
        (...) in [0, 1]; a target with nothing visible scores 0.
    """
    if pred.shape[-2] != target.shape[-2]:
        raise InputError(
            f"pred has {pred.shape[-2]} keypoints, target has {target.shape[-2]}; "
            "is num_body_points the dataset's?"
        )
    squared_distance = (pred - target).square().sum(-1)
    scale = area.clamp(min=eps)[..., None] * (2 * sigmas) ** 2 * 2
    similarity = torch.exp(-squared_distance / (scale + eps)) * visible
    return similarity.sum(-1) / visible.sum(-1).clamp(min=1)
