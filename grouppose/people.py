"""What a list of people is, and what is done with the people of one picture.

People are a dict of tensors, best first, on the CPU or on any one device:

    scores      (n,) of each person
    labels      (n,) int64; 1, 2, ... stand for a class, 0 for nobody
    keypoints   (n, K, 2) x, y in pixels of the picture
    confidence  (n, K) of each keypoint; 0: it is missing, and its place means nothing; what maps
                of keypoints say may be below 0, where they deny what was regressed

Other columns go along with their person. Where a family's decode has `stages`, "regression", say,
the columns regression_keypoints, _confidence and _scores are the same people before the last steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from grouppose.keypoints import pose_similarity

People = dict[str, Tensor]


def nobody(num_keypoints: int) -> People:
    """An empty list of people."""
    return {
        "scores": torch.zeros(0),
        "labels": torch.zeros(0, dtype=torch.int64),
        "keypoints": torch.zeros(0, num_keypoints, 2),
        "confidence": torch.zeros(0, num_keypoints),
    }


def chosen(people: People, rows: Tensor | slice) -> People:
    """Those of the rows: a mask, indices in their order, or a slice."""
    return {name: column[rows] for name, column in people.items()}


def at_stage(people: People, stage: str) -> People:
    """The people as they were before the last steps."""
    return {name: people.get(f"{stage}_{name}", column) for name, column in people.items()}


def somebody(people: People) -> People:
    """Without those of class 0, which stands for nothing."""
    return chosen(people, people["labels"] > 0)


def unflip(people: People, width: float, flip_order: Sequence[int]) -> People:
    """People found in a mirrored picture, as they are in the picture itself.

    Args:
        people: of the mirrored picture, in its pixels.
        width: of the picture in pixels. Pixel x became w - 1 - x, as in training.
        flip_order: of the skeleton.
    """
    order = list(flip_order)
    x, y = people["keypoints"][:, order].unbind(-1)
    keypoints = torch.stack([width - 1 - x, y], -1)
    return {**people, "keypoints": keypoints, "confidence": people["confidence"][:, order]}


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
        was not found. A keypoint that one view misses is that of the others.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    views = [_missing_at_zero(view) for view in views]
    merged = {name: value.clone() for name, value in views[0].items()}
    weight = merged["scores"].clone()  # sum of scores: of everybody's weights
    of_points = _point_weights(merged)
    for view in views[1:]:
        alike = similarity(merged, view, sigmas)
        alike = alike * (merged["labels"][:, None] == view["labels"])
        near = alike >= least_similarity
        worth = alike * near * (weight[:, None] * view["scores"]).sqrt()
        rows, columns = linear_sum_assignment(-worth.cpu().numpy())
        old, new = torch.from_numpy(rows), torch.from_numpy(columns)
        same = near[old, new]
        old, new = old[same], new[same]
        added = _point_weights(view)
        total = (of_points[old] + added[new]).clamp(min=1e-12)
        share = added[new] / total
        for name, part in (("keypoints", share[..., None]), ("confidence", share)):
            merged[name][old] += part * (view[name][new] - merged[name][old])
        weight[old] = (weight[old] + view["scores"][new]).clamp(min=1e-12)
        of_points[old] = total
        alone = torch.ones(len(view["scores"]), dtype=torch.bool)
        alone[new] = False
        merged = {name: torch.cat([value, view[name][alone]]) for name, value in merged.items()}
        weight = torch.cat([weight, view["scores"][alone]])
        of_points = torch.cat([of_points, added[alone]])
    merged["scores"] = weight / len(views)
    return chosen(merged, merged["scores"].argsort(descending=True, stable=True))


def _missing_at_zero(people: People) -> People:
    """Missing keypoints may be no numbers, which would spread."""
    found = people["confidence"] != 0
    return {**people, "keypoints": people["keypoints"].where(found[..., None], 0)}


def _point_weights(people: People) -> Tensor:
    """(n, K) what a keypoint counts for in an average; 0 where it is missing."""
    return people["scores"][:, None] * (people["confidence"] != 0)


def similarity(a: People, b: People, sigmas: Tensor) -> Tensor:
    """OKS (n, m) of everybody of `a` with everybody of `b`, over the keypoints that both have."""
    found = (people["confidence"] != 0 for people in (a, b))
    return pose_similarity(a["keypoints"], b["keypoints"], sigmas, *found)


def suppress(people: People, sigmas: Tensor, threshold: float) -> People:
    """Leaves people out so that no two are more alike than the threshold; better ones stay.

    Args:
        people: of one picture.
        sigmas: (K,) of the skeleton.
        threshold: OKS above which the lower-scored of two people goes.
    """
    alike = similarity(people, people, sigmas) > threshold
    keep = torch.ones(len(alike), dtype=torch.bool, device=alike.device)
    for i in people["scores"].argsort(descending=True, stable=True).tolist():
        if keep[i]:
            keep &= ~alike[i]
            keep[i] = True
    return chosen(people, keep)
