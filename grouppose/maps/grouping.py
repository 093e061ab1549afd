"""Which of many estimated poses are one person's: suppression by keypoints that lie close."""

from __future__ import annotations

import torch
from torch import Tensor


def suppress_close(close: Tensor, ranking: Tensor, max_people: int) -> Tensor:
    """Keeps the best pose of each group, as the published bottom-up networks do.

    In order: a pose that is marked is passed over; else the best of ALL poses of its group, marked
    ones too (the first of equals), is kept unless it is marked, and the whole group is marked. A
    pose whose best is marked already stays unmarked.

    Args:
        close: (n, n) bool; row i is pose i's group. Need not be symmetric; i belongs to it anyway.
        ranking: (n,) who is best.
        max_people: if more remain, only so many, best first.

    Returns:
        Indices of who is kept.
    """
    close = close | torch.eye(len(close), dtype=torch.bool, device=close.device)
    best = torch.where(close, ranking, float("-inf")).argmax(1).tolist() if len(close) else []
    groups = close.cpu()
    marked = torch.zeros(len(close), dtype=torch.bool)
    kept = []
    for i, leader in enumerate(best):
        if not marked[i] and not marked[leader]:
            kept.append(leader)
            marked |= groups[i]
    found = torch.tensor(kept, dtype=torch.int64, device=close.device)
    if len(found) > max_people:
        found = found[ranking[found].argsort(descending=True, stable=True)[:max_people]]
    return found


def close_keypoints(keypoints: Tensor, distance: Tensor | float) -> Tensor:
    """How many keypoints of two poses are closer than a distance.

    Args:
        keypoints: (n, K, 2).
        distance: in the same unit; (n,): that of each first pose.

    Returns:
        (n, n) int64; row i, column j: pose i with pose j.
    """
    apart = (keypoints[:, None] - keypoints[None]).norm(dim=-1)
    if isinstance(distance, Tensor):
        distance = distance[:, None, None]
    return (apart < distance).sum(-1)
