"""Keeps people's identities through a video, and their keypoints steady."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from grouppose.inference.results import Result
from grouppose.keypoints import pose_similarity
from grouppose.skeleton import Skeleton


class OneEuroFilter:
    """Smooths little when things move fast and much when they rest (Casiez et al., CHI 2012).

    Args:
        least_cutoff: Hz at rest; lower is steadier.
        beta: how much the cutoff grows with speed; higher lags less. Speeds are in the unit of the
            values a second.
        speed_cutoff: Hz, for the speed itself.
    """

    def __init__(
        self, least_cutoff: float = 1.5, beta: float = 3.0, speed_cutoff: float = 1.0
    ) -> None:
        self.least_cutoff, self.beta, self.speed_cutoff = least_cutoff, beta, speed_cutoff
        self.value: np.ndarray | None = None
        self.speed: np.ndarray | None = None

    def __call__(self, value: np.ndarray, seconds: float) -> np.ndarray:
        """The smoothed value; `seconds` have passed since the last.

        NaN stands for what was not found; the next number there starts anew.
        """
        if self.value is None:
            self.value, self.speed = value, np.zeros_like(value)
            return value
        fresh = np.isnan(self.value)
        self.value, self.speed = np.where(fresh, value, self.value), np.where(fresh, 0, self.speed)
        share = _share(self.speed_cutoff, seconds)
        self.speed = self.speed + share * ((value - self.value) / seconds - self.speed)
        share = _share(self.least_cutoff + self.beta * np.abs(self.speed), seconds)
        self.value = self.value + share * (value - self.value)
        return self.value


def _share(cutoff: np.ndarray | float, seconds: float) -> np.ndarray | float:
    """Of the new value, for a first-order low-pass filter."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * seconds))


@dataclass
class _Track:
    number: int
    keypoints: np.ndarray  # (K, 2) as last found; NaN: missing
    smooth: OneEuroFilter
    seen: int = 1  # frames
    missed: int = 0


class Tracker:
    """Gives people the number they had in earlier frames.

    People and tracks are matched by OKS (Hungarian algorithm). A new person is shown once it was
    found in `birth` frames; one that is not found for more than `death` frames is forgotten.

    Args:
        least_similarity: OKS below which it is somebody else.
        birth: frames.
        death: frames.
        rate: pictures a second where the source does not say.
    """

    def __init__(
        self,
        least_similarity: float = 0.3,
        birth: int = 2,
        death: int = 15,
        rate: float = 25.0,
    ) -> None:
        self.least_similarity, self.birth, self.death = least_similarity, birth, death
        self.rate = rate
        self._tracks: list[_Track] = []
        self._next, self._frames = 1, 0

    def __call__(self, result: Result, rate: float = 0.0) -> Result:
        """The people of the next frame that are shown, with ids and smoothed keypoints."""
        self._frames += 1
        places = np.where(result.keypoints.found[..., None], result.keypoints.xy, np.nan)
        pairs = self._match(places, result.skeleton)
        found = {person: track for track, person in pairs}
        for i, track in enumerate(self._tracks):
            matched = i in found.values()
            track.seen += matched
            track.missed = 0 if matched else track.missed + 1
        for person in range(len(result)):
            if person not in found:
                found[person] = len(self._tracks)
                smooth = OneEuroFilter()
                self._tracks.append(_Track(self._next, places[person], smooth))
                self._next += 1
        shown, smoothed = [], []
        size = math.sqrt(np.prod(result.keypoints.size))
        for person in range(len(result)):
            track = self._tracks[found[person]]
            track.keypoints = places[person]
            points = size * track.smooth(track.keypoints / size, 1 / (rate or self.rate))
            if track.seen >= self.birth or self._frames < self.birth:
                shown.append(person)
                smoothed.append(points)
        ids = np.array([self._tracks[found[person]].number for person in shown], dtype=int)
        self._tracks = [track for track in self._tracks if track.missed <= self.death]
        kept = result[shown]
        if not shown:
            return replace(kept, ids=ids)
        points = np.where(kept.keypoints.found[..., None], np.stack(smoothed), kept.keypoints.xy)
        points = points.astype(result.keypoints.xy.dtype)
        return replace(kept, keypoints=replace(kept.keypoints, xy=points), ids=ids)

    def _match(self, places: np.ndarray, skeleton: Skeleton) -> list[tuple[int, int]]:
        """Pairs of (track, person); `places` (n, K, 2) of the people, NaN where one is missing."""
        from scipy.optimize import linear_sum_assignment  # slow to import

        if not self._tracks or not len(places):
            return []
        known = torch.from_numpy(np.stack([track.keypoints for track in self._tracks])).double()
        new = torch.from_numpy(places).double()
        found = [~points.isnan().any(-1) for points in (known, new)]
        sigmas = torch.tensor(skeleton.sigmas, dtype=torch.float64)
        similarity = pose_similarity(known, new, sigmas, *found).numpy()
        rows, columns = linear_sum_assignment(-similarity)
        return [
            (int(t), int(p))
            for t, p in zip(rows, columns, strict=True)
            if similarity[t, p] >= self.least_similarity
        ]
