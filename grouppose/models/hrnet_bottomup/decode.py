"""From maps to people: candidates at centres, suppression, matching to peaks, refinement.

Cell (column i, row j) of a map of stride s is the input's pixel (s i, s j). Views are the maps of
one picture at several scales, largest first: dicts of scale, heatmaps (K + 1, h, w) and poses
(2K, h, w). (H, W) is the size of the input at scale 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from grouppose.maps.grouping import close_keypoints, suppress_close
from grouppose.maps.merging import poses_from_offsets, unflip_heatmaps, unflip_poses
from grouppose.maps.peaks import find_peaks, window_size
from grouppose.maps.refinement import fit_gaussians
from grouppose.maps.resample import upsample
from grouppose.maps.sampling import at_cells, bilinear_truncated
from grouppose.people import People, chosen
from grouppose.pictures import centred_resize
from grouppose.views import View

FAINT = 1e-6  # confidence of keypoints whose maps show nothing where they were regressed
TINY = 1e-12  # what a map without a centre is divided by
PEAK_WINDOW = 5  # of the keypoints' peaks, at any size


@dataclass(frozen=True)
class Plan:
    """How pictures are looked at.

    Attributes:
        side: shorter side of the input at scale 1, in pixels, before it is rounded up.
        scales: of the input, largest first.
        shifts: columns that a mirrored input is moved to the left by; () without a flip test. The
            second is for fine heatmaps alone.
        fill: what then is in the last columns, see `grouppose.views.View`.
    """

    side: int
    scales: tuple[float, ...]
    shifts: tuple[int, ...]
    fill: str

    def views(self, height: int, width: int) -> list[View]:
        """Those of each scale: the picture, then the mirrored ones."""
        views = []
        for scale in self.scales:
            size, matrix = centred_resize((height, width), self.side, scale)
            plain = View(size, False, matrix, "affine", (height, width))
            views += [plain] + [
                replace(plain, mirrored=True, shift=shift, fill=self.fill) for shift in self.shifts
            ]
        return views


@dataclass(frozen=True)
class Decoder:
    """The way from pictures to views and from maps to people, and the steps of the latter.

    Attributes:
        plan: of the views.
        threshold: score from which people are shown, where nobody says otherwise.
        relative: `nms_distance` is a share of a pose's diagonal, and people are ranked by heat.
        others: see `build.build_decode`.
    """

    plan: Plan
    flip_order: tuple[int, ...]
    max_people: int
    match_heatmaps: bool
    keypoint_threshold: float
    nms_distance: float
    nms_keypoints: int
    scale_decrease: float
    max_absorb_distance: float
    adjust_threshold: float
    gaussian_kernel: int
    gaussian_sigma: float
    exchanged_heat: bool = False
    threshold: float = 0.3

    relative = False

    @property
    def stages(self) -> tuple[str, ...]:
        """What the columns of people before matching begin with."""
        return ("regression",) if self.match_heatmaps else ()

    def views(self, height: int, width: int) -> list[View]:
        """How a picture of that size in pixels is looked at."""
        return self.plan.views(height, width)

    @torch.no_grad()
    def people(
        self, outputs: Sequence[Mapping[str, Tensor]], views: Sequence[View]
    ) -> list[People]:
        """The people of B pictures of one size, best first, on the CPU.

        Args:
            outputs: of the model, for each of the V views of these pictures.
            views: V, from `views`.

        Returns:
            B dicts; see `grouppose.people`. All are of class 1. Where keypoints are matched to
            peaks, the columns of `stages` say what these people are without.
        """
        passes = 1 + len(self.plan.shifts)
        merged = [
            self.view(*outputs[first : first + passes]) for first in range(0, len(views), passes)
        ]
        base = views[passes * self.plan.scales.index(1)]
        back = torch.from_numpy(base.inverse)
        found = []
        for b in range(len(outputs[0]["heatmaps"])):
            of_picture = [
                {"scale": scale, **{name: maps[b] for name, maps in view.items()}}
                for scale, view in zip(self.plan.scales, merged, strict=True)
            ]
            people = {name: value.cpu() for name, value in self(of_picture, base.size).items()}
            for name in people:
                if name.endswith("keypoints"):
                    places = people[name].double() @ back[:, :2].T + back[:, 2]
                    people[name] = places.to(people[name].dtype)
                if name.endswith("confidence"):  # 0 would say that there is no such keypoint
                    people[name] = torch.where(people[name] == 0, FAINT, people[name])
            people["labels"] = torch.ones(len(people["scores"]), dtype=torch.int64)
            found.append(people)
        return found

    def view(
        self,
        outputs: Mapping[str, Tensor],
        mirrored: Mapping[str, Tensor] | None = None,
        mirrored_fine: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Merges the outputs of a picture and of the mirrored one.

        Args:
            outputs: of the model.
            mirrored: of the mirrored picture moved left by the stride less 1 pixel.
            mirrored_fine: of that moved by 1 pixel, for fine_heatmaps.

        Returns:
            heatmaps (B, K + 1, h, w), poses (B, 2K, h, w): in every cell the keypoints x, y, in
            cells. Both have the size of fine_heatmaps, if there are any.
        """
        heatmaps = outputs["heatmaps"]
        poses = poses_from_offsets(outputs["offsets"])
        fine = outputs.get("fine_heatmaps")
        heatmaps = _with_fine(heatmaps, fine)
        if mirrored is not None:
            finer = (mirrored_fine or mirrored).get("fine_heatmaps")
            back = _with_fine(mirrored["heatmaps"], finer)  # before it is turned, as published
            heatmaps = (heatmaps + unflip_heatmaps(back, self.flip_order)) / 2
            other = poses_from_offsets(mirrored["offsets"])
            poses = (poses + unflip_poses(other, self.flip_order)) / 2
        if fine is not None:
            poses = 2 * poses.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return {"heatmaps": heatmaps, "poses": poses}

    def fuse(self, views: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Tensor:
        """The mean of the views' heatmaps at the size of scale 1's input: (K + 1, H, W)."""
        total = upsample(views[0]["heatmaps"], size)
        for view in views[1:]:
            total = total + upsample(view["heatmaps"], size)
        return total / len(views)

    def candidates(
        self, views: Sequence[Mapping[str, Any]], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The poses at the best centres of every view.

        Returns:
            keypoints (n, K, 2) in pixels of the input at scale 1, scores (n,) of their centres.
        """
        largest = next(v for v in views if v["scale"] == 1)["heatmaps"][-1].amax()
        found = []
        for view in views:
            factor = 1.0 if view["scale"] == 1 else self.scale_decrease
            centres = view["heatmaps"][-1]
            if factor != 1:
                centres = centres * factor / centres.amax().clamp(min=TINY) * largest
            found.append(self._poses_at(view, centres, self.keypoint_threshold * factor, size))
        keypoints, scores = (torch.cat(column) for column in zip(*found, strict=True))
        return keypoints, scores

    def _poses_at(
        self, view: Mapping[str, Any], centres: Tensor, above: float, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Keypoints (n, K, 2) and scores (n,) at the peaks of a map of centres, best first."""
        height, width = centres.shape
        window = window_size(height, width)
        columns, rows, scores = find_peaks(centres[None], window, self.max_people)
        columns, rows, scores = (v[0][scores[0] > above] for v in (columns, rows, scores))
        poses = view["poses"][:, rows, columns].T.unflatten(-1, (-1, 2))
        return poses * (size[1] / width), scores

    def suppress(self, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Indices of the poses that are kept, see `grouppose.maps.grouping`."""
        close = close_keypoints(keypoints, self.nms_distance) > self.nms_keypoints
        return suppress_close(close, scores, self.max_people)

    def regress(self, fused: Tensor, keypoints: Tensor, scores: Tensor) -> Tensor:
        """Confidence (n, K) of keypoints as they are: centre's score times heat."""
        heat = bilinear_truncated(fused[: keypoints.shape[1]], keypoints)
        return scores[:, None] * heat

    def match(
        self, fused: Tensor, keypoints: Tensor, scores: Tensor, step: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Moves keypoints to the nearest peak of their heatmap, if one is near.

        Args:
            fused: (K + 1, H, W).
            keypoints: (n, K, 2).
            scores: (n,) of the centres.
            step: the map is bilinear between every so many pixels; 1: nothing is known.

        Returns:
            keypoints (n, K, 2), confidence (n, K).
        """
        heat = fused[: keypoints.shape[1]]
        moved, value, near = self.nearest_peaks(heat, keypoints, step)
        value = torch.where(value > self.keypoint_threshold, value, 0)
        columns, rows = keypoints.long().unbind(-1)
        if self.exchanged_heat:
            columns, rows = rows, columns
        value = torch.where(near, value, at_cells(heat, columns, rows))
        return torch.where(near[..., None], moved, keypoints), scores[:, None] * value

    def nearest_peaks(
        self, heat: Tensor, keypoints: Tensor, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest peak of each keypoint's map: places (n, K, 2), values (n, K), near (n, K)."""
        peaks = find_peaks(heat, PEAK_WINDOW, self.max_people, step=step)
        places = torch.stack([peaks.columns, peaks.rows], -1).to(keypoints.dtype)
        distance = (keypoints[:, :, None] - places).norm(dim=-1)  # (n, K, peaks)
        distance = torch.where(peaks.values > 0, distance, float("inf"))
        shortest, index = distance.min(-1)
        channel = torch.arange(len(heat), device=heat.device)
        near = shortest < self.max_absorb_distance
        return places[channel, index], peaks.values[channel, index], near

    def refine(
        self, fused: Tensor, keypoints: Tensor, confidence: Tensor, scores: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Moves confident keypoints to the peak of a gaussian that is fitted to the map.

        A fit counts if it converges, with a positive peak, within the window; its height times the
        centre's score is then the confidence.

        Returns:
            keypoints (n, K, 2), confidence (n, K).
        """
        height, width = fused.shape[-2:]
        columns, rows = (keypoints + 0.5).long().unbind(-1)
        inside = (columns > 0) & (rows > 0) & (columns < width - 1) & (rows < height - 1)
        places, heights, fits = self.fitted(
            fused, columns, rows, inside & (confidence > self.adjust_threshold)
        )
        keypoints = torch.where(fits[..., None], places, keypoints)
        return keypoints, torch.where(fits, heights * scores[:, None], confidence)

    def fitted(
        self, fused: Tensor, columns: Tensor, rows: Tensor, wanted: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gaussians around pixels, all (n, K): places (n, K, 2), heights and which to take."""
        channels = torch.arange(columns.shape[1], device=fused.device).expand_as(columns)
        pixels = [v[wanted] for v in (channels, columns, rows)]
        found, converged = fit_gaussians(
            fused, *pixels, radius=self.gaussian_kernel, sigma=self.gaussian_sigma
        )
        peak = torch.stack(pixels[1:], 1)
        near = ((found[:, 1:3] - peak).abs() <= self.gaussian_kernel).all(1)
        fits = torch.zeros_like(wanted)
        fits[wanted] = converged & near & (found[:, 0] > 0)
        places, heights = fused.new_zeros(*wanted.shape, 2), fused.new_zeros(wanted.shape)
        places[wanted], heights[wanted] = found[:, 1:3].to(fused.dtype), found[:, 0].to(fused.dtype)
        return places, heights, fits

    @torch.no_grad()
    def __call__(self, views: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> People:
        """Decodes one picture.

        Returns:
            keypoints (n, K, 2) in pixels of the input at scale 1, confidence (n, K), scores (n,),
            best first; n may be 0. With `match_heatmaps` also regression_keypoints and so on: the
            same people before it.
        """
        fused = self.fuse(views, size)
        keypoints, scores = self.candidates(views, size)
        kept = self.suppress(keypoints, scores)
        keypoints, scores = keypoints[kept], scores[kept]
        regressed = columns(keypoints, self.regress(fused, keypoints, scores))
        if not self.match_heatmaps:
            return best_first(regressed)
        keypoints, confidence = self.match(fused, keypoints, scores, step_of(views, size))
        keypoints, confidence = self.refine(fused, keypoints, confidence, scores)
        regressed = {f"regression_{name}": column for name, column in regressed.items()}
        return best_first({**columns(keypoints, confidence), **regressed})


def columns(keypoints: Tensor, confidence: Tensor) -> People:
    """The three columns of people whose score is their mean confidence."""
    return {"keypoints": keypoints, "confidence": confidence, "scores": confidence.mean(1)}


def best_first(people: People) -> People:
    """The people sorted by score."""
    return chosen(people, people["scores"].argsort(descending=True, stable=True))


def step_of(views: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> int:
    """Pixels between which the fused map is bilinear; 1 where that is not known."""
    sizes = [view["heatmaps"].shape[-2:] for view in views]
    if any(size[0] % h or size[1] % w or size[0] // h != size[1] // w for h, w in sizes):
        return 1
    return math.gcd(*(size[0] // h for h, _ in sizes))


def _with_fine(heatmaps: Tensor, fine: Tensor | None) -> Tensor:
    """Heatmaps at the size of the finer ones, the keypoints' averaged with these."""
    if fine is None:
        return heatmaps
    heatmaps = upsample(heatmaps, fine.shape[-2:])
    count = fine.shape[1]
    return torch.cat([(heatmaps[:, :count] + fine) / 2, heatmaps[:, count:]], 1)
