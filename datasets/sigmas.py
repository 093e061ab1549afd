"""How exactly people label each keypoint, from people who were labelled more than once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from datasets.annotations import keypoint_array, with_keypoints
from datasets.custom import completed
from grouppose.keypoints import object_keypoint_similarity
from grouppose.skeleton import Skeleton

SAME = 0.5  # OKS from which two labels of a picture are taken to be of one person


def estimate_sigmas(
    files: Sequence[Mapping], skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray, int]:
    """Sigma of each keypoint by COCO's definition: sigma^2 = E[d^2 / s^2].

    d is the distance of a label to where the keypoint is, s^2 the person's area. Labels of one
    picture and category are of one person where their similarity (OKS) under the skeleton's present
    sigmas is at least `SAME`; the mean of a person's labels stands for the place, and a person of n
    labels gives n - 1 independent deviations.

    Args:
        files: contents of annotation files.
        skeleton: of the people.

    Returns:
        sigmas (K,), nan where no keypoint was labelled twice; deviations (K,) that each rests on;
        people who were labelled more than once.
    """
    total = np.zeros(skeleton.num_keypoints)
    count = np.zeros(skeleton.num_keypoints, dtype=np.int64)
    people = 0
    for contents in files:
        entries = with_keypoints(completed(contents))
        keypoints = keypoint_array(entries, skeleton.num_keypoints)
        area = np.array([entry["area"] for entry in entries], dtype=np.float64)
        for rows in _repeated(entries, keypoints, area, skeleton):
            labelled = keypoints[rows][..., 2] > 0  # (n, K)
            number = labelled.sum(axis=0)
            weight = labelled[..., None]
            places = keypoints[rows][..., :2]
            mean = (places * weight).sum(axis=0) / np.maximum(number, 1)[:, None]
            squared = ((places - mean) ** 2 * weight).sum(axis=(0, 2))
            twice = number > 1
            total += np.where(twice, squared / area[rows].mean(), 0)
            count += np.where(twice, number - 1, 0)
            people += 1
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.nan)), count, people


def _repeated(
    entries: Sequence[Mapping], keypoints: np.ndarray, area: np.ndarray, skeleton: Skeleton
) -> list[list[int]]:
    """Rows that are labels of one person, two at least."""
    places: dict[tuple, list[int]] = {}
    for row, entry in enumerate(entries):
        if not entry.get("iscrowd", 0) and (keypoints[row, :, 2] > 0).any():
            places.setdefault((entry["image_id"], entry.get("category_id")), []).append(row)
    sigmas = torch.tensor(skeleton.sigmas, dtype=torch.float64)
    groups = []
    for rows in places.values():
        points = torch.from_numpy(keypoints[rows])
        labelled = points[..., 2] > 0
        alike = object_keypoint_similarity(
            points[:, None, :, :2],
            points[None, :, :, :2],
            labelled[:, None] & labelled[None],
            torch.from_numpy(area[rows])[None, :],
            sigmas,
        )
        free = list(range(len(rows)))
        while free:
            first = free.pop(0)
            same = [other for other in free if alike[first, other] >= SAME]
            free = [other for other in free if other not in same]
            if same:
                groups.append([rows[i] for i in (first, *same)])
    return groups
