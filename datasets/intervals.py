"""How far AP would vary with other pictures of the same kind: bootstrap intervals."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from datasets.annotations import read_annotations
from datasets.evaluate import Contents, filled_scorer
from grouppose.skeleton import Skeleton

LEVEL = 0.95
SEED = 0  # of the drawing
NAMES = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}  # of the ten thresholds


class Interval(NamedTuple):
    """Between which values a statistic lies in 95 % of the samples."""

    low: float
    high: float


class _Matches(NamedTuple):
    """The evaluation of one category, predictions best first.

    right, ignored: (10, D) bool at each threshold. picture: (D,) of each prediction. labelled:
    (I,) people to find per picture.
    """

    right: np.ndarray
    ignored: np.ndarray
    picture: np.ndarray
    labelled: np.ndarray


def bootstrap(
    annotation_file: Contents,
    results: Sequence[Mapping],
    samples: int,
    protocol: str = "coco",
    skeleton: Skeleton | None = None,
    by_category: bool = False,
) -> dict[str, Interval]:
    """95 % intervals of AP, AP50 and AP75 over pictures drawn with replacement.

    People are matched once; a sample counts the outcome of each picture as often as it drew it.

    Args:
        annotation_file, results, protocol, skeleton, by_category: as for
            `datasets.evaluate.keypoint_stats`.
        samples: how often pictures are drawn; the same ones each time.

    Returns:
        Percentile intervals; empty without a result or without anybody to find.
    """
    contents = read_annotations(annotation_file)
    categories = _matches(contents, results, protocol, skeleton, by_category)
    if not categories:
        return {}
    pictures = len(categories[0].labelled)
    generator = np.random.default_rng(SEED)
    drawn = []
    for _ in range(samples):
        times = np.bincount(generator.integers(pictures, size=pictures), minlength=pictures)
        drawn.append(weighted_precision(categories, times))
    drawn = np.array(drawn)  # (samples, 10)
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return {
        name: Interval(*np.nanquantile(drawn[:, part].mean(axis=1), ends).tolist())
        for name, part in NAMES.items()
    }


def _matches(
    contents: Mapping,
    results: Sequence[Mapping],
    protocol: str,
    skeleton: Skeleton | None,
    by_category: bool,
) -> list[_Matches]:
    """COCO's own tool matches; its record per picture is what the faster one does not give."""
    scorer = filled_scorer(contents, results, protocol, "pycocotools", skeleton, by_category)
    if scorer is None:
        return []
    images = scorer.params.imgIds = [entry["id"] for entry in contents["images"]]
    scorer.params.areaRng, scorer.params.areaRngLbl = scorer.params.areaRng[:1], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        scorer.evaluate()
    place = {number: i for i, number in enumerate(scorer.params.imgIds)}
    found = []
    for category in scorer.params.catIds:
        records = [r for r in scorer.evalImgs if r is not None and r["category_id"] == category]
        labelled = np.zeros(len(images), dtype=np.int64)
        for record in records:
            labelled[place[record["image_id"]]] = np.count_nonzero(
                np.array(record["gtIgnore"]) == 0
            )
        if labelled.any():
            found.append(_one_category(records, labelled, place))
    return found


def _one_category(
    records: Sequence[Mapping], labelled: np.ndarray, place: Mapping[int, int]
) -> _Matches:
    scores = np.concatenate([np.array(r["dtScores"], dtype=float) for r in records])
    order = np.argsort(-scores, kind="mergesort")  # as COCO's tool sorts
    right = np.concatenate([r["dtMatches"] for r in records], axis=1)[:, order] > 0
    ignored = np.concatenate([r["dtIgnore"] for r in records], axis=1)[:, order] > 0
    pictures = [np.full(len(r["dtScores"]), place[r["image_id"]]) for r in records]
    return _Matches(right, ignored, np.concatenate(pictures)[order], labelled)


def weighted_precision(categories: Sequence[_Matches], times: np.ndarray) -> np.ndarray:
    """(10,) average precision at each threshold where picture i counts times[i] times.

    It is that of an evaluation of so many copies of each picture, by COCO's rules.
    """
    per_category = []
    for matches in categories:
        people = int((matches.labelled * times).sum())
        if people:
            per_category.append(_precision(matches, times[matches.picture], people))
    return np.mean(per_category, axis=0) if per_category else np.full(10, np.nan)


def _precision(matches: _Matches, weight: np.ndarray, people: int) -> np.ndarray:
    wanted = np.linspace(0, 1, 101)
    counted = weight * ~matches.ignored
    right = np.cumsum(counted * matches.right, axis=1)
    total = np.cumsum(counted, axis=1)
    precision = right / np.maximum(total, np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    means = np.zeros(len(right))
    for i, recall in enumerate(right / people):
        at = np.searchsorted(recall, wanted, side="left")
        reached = at < recall.size
        means[i] = precision[i, at[reached]].sum() / wanted.size
    return means
