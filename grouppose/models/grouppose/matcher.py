"""Hungarian matching of queries to labelled people (DETR, section 3.1, with keypoint costs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from grouppose.keypoints import object_keypoint_similarity

FOCAL_GAMMA = 2.0
_UNFIT = 1e8  # stands for a cost that is no number, so that the loss can report it


@dataclass(frozen=True)
class MatchingCost:
    """What matching a query to a person costs: weights of the three parts, and the sigmas (K,)."""

    sigmas: Tensor
    label: float = 2.0
    keypoints: float = 10.0
    oks: float = 4.0
    focal_alpha: float = 0.25


def pad_targets(targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The people of B pictures as (B, T, ...) with T of the fullest; absent people see nothing."""

    def stack(key: str) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence([t[key] for t in targets], batch_first=True)

    return {key: stack(key) for key in ("labels", "keypoints", "visible", "area")}


@torch.no_grad()
def match(
    heads: Sequence[dict[str, Tensor]],
    targets: Sequence[dict[str, Tensor]],
    cost: MatchingCost,
    times: Sequence[int] | None = None,
) -> list[list[tuple[Tensor, Tensor]]]:
    """Assigns every labelled person a query, for each head on its own.

    Args:
        heads: outputs with pred_logits (B, N, classes) and pred_keypoints (B, N, K, 2).
        targets: B dicts as in `Criterion.forward`.
        cost: weights of the cost.
        times: per head, how many queries each person gets, M; None: one.

    Returns:
        Per head and picture: query indices and person indices, both (min(N, M * T),) int64 on
        the CPU, the queries ascending.
    """
    people = [len(target["labels"]) for target in targets]
    if max(people, default=0) == 0:
        nothing = torch.empty(0, dtype=torch.int64)
        return [[(nothing, nothing) for _ in targets] for _ in heads]
    together = {
        key: torch.stack([head[key].float() for head in heads])
        for key in ("pred_logits", "pred_keypoints")
    }
    costs = _cost(together, pad_targets(targets), cost)
    costs = costs.nan_to_num(_UNFIT, _UNFIT, -_UNFIT).cpu().numpy()  # the only copy to the host
    return [
        [_assign(costs[h, b, :, :count], m) for b, count in enumerate(people)]
        for h, m in enumerate(times or [1] * len(heads))
    ]


def _assign(costs: np.ndarray, times: int) -> tuple[Tensor, Tensor]:
    from scipy.optimize import linear_sum_assignment  # slow to import

    queries, people = linear_sum_assignment(np.tile(costs, (1, times)))
    return torch.as_tensor(queries), torch.as_tensor(people % max(1, costs.shape[1]))


def _cost(head: dict[str, Tensor], people: dict[str, Tensor], cost: MatchingCost) -> Tensor:
    """(..., B, N, T) cost of heads (..., B, N, ...) against the padded people of each picture."""
    prob = head["pred_logits"].sigmoid()
    miss = (1 - cost.focal_alpha) * prob**FOCAL_GAMMA * -(1 - prob + 1e-8).log()
    hit = cost.focal_alpha * (1 - prob) ** FOCAL_GAMMA * -(prob + 1e-8).log()
    one_hot = F.one_hot(people["labels"], prob.shape[-1]).to(prob.dtype)
    label_cost = torch.einsum("...bnc,btc->...bnt", hit - miss, one_hot)

    pred = head["pred_keypoints"][..., None, :, :]  # (..., B, N, 1, K, 2)
    target, visible = people["keypoints"][:, None], people["visible"][:, None]
    distance = ((pred - target).abs().sum(-1) * visible).sum(-1)
    oks = object_keypoint_similarity(pred, target, visible, people["area"][:, None], cost.sigmas)
    return cost.label * label_cost + cost.keypoints * distance + cost.oks * (1 - oks)
