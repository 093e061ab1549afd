"""From the model's outputs to people in pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from grouppose.errors import InputError
from grouppose.keypoints import agreement
from grouppose.skeleton import skeleton_of


@torch.no_grad()
def postprocess(
    outputs: dict[str, Tensor],
    image_sizes: Tensor,
    num_select: int = 50,
    sigmas: Tensor | None = None,
) -> list[dict[str, Tensor]]:
    """Picks the best-scored people of each picture; there is nothing to suppress.

    Args:
        outputs: pred_logits (B, N, classes), pred_keypoints (B, N, K, 2) in [0, 1] and
            previous_keypoints, the same of the layer before; without the last, confidences are 1.
        image_sizes: (B, 2) int, original height and width in pixels.
        num_select: people per picture, at most N * classes.
        sigmas: (K,) of the skeleton, for the confidence; None: of the published one of that size.

    Returns:
        B dicts, best first: scores (n,) in [0, 1], labels (n,) int64 (1 = person),
        keypoints (n, K, 2) x, y in pixels of the original picture; confidence (n, K), above 0 as
        no keypoint is missing: see `grouppose.keypoints.agreement`.
    """
    columns = best_people(outputs, image_sizes, num_select, sigmas)
    return [{name: column[b] for name, column in columns.items()} for b in range(len(image_sizes))]


def best_people(
    outputs: dict[str, Tensor],
    image_sizes: Tensor,
    num_select: int,
    sigmas: Tensor | None = None,
) -> dict[str, Tensor]:
    """`postprocess` of all pictures at once: one dict whose tensors begin with the axis B."""
    scores = outputs["pred_logits"].float().sigmoid()
    batch, num_queries, num_classes = scores.shape
    if image_sizes.shape != (batch, 2):
        raise InputError(
            f"image_sizes has shape {tuple(image_sizes.shape)}, expected ({batch}, 2): "
            "height and width of each picture"
        )
    num_select = min(num_select, num_queries * num_classes)
    scores, index = scores.flatten(1).topk(num_select, dim=1)
    labels, query = index % num_classes, index // num_classes
    num_keypoints = outputs["pred_keypoints"].shape[2]
    query = query[:, :, None, None].expand(-1, -1, num_keypoints, 2)
    unit = image_sizes.to(scores.device, scores.dtype).flip(1)[:, None, None]  # width, height
    previous = outputs.get("previous_keypoints", outputs["pred_keypoints"])
    keypoints, before = (
        points.float().gather(1, query) * unit for points in (outputs["pred_keypoints"], previous)
    )
    if sigmas is None:
        sigmas = torch.tensor(skeleton_of(num_keypoints).sigmas)
    confidence = agreement(keypoints, before, sigmas.to(scores.device))
    return {"scores": scores, "labels": labels, "keypoints": keypoints, "confidence": confidence}
