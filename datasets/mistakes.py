"""What is wrong with the keypoints of people who were found.

The kinds are those of Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose
Estimation (ICCV 2017, section 3). A keypoint's similarity to a place is its term of OKS there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.annotations import read_annotations
from datasets.evaluate import Contents
from datasets.matching import Matching, matching
from grouppose.skeleton import Skeleton

FOUND = 0.1  # OKS from which a prediction counts as an estimate of a person
GOOD, NEAR = 0.85, 0.5  # similarity of a good keypoint; of one that is near a place at all
KINDS = ("good", "jitter", "inversion", "swap", "miss")
MEANING = {
    "good": f"similarity to its place above {GOOD}",
    "jitter": f"{NEAR} to {GOOD}: a little off",
    "inversion": "on the other side's keypoint of the same person (left for right)",
    "swap": "on the same or the other side's keypoint of another person",
    "miss": "near none of these",
}


def keypoint_errors(
    annotation_file: Contents, results: Sequence[Mapping], skeleton: Skeleton
) -> dict[str, np.ndarray | int]:
    """Counts, for each keypoint, in which way it was estimated.

    Predictions, best score first, take the free labelled person of their picture that they fit
    best, from an OKS of `FOUND`. Each labelled keypoint of these people is of one kind: good or
    jitter by its similarity to its own place; below `NEAR` there, inversion or swap, whichever
    place is nearest and at least `NEAR` similar; else miss, as is one that was not found.

    Args:
        annotation_file: path of a COCO-format file, or its contents.
        results: as for `datasets.evaluate.keypoint_stats`.
        skeleton: of the people.

    Returns:
        "counts" (K, 5) int of `KINDS`; "people", "found": labelled people, and those of them that
        a prediction took.
    """
    contents = read_annotations(annotation_file)
    found = matching(contents, results, skeleton, FOUND)
    kinds = _kinds(found, skeleton)
    labelled = found.labels[found.columns][..., 2] > 0
    counts = np.stack([((kinds == i) & labelled).sum(axis=0) for i in range(len(KINDS))], axis=1)
    people = int((found.labels[..., 2] > 0).any(axis=1).sum())
    return {"counts": counts, "people": people, "found": len(found.rows)}


def _kinds(found: Matching, skeleton: Skeleton) -> np.ndarray:
    """(m, K) index into `KINDS` of every keypoint of every pair."""
    order = list(skeleton.flip_order)
    paired = np.array(order) != np.arange(len(order))
    kinds = np.zeros((len(found.rows), len(order)), dtype=np.int64)
    for pair, (row, column) in enumerate(zip(found.rows, found.columns, strict=True)):
        points, area = found.points[row], found.area[column]
        own = found.labels[column]
        others = np.flatnonzero(found.image_of == found.image_of[column])
        others = found.labels[others[others != column]]  # (o, K, 3)
        right = _similarity(points, own, area, skeleton)
        inverted = _similarity(points, own[order], area, skeleton) * paired
        swapped = np.concatenate(
            [
                _similarity(points, others, area, skeleton),
                _similarity(points, others[:, order], area, skeleton),
                np.zeros((1, len(order))),
            ]
        ).max(axis=0)
        wrong = np.where(
            np.maximum(inverted, swapped) < NEAR,
            KINDS.index("miss"),
            np.where(inverted >= swapped, KINDS.index("inversion"), KINDS.index("swap")),
        )
        near = np.where(right > GOOD, KINDS.index("good"), KINDS.index("jitter"))
        found_as = np.where(right >= NEAR, near, wrong)
        kinds[pair] = np.where(found.visible[row], found_as, KINDS.index("miss"))
    return kinds


def _similarity(
    points: np.ndarray, labels: np.ndarray, area: float, skeleton: Skeleton
) -> np.ndarray:
    """OKS's term of (K, 2) points at (..., K, 3) labels; 0 where there is no label."""
    squared = ((points - labels[..., :2]) ** 2).sum(axis=-1)
    scale = 2 * max(area, 1e-12) * (2 * np.array(skeleton.sigmas)) ** 2
    return np.exp(-squared / scale) * (labels[..., 2] > 0)


def format_errors(errors: Mapping, skeleton: Skeleton) -> str:
    """The table in percent of the labelled keypoints of people who were found."""
    counts = errors["counts"]
    rows = [("all keypoints", counts.sum(axis=0)), *zip(skeleton.names, counts, strict=True)]
    width = max(len(name) for name, _ in rows)
    lines = [
        f"of {errors['people']} labelled people, {errors['found']} were found (OKS above {FOUND}); "
        "their keypoints, in %:",
        " ".join([" " * width, *(f"{kind:>9}" for kind in KINDS), f"{'number':>9}"]),
    ]
    for name, row in rows:
        share = 100 * row / max(1, row.sum())
        numbers = [f"{value:9.1f}" for value in share] + [f"{row.sum():9d}"]
        lines.append(" ".join([name.ljust(width), *numbers]))
    return "\n".join(lines)


def save_errors(path: str | Path, errors: Mapping, skeleton: Skeleton) -> None:
    """Writes the table as a picture: a bar per keypoint, the most mistaken first."""
    from matplotlib.figure import Figure

    counts = errors["counts"].astype(float)
    share = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    order = np.argsort(share[:, 0], kind="stable")[::-1]
    figure = Figure(figsize=(9, 1.6 + 0.24 * len(order)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(order))
    for i, (kind, colour) in enumerate(
        zip(KINDS, ("#d5d9de", "#f2c14e", "#b8408f", "#2563b0", "#d9432b"), strict=True)
    ):
        axes.barh(range(len(order)), share[order, i], left=left, color=colour, label=kind)
        left += share[order, i]
    axes.set_yticks(range(len(order)), [skeleton.names[i] for i in order], fontsize=8)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the labelled keypoints of people who were found", fontsize=9)
    axes.set_title(f"{errors['found']} of {errors['people']} people found", fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(KINDS), frameon=False, fontsize=9)
    figure.savefig(path, format="png", dpi=130)
