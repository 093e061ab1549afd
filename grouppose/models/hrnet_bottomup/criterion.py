"""The training losses: weighted squares of heatmaps, smooth L1 of offsets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from grouppose.errors import InputError

BETA = 1 / 9  # of smooth L1, in cells


class Criterion(nn.Module):
    """Compares maps with those of `targets.Encoder`.

    Args:
        heatmaps_weight, offsets_weight: factors of the losses in `total`.
    """

    def __init__(self, *, heatmaps_weight: float, offsets_weight: float) -> None:
        super().__init__()
        self.weights = {
            "loss_heatmaps": heatmaps_weight,
            "loss_offsets": offsets_weight,
            "loss_fine_heatmaps": heatmaps_weight,
        }

    def forward(
        self,
        outputs: dict[str, Tensor],
        targets: Sequence[dict[str, Tensor]],
        count: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Computes the unweighted losses.

        Args:
            outputs: of the model: heatmaps or, in its place, branch_heatmaps; offsets;
                fine_heatmaps, if it has them.
            targets: B dicts of `targets.Encoder`.
            count: what to divide by in place of `self.count(targets)`: that of a larger batch, of
                which these are a part.

        Returns:
            loss_heatmaps: mean of weights (prediction - target)^2 over pictures, channels and
            cells; loss_offsets: sum of weights smooth L1 / entries with a weight; with
            fine_heatmaps also loss_fine_heatmaps, like the first. What is divided by is a mean
            over ranks.
        """
        batch = len(outputs["offsets"])
        if len(targets) != batch:
            raise InputError(f"{len(targets)} targets for {batch} pictures; give one per picture")
        device = outputs["offsets"].device
        target = {
            name: torch.stack([t[name] for t in targets]).to(device, non_blocking=True)
            for name in targets[0]
            if name in TARGETS
        }
        _check_channels(outputs, target)
        count = self.count(targets) if count is None else count
        pictures, entries = _mean_over_ranks(count.to(device, torch.float32))
        predicted = outputs.get("branch_heatmaps", outputs["heatmaps"])
        losses = {
            "loss_heatmaps": _squares(predicted, target["heatmaps"], target["weights"]) / pictures,
            "loss_offsets": _smooth(outputs["offsets"], target["offsets"], target["offset_weights"])
            / entries,
        }
        if "fine_heatmaps" in outputs:
            fine = (outputs["fine_heatmaps"], target["fine_heatmaps"], target["fine_weights"])
            losses["loss_fine_heatmaps"] = _squares(*fine) / pictures
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum of `forward`'s losses."""
        return sum(loss * self.weights[name] for name, loss in losses.items())

    @staticmethod
    def count(targets: Sequence[dict[str, Tensor]]) -> Tensor:
        """What losses are divided by: (2,) float64, pictures and entries of offsets with weight."""
        entries = sum(int((t["offset_weights"] > 0).sum()) for t in targets)
        return torch.tensor([len(targets), entries], dtype=torch.float64)


TARGETS = ("heatmaps", "weights", "offsets", "offset_weights", "fine_heatmaps", "fine_weights")


def _mean_over_ranks(count: Tensor) -> Tensor:
    """(2,) of a batch -> the mean over ranks, at least 1."""
    if dist.is_available() and dist.is_initialized():
        count = count.clone()
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    return count.clamp(min=1)


def _squares(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Sum over pictures of the mean over channels and cells; targets may repeat, as branches do."""
    predicted = predicted.unflatten(1, (-1, target.shape[1]))  # (B, branches, C, h, w)
    error = weights[:, None] * (predicted - target[:, None]).square()
    return error.mean((1, 2, 3, 4)).sum()


def _smooth(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    distance = (predicted - target).abs()
    loss = torch.where(distance < BETA, 0.5 * distance**2 / BETA, distance - 0.5 * BETA)
    return (weights * loss).sum()


def _check_channels(outputs: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    if outputs["offsets"].shape != target["offsets"].shape:
        raise InputError(
            f"offsets are {tuple(outputs['offsets'].shape)}, their targets "
            f"{tuple(target['offsets'].shape)}; is num_body_points the dataset's?"
        )
    if "fine_heatmaps" in outputs and "fine_heatmaps" not in target:
        raise InputError("the model gives fine heatmaps, the targets do not; set higher in both")
