"""From maps to people, where it differs from `grouppose.models.hrnet_bottomup.decode`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grouppose.maps.grouping import close_keypoints, suppress_close
from grouppose.maps.sampling import at_cells
from grouppose.models.hrnet_bottomup import decode as bottomup
from grouppose.people import People


@dataclass(frozen=True)
class Decoder(bottomup.Decoder):
    """The steps of decoding, and all of them as a call.

    `nms_distance` is a share of a pose's diagonal; `exchanged_heat` has no meaning here.
    """

    relative = True

    def candidates(
        self, views: Sequence[Mapping[str, Any]], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The poses at the best centres of every view.

        Returns:
            keypoints (n, K, 2) in pixels of the input at scale 1, scores (n,) of their centres,
            those of other scales in proportion to scale 1's best.
        """
        found = [
            self._poses_at(view, view["heatmaps"][-1], self.keypoint_threshold, size)
            for view in views
        ]
        own = next(s for v, (_, s) in zip(views, found, strict=True) if v["scale"] == 1)
        best = own.amax() if len(own) else torch.ones_like(own.sum())
        scores = [
            s if view["scale"] == 1 or not len(s) else s / s.amax() * best * self.scale_decrease
            for view, (_, s) in zip(views, found, strict=True)
        ]
        return torch.cat([keypoints for keypoints, _ in found]), torch.cat(scores)

    def heat(self, fused: Tensor, keypoints: Tensor) -> Tensor:
        """(n, K): values of the map at the keypoints, moved to the border if outside."""
        columns, rows = keypoints.floor().long().unbind(-1)
        return at_cells(fused[: keypoints.shape[1]], columns, rows)

    def regress(self, fused: Tensor, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Confidence (n, K): centre's score times heat."""
        return scores[:, None] * self.heat(fused, keypoints)

    def suppress(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Indices of the poses that are kept.

        Args:
            keypoints: (n, K, 2).
            scores: (n,) who is best: the mean heat at the keypoints.
        """
        extent = (keypoints.amax(1) - keypoints.amin(1)).norm(dim=-1)
        close = close_keypoints(keypoints, self.nms_distance * extent) > self.nms_keypoints
        return suppress_close(close, scores, self.max_people)

    def match(
        self, fused: Tensor, keypoints: Tensor, scores: Tensor, step: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Moves keypoints to the nearest peak of their heatmap, if one is near.

        Returns:
            keypoints (n, K, 2); confidence (n, K), that of the keypoints before.
        """
        moved, _, near = self.nearest_peaks(fused[: keypoints.shape[1]], keypoints, step)
        confidence = self.regress(fused, keypoints, scores)
        return torch.where(near[..., None], moved, keypoints), confidence

    def refine(
        self, fused: Tensor, keypoints: Tensor, confidence: Tensor, scores: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Moves confident keypoints to the peak of a gaussian that is fitted to the map.

        Returns:
            keypoints (n, K, 2); confidence as it was.
        """
        height, width = fused.shape[-2:]
        columns, rows = (keypoints + 0.5).long().unbind(-1)
        columns, rows = columns.clamp(0, width - 1), rows.clamp(0, height - 1)
        places, _, fits = self.fitted(fused, columns, rows, confidence > self.adjust_threshold)
        return torch.where(fits[..., None], places, keypoints), confidence

    @torch.no_grad()
    def __call__(self, views: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> People:
        """Decodes one picture.

        Returns:
            keypoints (n, K, 2) in pixels of the input at scale 1, confidence (n, K), scores (n,),
            best first; n may be 0. With `match_heatmaps` also regression_keypoints and so on.
        """
        fused = self.fuse(views, size)
        keypoints, scores = self.candidates(views, size)
        kept = self.suppress(keypoints, self.heat(fused, keypoints).mean(1))
        keypoints, scores = keypoints[kept], scores[kept]
        regressed = bottomup.columns(keypoints, self.regress(fused, keypoints, scores))
        if not self.match_heatmaps:
            return bottomup.best_first(regressed)
        step = bottomup.step_of(views, size)
        keypoints, confidence = self.match(fused, keypoints, scores, step)
        keypoints, confidence = self.refine(fused, keypoints, confidence, scores)
        regressed = {f"regression_{name}": column for name, column in regressed.items()}
        return bottomup.best_first({**bottomup.columns(keypoints, confidence), **regressed})
