"""Average precision of keypoints, by the protocols of COCO, CrowdPose and OCHuman."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.annotations import read_annotations, skeleton_in
from datasets.matching import PERSON, detections, matching, num_keypoints_of, truth_entries
from grouppose.errors import InputError
from grouppose.skeleton import Skeleton

Contents = str | Path | Mapping

COCO_STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
CROWDPOSE_SPLITS = ("AP_easy", "AP_medium", "AP_hard")
STATS = {
    "coco": COCO_STATS,
    "crowdpose": ("AP", "AP50", "AP75", "AR", "AR50", "AR75", *CROWDPOSE_SPLITS),
    "ochuman": COCO_STATS,
}
EASY, HARD = 0.2, 0.8  # crowdIndex below which a picture is easy, from which it is hard


def keypoint_stats(
    annotation_file: Contents,
    results: Sequence[Mapping],
    protocol: str = "coco",
    evaluator: str = "faster",
    skeleton: Skeleton | None = None,
    by_category: bool = False,
) -> dict[str, float]:
    """Scores predicted poses against annotations; prints nothing.

    All labelled categories count as one, unless `by_category`. Results of another category than
    the file's or 1 (the pose class) are left out, as COCO's own tool does.

    Args:
        annotation_file: path of a COCO-format file, or its contents.
        results: dicts with image_id, category_id, keypoints [x, y, v] * K in pixels of the
            original picture, and score. Everything else in them is ignored.
        protocol: "coco", "crowdpose" or "ochuman" (COCO's).
        evaluator: "faster" (faster-coco-eval) or "pycocotools"; both give the same numbers.
        skeleton: whose sigmas count; None: the file's, see `datasets.annotations.skeleton_in`.
        by_category: score each category on its own and give the mean, as COCO does of objects.

    Returns:
        AP, AP50, ... in [0, 1]; -1 where the annotations hold nothing to find (of that size, or
        in that split); all 0 without a result.
    """
    if protocol not in STATS:
        raise InputError(f"protocol is {protocol!r}, expected one of {', '.join(STATS)}")
    if evaluator not in ("faster", "pycocotools"):
        raise InputError(f"evaluator is {evaluator!r}, expected faster or pycocotools")
    contents = read_annotations(annotation_file)
    splits = _crowdpose_splits(contents) if protocol == "crowdpose" else []
    scorer = filled_scorer(contents, results, protocol, evaluator, skeleton, by_category)
    if scorer is None:
        return dict.fromkeys(STATS[protocol], 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        stats = _summary(scorer, [entry["id"] for entry in contents["images"]])
        for name, image_ids in zip(CROWDPOSE_SPLITS, splits, strict=False):
            stats[name] = round(_summary(scorer, image_ids)["AP"], 4)
    return {name: stats[name] for name in STATS[protocol]}


def _crowdpose_splits(contents: Mapping) -> list[list[int]]:
    """Image ids of the easy, the medium and the hard pictures."""
    splits = [[], [], []]
    for entry in contents["images"]:
        crowding = entry.get("crowdIndex")
        if not isinstance(crowding, int | float):
            raise InputError(
                f"image {entry['id']} has crowdIndex {crowding!r}, expected a number; "
                "use CrowdPose's annotations or the protocol 'coco'"
            )
        splits[(crowding >= EASY) + (crowding >= HARD)].append(entry["id"])
    return splits


def filled_scorer(
    contents: Mapping,
    results: Sequence[Mapping],
    protocol: str,
    evaluator: str,
    skeleton: Skeleton | None = None,
    by_category: bool = False,
) -> Any:
    """The package's evaluator with labels and results in it; None without a result."""
    num_keypoints = num_keypoints_of(contents)
    skeleton = skeleton or skeleton_in(contents, num_keypoints)
    found = detections(contents, results, num_keypoints, by_category)
    if not found:
        return None
    truth = truth_entries(contents, num_keypoints, protocol, by_category)
    if evaluator == "faster":
        from faster_coco_eval.core.coco import COCO
        from faster_coco_eval.core.faster_eval_api import COCOeval_faster as COCOeval

        silent = {"print_function": lambda *_: None}
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        silent = {}
    categories = sorted({entry["category_id"] for entry in truth}) or [PERSON]
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for entries in (truth, found):
            side = COCO()
            side.dataset = {
                "images": [{"id": entry["id"]} for entry in contents["images"]],
                "annotations": entries,
                "categories": [{"id": number, "name": str(number)} for number in categories],
            }
            side.createIndex()
            sides.append(side)
        scorer = COCOeval(*sides, iouType="keypoints", **silent)
    scorer.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
    scorer.params.catIds = categories
    return scorer


def _summary(scorer, image_ids: list[int]) -> dict[str, float]:
    """Means over the evaluator's tables, -1 for a table without an entry."""
    scorer.params.imgIds = image_ids
    scorer.evaluate()
    scorer.accumulate()
    tables = {"AP": scorer.eval["precision"][..., 0], "AR": scorer.eval["recall"][..., 0]}
    stats = {}
    for name, table in tables.items():  # thresholds first, areas (all, medium, large) last
        selections = {
            "": table[..., 0],
            "50": table[:1, ..., 0],
            "75": table[5:6, ..., 0],
            "M": table[..., 1],
            "L": table[..., 2],
        }
        for suffix, values in selections.items():
            values = values[values > -1]
            stats[name + suffix] = float(np.mean(values)) if values.size else -1.0
    return stats


def to_results(
    image_ids: Sequence[int | Tensor],
    people: Sequence[Mapping],
    category_ids: Sequence[int] = (PERSON,),
    order: Sequence[int] = (),
) -> list[dict]:
    """Predicted people as entries of COCO's results format.

    Args:
        image_ids: B.
        people: B dicts with scores (n,), labels (n,), keypoints (n, K, 2) in pixels of the
            original picture; where they have a confidence (n, K), keypoints of 0 are missing.
        category_ids: of the labels 1, 2, ...; who has label 0 is nobody and is left out.
        order: the keypoint at each place of the results; (): the same.

    Returns:
        one dict per person; visibility is 1, nothing predicts it; x, y and v of a missing keypoint
        are 0.
    """
    results = []
    for image_id, found in zip(image_ids, people, strict=True):
        keypoints = found["keypoints"].detach().cpu().double()
        visible = torch.ones_like(keypoints[..., :1])
        if "confidence" in found:
            visible = (found["confidence"].detach().cpu() != 0).double()[..., None]
        keypoints = torch.cat([keypoints.where(visible > 0, 0), visible], -1)
        if order:
            keypoints = keypoints[:, list(order)]
        keypoints = keypoints.flatten(1)
        rows = zip(
            found["labels"].tolist(), keypoints.tolist(), found["scores"].tolist(), strict=True
        )
        results += [
            {
                "image_id": int(image_id),
                "category_id": category_ids[label - 1],
                "keypoints": points,
                "score": score,
            }
            for label, points, score in rows
            if 0 < label <= len(category_ids)
        ]
    return results


def format_stats(stats: Mapping[str, float]) -> str:
    """Names above numbers in percent, as papers print them; a dash for nothing to find."""
    numbers = [f"{100 * value:.1f}" if value >= 0 else "-" for value in stats.values()]
    widths = [max(len(name), len(number)) for name, number in zip(stats, numbers, strict=True)]
    lines = (
        "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        for line in (stats, numbers)
    )
    return "\n".join(lines)


def swap_rate(
    annotation_file: Contents, results: Sequence[Mapping], skeleton: Skeleton | None = None
) -> float:
    """How often left and right are confused on people that were found.

    Each prediction, best score first, goes to the free labelled person of its picture that it fits
    best, by the higher of two similarities (OKS): to the labels, and to the labels with left and
    right exchanged; it must be above 0.5. On the people matched, every pair (two wrists, ...) with
    both sides labelled and found counts; it is swapped where the summed distance of its two
    predicted points is smaller to the exchanged labels than to the labels.

    Args:
        annotation_file: path of a COCO-format file, or its contents.
        results: as for `keypoint_stats`.
        skeleton: of the people; None: the file's.

    Returns:
        swapped pairs / pairs, in [0, 1]; 0 if there is no pair.
    """
    contents = read_annotations(annotation_file)
    skeleton = skeleton or skeleton_in(contents, num_keypoints_of(contents))
    found = matching(contents, results, skeleton, 0.5, either_side=True)
    pairs = np.array(skeleton.flip_pairs, dtype=np.int64).reshape(-1, 2)
    points = found.points[found.rows][:, pairs]  # (matches, pairs, 2, 2)
    labels = found.labels[found.columns][:, pairs]
    counted = (labels[..., 2] > 0).all(axis=-1)
    counted &= found.visible[found.rows][:, pairs].all(axis=-1)
    straight = np.linalg.norm(points - labels[..., :2], axis=-1).sum(axis=-1)
    exchanged = np.linalg.norm(points - labels[:, :, ::-1, :2], axis=-1).sum(axis=-1)
    return float((exchanged < straight)[counted].mean()) if counted.any() else 0.0
