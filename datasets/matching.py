"""Predictions and labels as entries of COCO's format, and who of them belongs to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from datasets.annotations import area_array, box_array, keypoint_array, with_keypoints
from grouppose.errors import InputError
from grouppose.keypoints import BOX_SHARE, object_keypoint_similarity
from grouppose.skeleton import Skeleton

PERSON = 1  # the class that every pose has, and COCO's category id
CROWDPOSE_COUNTED = 12  # keypoints that CrowdPose counts as labels: all but head and neck


@dataclass(frozen=True)
class Matching:
    """n predictions, best score first, T labelled people, and the m pairs of them.

    Attributes:
        points: (n, K, 2) predicted x, y.
        visible: (n, K) bool; False: that keypoint was not found.
        source: (n,) place of each prediction among the results.
        labels: (T, K, 3) x, y, v of the people who are no crowd.
        area: (T,) of these.
        image_of: (T,) image id of these.
        rows, columns: (m,) prediction and person of each pair.
        similarity: (m,) of each pair.
    """

    points: np.ndarray
    visible: np.ndarray
    source: np.ndarray
    labels: np.ndarray
    area: np.ndarray
    image_of: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    similarity: np.ndarray


def matching(
    contents: Mapping,
    results: Sequence[Mapping],
    skeleton: Skeleton,
    threshold: float,
    either_side: bool = False,
) -> Matching:
    """Gives each prediction, best score first, the free person of its picture that it fits best.

    Args:
        contents: of the annotation file.
        results: as for `datasets.evaluate.keypoint_stats`.
        skeleton: of the people.
        threshold: similarity (OKS) that a pair must exceed.
        either_side: similarity is the higher of that to the labels and that to the labels with
            left and right exchanged.
    """
    num_keypoints = skeleton.num_keypoints
    people = [e for e in truth_entries(contents, num_keypoints, "coco") if not e["iscrowd"]]
    found = detections(contents, results, num_keypoints)
    found.sort(key=lambda entry: -entry["score"])
    labels = keypoint_array(people, num_keypoints)
    points = np.array([entry["keypoints"] for entry in found]).reshape(-1, num_keypoints, 3)
    points, visible = points[..., :2], points[..., 2] > 0
    visible |= ~visible.any(axis=1, keepdims=True)  # files without visibilities have 0 throughout
    area = np.array([entry["area"] for entry in people])
    pairs: list[tuple[int, int, float]] = []
    columns_of = _rows_by_image(people)
    for image_id, rows in _rows_by_image(found).items():
        columns = columns_of.get(image_id, [])
        if columns:
            alike = _similarity(points[rows], labels[columns], area[columns], skeleton, either_side)
            pairs += [(rows[i], columns[j], alike[i, j]) for i, j in _greedy(alike, threshold)]
    rows, columns, similarity = np.array(pairs, dtype=np.float64).reshape(-1, 3).T
    return Matching(
        points,
        visible,
        np.array([entry["id"] - 1 for entry in found], dtype=np.int64),
        labels,
        area,
        np.array([entry["image_id"] for entry in people], dtype=np.int64),
        rows.astype(np.int64),
        columns.astype(np.int64),
        similarity,
    )


def _rows_by_image(entries: list[dict]) -> dict[int, list[int]]:
    rows = {}
    for row, entry in enumerate(entries):
        rows.setdefault(entry["image_id"], []).append(row)
    return rows


def _similarity(
    points: np.ndarray,
    labels: np.ndarray,
    area: np.ndarray,
    skeleton: Skeleton,
    either_side: bool,
) -> np.ndarray:
    """(n, T) similarity of (n, K, 2) points to (T, K, 3) labels."""
    points, labels = torch.from_numpy(points), torch.from_numpy(labels)
    sides = [points, points[:, list(skeleton.flip_order)]] if either_side else [points]
    both = torch.stack(sides)
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


def _greedy(similarity: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """(n, T), rows in order of preference -> pairs (row, column), each used once."""
    similarity = similarity.copy()
    matches = []
    for row in np.flatnonzero(similarity.max(axis=1) > threshold):
        column = int(similarity[row].argmax())
        if similarity[row, column] > threshold:
            matches.append((int(row), column))
            similarity[:, column] = -1
    return matches


def num_keypoints_of(contents: Mapping) -> int:
    """K, by the annotations, else by the categories."""
    for entry in with_keypoints(contents):
        if isinstance(entry["keypoints"], list):
            return len(entry["keypoints"]) // 3
    for category in contents["categories"]:
        if category.get("keypoints"):
            return len(category["keypoints"])
    raise InputError("neither annotations nor categories have 'keypoints'; expected a pose set")


def detections(
    contents: Mapping,
    results: Sequence[Mapping],
    num_keypoints: int,
    by_category: bool = False,
) -> list[dict]:
    """Checked results as entries of COCO's format; the area is that around the keypoints.

    Args:
        by_category: keep their category; otherwise everybody is a person.
    """
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
            "category_id": result["category_id"] if by_category else PERSON,
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


def truth_entries(
    contents: Mapping, num_keypoints: int, protocol: str, by_category: bool = False
) -> list[dict]:
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
            "category_id": entry["category_id"] if by_category else PERSON,
            "keypoints": entry["keypoints"],
            "num_keypoints": entry.get("num_keypoints", labelled[row]),
            "iscrowd": int(entry.get("iscrowd", 0)),
            "bbox": boxes[row],
            "area": area[row],
        }
        for row, entry in enumerate(entries)
    ]
