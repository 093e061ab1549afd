"""Average precision of keypoints, by the protocols of COCO, CrowdPose and OCHuman."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.annotations import (
    area_array,
    box_array,
    keypoint_array,
    read_annotations,
    skeleton_in,
    with_keypoints,
)
from grouppose.errors import InputError
from grouppose.keypoints import BOX_SHARE, object_keypoint_similarity
from grouppose.skeleton import Skeleton

Contents = str | Path | Mapping
PERSON = 1  # the class that every pose has, and COCO's category id

COCO_STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
CROWDPOSE_SPLITS = ("AP_easy", "AP_medium", "AP_hard")
STATS = {
    "coco": COCO_STATS,
    "crowdpose": ("AP", "AP50", "AP75", "AR", "AR50", "AR75", *CROWDPOSE_SPLITS),
    "ochuman": COCO_STATS,
}
EASY, HARD = 0.2, 0.8  # crowdIndex below which a picture is easy, from which it is hard
CROWDPOSE_COUNTED = 12  # keypoints that CrowdPose counts as labels: all but head and neck


def keypoint_stats(
    annotation_file: Contents,
    results: Sequence[Mapping],
    protocol: str = "coco",
    evaluator: str = "faster",
) -> dict[str, float]:
    """Scores predicted poses against annotations; prints nothing.

    All labelled categories count as one, since there is one pose head. Results of another
    category than the file's or 1 (the pose class) are left out, as COCO's own tool does.

    Args:
        annotation_file: path of a COCO-format file, or its contents.
        results: dicts with image_id, category_id, keypoints [x, y, v] * K in pixels of the
            original picture, and score. Everything else in them is ignored.
        protocol: "coco", "crowdpose" or "ochuman" (COCO's).
        evaluator: "faster" (faster-coco-eval) or "pycocotools"; both give the same numbers.

    Returns:
        AP, AP50, ... in [0, 1]; -1 where the annotations hold nothing to find (of that size, or
        in that split); all 0 without a result.
    """
    if protocol not in STATS:
        raise InputError(f"protocol is {protocol!r}, expected one of {', '.join(STATS)}")
    if evaluator not in ("faster", "pycocotools"):
        raise InputError(f"evaluator is {evaluator!r}, expected faster or pycocotools")
    contents = read_annotations(annotation_file)
    num_keypoints = _num_keypoints(contents)
    sigmas = np.array(skeleton_in(contents, num_keypoints).sigmas)
    splits = _crowdpose_splits(contents) if protocol == "crowdpose" else []
    detections = _detections(contents, results, num_keypoints)
    if not detections:
        return dict.fromkeys(STATS[protocol], 0.0)
    truth = _truth(contents, num_keypoints, protocol)
    images = [{"id": entry["id"]} for entry in contents["images"]]
    with contextlib.redirect_stdout(io.StringIO()):
        scorer = _scorer(images, truth, detections, sigmas, evaluator)
        stats = _summary(scorer, [entry["id"] for entry in images])
        for name, image_ids in zip(CROWDPOSE_SPLITS, splits, strict=False):
            stats[name] = round(_summary(scorer, image_ids)["AP"], 4)
    return {name: stats[name] for name in STATS[protocol]}


def _num_keypoints(contents: Mapping) -> int:
    for entry in with_keypoints(contents):
        if isinstance(entry["keypoints"], list):
            return len(entry["keypoints"]) // 3
    for category in contents["categories"]:
        if category.get("keypoints"):
            return len(category["keypoints"])
    raise InputError("neither annotations nor categories have 'keypoints'; expected a pose set")


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


def _detections(contents: Mapping, results: Sequence[Mapping], num_keypoints: int) -> list[dict]:
    """Checked results as entries of COCO's format; the area is that around the keypoints."""
    results = _of_persons(contents, results)
    keypoints = _result_keypoints(results, num_keypoints)
    known = {entry["id"] for entry in contents["images"]}
    for result in results:
        if result["image_id"] not in known:
            raise InputError(
                f"a result is for image {result['image_id']}, which the annotations do not list; "
                "score it against the annotations of the pictures that were predicted"
            )
    points = keypoints.reshape(len(results), num_keypoints, 3)[..., :2]
    low, sides = points.min(axis=1, initial=np.inf), np.ptp(points, axis=1)
    boxes = np.concatenate([low, sides], axis=1).tolist()
    area = sides.prod(axis=1).tolist()
    return [
        {
            "id": row + 1,
            "image_id": result["image_id"],
            "category_id": PERSON,
            "keypoints": keypoints[row],
            "score": float(result["score"]),
            "bbox": boxes[row],
            "area": area[row],
            "iscrowd": 0,
        }
        for row, result in enumerate(results)
    ]


def _of_persons(contents: Mapping, results: Sequence[Mapping]) -> list[Mapping]:
    needed = ("image_id", "category_id", "keypoints", "score")
    for row, result in enumerate(results):
        missing = [key for key in needed if key not in result]
        if missing:
            raise InputError(f"result {row} has no '{missing[0]}'; expected {', '.join(needed)}")
    counted = {entry["id"] for entry in contents["categories"]} | {PERSON}
    return [result for result in results if result["category_id"] in counted]


def _result_keypoints(results: Sequence[Mapping], num_keypoints: int) -> np.ndarray:
    """(n, 3 K) float64; refuses other lengths and, with scores, numbers that are not finite."""
    try:
        for result in results:
            if len(result["keypoints"]) != 3 * num_keypoints:
                raise InputError(
                    f"a result for image {result['image_id']} has {len(result['keypoints'])} "
                    f"numbers as keypoints, expected {3 * num_keypoints} (x, y, v of "
                    f"{num_keypoints}); is num_body_points the data set's?"
                )
        keypoints = np.array([result["keypoints"] for result in results], dtype=np.float64)
        scores = np.array([result["score"] for result in results], dtype=np.float64)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a result has something else than numbers as score or keypoints ({error}); "
            "expected a number and a list of numbers"
        ) from error
    keypoints = keypoints.reshape(len(results), 3 * num_keypoints)
    wrong = ~(np.isfinite(keypoints).all(axis=1) & np.isfinite(scores))
    if wrong.any():
        raise InputError(
            f"a result for image {results[int(wrong.argmax())]['image_id']} has a score or "
            "keypoint that is not finite; expected numbers: has the training diverged?"
        )
    return keypoints


def _truth(contents: Mapping, num_keypoints: int, protocol: str) -> list[dict]:
    """Annotations as entries of COCO's format, numbered from 1: id 0 would count as no match."""
    entries = with_keypoints(contents)
    keypoints = keypoint_array(entries, num_keypoints)
    boxes = box_array(entries)
    area = boxes[:, 3] * boxes[:, 2] * BOX_SHARE
    if protocol != "crowdpose":
        area = area_array(entries, area)
    counted = CROWDPOSE_COUNTED if protocol == "crowdpose" else num_keypoints
    labelled = (keypoints[:, :counted, 2] > 0).sum(axis=1).tolist()
    area, boxes = area.tolist(), boxes.tolist()
    return [
        {
            "id": row + 1,
            "image_id": entry["image_id"],
            "category_id": PERSON,
            "keypoints": entry["keypoints"],
            "num_keypoints": entry.get("num_keypoints", labelled[row]),
            "iscrowd": int(entry.get("iscrowd", 0)),
            "bbox": boxes[row],
            "area": area[row],
        }
        for row, entry in enumerate(entries)
    ]


def _scorer(
    images: list[dict],
    truth: list[dict],
    detections: list[dict],
    sigmas: np.ndarray,
    evaluator: str,
):
    """The evaluator of the package, filled."""
    if evaluator == "faster":
        from faster_coco_eval.core.coco import COCO
        from faster_coco_eval.core.faster_eval_api import COCOeval_faster as COCOeval

        silent = {"print_function": lambda *_: None}
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        silent = {}
    sides = []
    for entries in (truth, detections):
        side = COCO()
        side.dataset = {
            "images": images,
            "annotations": entries,
            "categories": [{"id": PERSON, "name": "person"}],
        }
        side.createIndex()
        sides.append(side)
    scorer = COCOeval(*sides, iouType="keypoints", **silent)
    scorer.params.kpt_oks_sigmas = sigmas
    scorer.params.catIds = [PERSON]
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


def to_results(image_ids: Sequence[int | Tensor], people: Sequence[Mapping]) -> list[dict]:
    """Predicted people as entries of COCO's results format.

    Args:
        image_ids: B.
        people: B dicts with scores (n,), labels (n,), keypoints (n, K, 2) in pixels of the
            original picture.

    Returns:
        one dict per person; visibility is 1 throughout, nothing predicts it.
    """
    results = []
    for image_id, found in zip(image_ids, people, strict=True):
        keypoints = found["keypoints"].detach().cpu().double()
        keypoints = torch.cat([keypoints, torch.ones_like(keypoints[..., :1])], -1).flatten(1)
        rows = zip(
            found["labels"].tolist(), keypoints.tolist(), found["scores"].tolist(), strict=True
        )
        results += [
            {"image_id": int(image_id), "category_id": label, "keypoints": points, "score": score}
            for label, points, score in rows
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


def swap_rate(annotation_file: Contents, results: Sequence[Mapping]) -> float:
    """How often left and right are confused on people that were found.

    Each prediction, best score first, goes to the free labelled person of its picture that it fits
    best, by the higher of two similarities (OKS): to the labels, and to the labels with left and
    right exchanged; it must be above 0.5. On the people matched, every pair (two wrists, ...) with
    both sides labelled counts; it is swapped where the summed distance of its two predicted points
    is smaller to the exchanged labels than to the labels.

    Args:
        annotation_file: path of a COCO-format file, or its contents.
        results: as for `keypoint_stats`.

    Returns:
        swapped pairs / pairs, in [0, 1]; 0 if there is no pair.
    """
    contents = read_annotations(annotation_file)
    num_keypoints = _num_keypoints(contents)
    skeleton = skeleton_in(contents, num_keypoints)
    people = [e for e in _truth(contents, num_keypoints, "coco") if not e["iscrowd"]]
    found = _detections(contents, results, num_keypoints)
    found.sort(key=lambda entry: -entry["score"])
    labels = keypoint_array(people, num_keypoints)
    points = np.array([entry["keypoints"] for entry in found]).reshape(-1, num_keypoints, 3)
    points = points[..., :2]
    area = np.array([entry["area"] for entry in people])
    matches = []
    columns_of = _rows_by_image(people)
    for image_id, rows in _rows_by_image(found).items():
        columns = columns_of.get(image_id, [])
        if columns:
            similarity = _best_similarity(points[rows], labels[columns], area[columns], skeleton)
            matches += [(rows[i], columns[j]) for i, j in _matches(similarity)]
    rows, columns = np.array(matches, dtype=np.int64).reshape(-1, 2).T
    pairs = np.array(skeleton.flip_pairs, dtype=np.int64).reshape(-1, 2)
    points, labels = points[rows][:, pairs], labels[columns][:, pairs]  # (matches, pairs, 2, ...)
    counted = (labels[..., 2] > 0).all(axis=-1)
    straight = np.linalg.norm(points - labels[..., :2], axis=-1).sum(axis=-1)
    exchanged = np.linalg.norm(points - labels[:, :, ::-1, :2], axis=-1).sum(axis=-1)
    return float((exchanged < straight)[counted].mean()) if counted.any() else 0.0


def _rows_by_image(entries: list[dict]) -> dict[int, list[int]]:
    rows = {}
    for row, entry in enumerate(entries):
        rows.setdefault(entry["image_id"], []).append(row)
    return rows


def _best_similarity(
    points: np.ndarray, labels: np.ndarray, area: np.ndarray, skeleton: Skeleton
) -> np.ndarray:
    """(n, T) similarity of (n, K, 2) points to (T, K, 3) labels, or to their mirrored names."""
    points, labels = torch.from_numpy(points), torch.from_numpy(labels)
    both = torch.stack([points, points[:, list(skeleton.flip_order)]])
    return (
        object_keypoint_similarity(
            both[:, :, None],
            labels[..., :2],
            labels[..., 2] > 0,
            torch.from_numpy(area),
            torch.tensor(skeleton.sigmas, dtype=torch.float64),
        )
        .amax(0)
        .numpy()
    )


def _matches(similarity: np.ndarray, threshold: float = 0.5) -> list[tuple[int, int]]:
    """(n, T), rows in order of preference -> pairs (row, column), each used once."""
    similarity = similarity.copy()
    matches = []
    for row in np.flatnonzero(similarity.max(axis=1) > threshold):
        column = int(similarity[row].argmax())
        if similarity[row, column] > threshold:
            matches.append((int(row), column))
            similarity[:, column] = -1
    return matches
