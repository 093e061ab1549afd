"""The training losses: focal classification, L1 and OKS of matched keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from grouppose.errors import InputError
from grouppose.keypoints import object_keypoint_similarity
from grouppose.models.grouppose.matcher import FOCAL_GAMMA, MatchingCost, match


class Criterion(nn.Module):
    """Matches the queries of every head to the labelled people, then compares them.

    Args:
        cost: weights of the matching, and the skeleton's sigmas.
        weights: weight of each loss in `total`, by name (loss_ce, loss_keypoints, loss_oks).
        interm_weight: further factor for the encoder's selection.
        aux_matches: queries that each person is matched to in all heads but the last layer's.
    """

    def __init__(
        self,
        *,
        cost: MatchingCost,
        weights: dict[str, float],
        interm_weight: float = 1.0,
        aux_matches: int = 1,
    ) -> None:
        super().__init__()
        self.cost, self.weights, self.interm_weight = cost, weights, interm_weight
        self.aux_matches = aux_matches

    def forward(
        self,
        outputs: dict[str, object],
        targets: Sequence[dict[str, Tensor]],
        count: int | None = None,
    ) -> dict[str, Tensor]:
        """Computes the unweighted losses.

        Args:
            outputs: of the model in training mode; without auxiliary entries those losses are
                left out.
            targets: B dicts of labels (T,) int64, keypoints (T, K, 2) in [0, 1] of the picture
                without its padding, visible (T, K) bool, area (T,) as a share of the picture.
            count: what to divide by in place of `self.count(targets)`: that of a larger batch, of
                which these are a part.

        Returns:
            loss_ce, loss_keypoints, loss_oks of the last layer, the same with _0, _1, ... for the
            earlier layers and _interm for the encoder's selection. Each is a sum over the batch,
            divided by the number of labelled people (averaged over ranks, at least 1), times
            `aux_matches` where that rules.
        """
        heads = {"": outputs}
        heads |= {f"_{i}": head for i, head in enumerate(outputs.get("aux_outputs", ()))}
        if "interm_outputs" in outputs:
            heads["_interm"] = outputs["interm_outputs"]
        _check_targets(outputs, targets)
        device = outputs["pred_logits"].device
        targets = [
            {key: t[key].to(device) for key in ("labels", "keypoints", "visible", "area")}
            for t in targets
        ]
        cost = MatchingCost(**{**vars(self.cost), "sigmas": self.cost.sigmas.to(device)})
        times = [1 if head is outputs else self.aux_matches for head in heads.values()]
        matches = match(list(heads.values()), targets, cost, times)
        count = _mean_over_ranks(self.count(targets) if count is None else count, device)
        losses = {}
        for (suffix, head), pairs, m in zip(heads.items(), matches, times, strict=True):
            for name, loss in _head_losses(head, targets, pairs, cost).items():
                losses[name + suffix] = loss / (m * count)
        return losses

    def count(self, targets: Sequence[dict[str, Tensor]]) -> int:
        """What losses are divided by: the labelled people of these pictures."""
        return sum(len(target["labels"]) for target in targets)

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum of `forward`'s losses."""
        total = 0
        for name, loss in losses.items():
            weight = next(w for prefix, w in self.weights.items() if name.startswith(prefix))
            total = total + loss * weight * (self.interm_weight if "_interm" in name else 1)
        return total


def _check_targets(outputs: dict[str, object], targets: Sequence[dict[str, Tensor]]) -> None:
    batch, _, num_keypoints, _ = outputs["pred_keypoints"].shape
    if len(targets) != batch:
        raise InputError(f"{len(targets)} targets for {batch} pictures; give one per picture")
    for target in targets:
        if target["keypoints"].shape[1:] != (num_keypoints, 2):
            raise InputError(
                f"a target has keypoints {tuple(target['keypoints'].shape)}, expected "
                f"(T, {num_keypoints}, 2); is num_body_points the dataset's?"
            )


def _mean_over_ranks(count: int, device: torch.device) -> Tensor:
    """The number of people per rank, at least 1, without reading it back to the host."""
    total = torch.tensor(float(count), device=device)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
        total = total / dist.get_world_size()
    return total.clamp(min=1)


def _head_losses(
    head: dict[str, Tensor],
    targets: Sequence[dict[str, Tensor]],
    pairs: Sequence[tuple[Tensor, Tensor]],
    cost: MatchingCost,
) -> dict[str, Tensor]:
    """Sums over one head: every query's class, every matched person's keypoints."""
    logits = head["pred_logits"].float()
    device = logits.device
    picture = torch.cat([torch.full_like(q, b) for b, (q, _) in enumerate(pairs)]).to(device)
    query = torch.cat([q for q, _ in pairs]).to(device)
    people = [p.to(device) for _, p in pairs]
    matched = {
        key: torch.cat([t[key][p] for t, p in zip(targets, people, strict=True)])
        for key in targets[0]
    }
    wanted = torch.zeros_like(logits)
    wanted[picture, query, matched["labels"]] = 1

    pred = head["pred_keypoints"].float()[picture, query]  # (M, K, 2)
    visible = matched["visible"]
    distance = (pred - matched["keypoints"]).abs() * visible[..., None]
    oks = object_keypoint_similarity(
        pred, matched["keypoints"], visible, matched["area"], cost.sigmas
    )
    return {
        "loss_ce": focal_loss(logits, wanted, cost.focal_alpha),
        "loss_keypoints": distance.sum(),
        "loss_oks": (1 - oks).sum(),
    }


def focal_loss(logits: Tensor, wanted: Tensor, alpha: float) -> Tensor:
    """Sigmoid focal loss (https://arxiv.org/abs/1708.02002, equation 5), summed; gamma 2."""
    prob = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    wrong = prob * (1 - wanted) + (1 - prob) * wanted  # 1 - p_t
    balance = alpha * wanted + (1 - alpha) * (1 - wanted)
    return (balance * wrong**FOCAL_GAMMA * cross_entropy).sum()
