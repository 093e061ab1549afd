"""Test-time augmentation: one picture's people from several views of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grouppose.keypoints import pose_similarity

People = dict[str, Tensor]


def unflip(people: People, width: float, flip_order: Sequence[int]) -> People:
    """People found in a mirrored picture, as they are in the picture itself.

    Args:
        people: keypoints (n, K, 2) in pixels, scores and labels (n,); confidence (n, K), if any.
        width: of the picture in pixels. Pixel x became w - 1 - x, as in training.
        flip_order: of the skeleton.
    """
    order = list(flip_order)
    people = dict(people)
    for name in ("keypoints", "confidence"):
        if name in people:
            people[name] = people[name][:, order]
    x, y = people["keypoints"].unbind(-1)
    people["keypoints"] = torch.stack([width - 1 - x, y], -1)
    return people


def merge(views: Sequence[People], sigmas: Tensor, least_similarity: float = 0.5) -> People:
    """Finds who is the same in several views, by OKS, and averages them by score.

    Where several fit, as a person's weaker copies do, the better-scored go together: pairs have the
    largest sum of OKS times the geometric mean of their scores.

    Args:
        views: of one picture, in its pixels; as `unflip` gives them.
        sigmas: (K,) of the skeleton.
        least_similarity: OKS below which it is somebody else.

    Returns:
        The same columns, best first. A score is the mean over all views, with 0 where the person
        was not found.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    merged = {name: value.clone() for name, value in views[0].items()}
    weight = merged["scores"].clone()  # sum of scores: of everybody's weights
    averaged = [name for name in ("keypoints", "confidence") if name in merged]
    for view in views[1:]:
        alike = pose_similarity(merged["keypoints"], view["keypoints"], sigmas)
        alike = alike * (merged["labels"][:, None] == view["labels"])
        near = alike >= least_similarity
        worth = alike * near * (weight[:, None] * view["scores"]).sqrt()
        rows, columns = linear_sum_assignment(-worth.cpu().numpy())
        old, new = torch.from_numpy(rows), torch.from_numpy(columns)
        same = near[old, new]
        old, new = old[same], new[same]
        total = (weight[old] + view["scores"][new]).clamp(min=1e-12)
        share = view["scores"][new] / total
        for name in averaged:
            part = share.view(-1, *[1] * (merged[name].ndim - 1))
            merged[name][old] += part * (view[name][new] - merged[name][old])
        weight[old] = total
        alone = torch.ones(len(view["scores"]), dtype=torch.bool)
        alone[new] = False
        merged = {name: torch.cat([value, view[name][alone]]) for name, value in merged.items()}
        weight = torch.cat([weight, view["scores"][alone]])
    merged["scores"] = weight / len(views)
    order = merged["scores"].argsort(descending=True, stable=True)
    return {name: value[order] for name, value in merged.items()}
