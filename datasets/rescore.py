"""What a rescoring network learns: how well people that were found fit the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from datasets.annotations import keypoint_array, read_annotations, skeleton_in
from datasets.evaluate import Contents, to_results
from datasets.matching import detections, matching, num_keypoints_of, truth_entries
from grouppose.people import People
from grouppose.skeleton import Skeleton

BEST = 20  # results of a picture that count


def similarity_to_own(
    annotation_file: Contents,
    image_ids: Sequence[int],
    people: Sequence[People],
    skeleton: Skeleton,
    order: Sequence[int] = (),
) -> Tensor:
    """The OKS of everybody with the labelled person that is theirs; who gets nobody has 0.

    People are given to predictions as for AP, best score first, whatever their class.

    Args:
        annotation_file: path of a COCO-format file, or its contents.
        image_ids: B.
        people: B.
        skeleton: of the file's people.
        order: of the file's keypoints among those of `people`, see `to_results`.

    Returns:
        (n,) of all people, picture after picture.
    """
    persons = [{**p, "labels": torch.ones_like(p["labels"])} for p in people]
    contents: Mapping = read_annotations(annotation_file)
    found = matching(contents, to_results(image_ids, persons, order=order), skeleton, 0.0)
    target = torch.zeros(sum(len(p["scores"]) for p in people))
    target[found.source[found.rows]] = torch.from_numpy(found.similarity).float()
    return target


def scored_results(
    image_ids: Sequence[int], people: Sequence[People], order: Sequence[int] = ()
) -> list[dict]:
    """`to_results` with the confidence of each keypoint as its third number."""
    results = to_results(image_ids, people, order=order)
    confidence = torch.cat([p["confidence"] for p in people]).double()
    confidence = confidence[:, list(order)] if order else confidence
    for result, row in zip(results, confidence.tolist(), strict=True):
        result["keypoints"][2::3] = row
    return results


def examples(
    annotation_file: Contents,
    results: Sequence[Mapping],
    skeleton: Skeleton | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What a rescoring network is trained on, as the published bottom-up networks do it.

    Of every picture with a person annotated, the 20 best results count. Where nobody of the picture
    has a labelled keypoint, a result is compared with those by COCO's distance to the doubled box,
    and then an OKS of 1 counts as 0: it may well be one of them, but how well it fits is unknown.

    Args:
        annotation_file: path of a COCO-format file, or its contents.
        results: dicts with image_id, category_id, keypoints [x, y, confidence] * K in pixels of
            the original picture, and score.
        skeleton: whose sigmas count; None: the file's.

    Returns:
        keypoints (n, K, 2) and confidence (n, K), float32; target (n,) float64, the largest OKS.
    """
    contents = read_annotations(annotation_file)
    count = num_keypoints_of(contents)
    sigmas = np.array((skeleton or skeleton_in(contents, count)).sigmas)
    people, found = {}, {}
    for entry in truth_entries(contents, count, "coco"):
        people.setdefault(entry["image_id"], []).append(entry)
    for entry in detections(contents, results, count):
        found.setdefault(entry["image_id"], []).append(entry)
    poses, targets = [np.empty((0, count, 3))], [np.empty(0)]
    for image in contents["images"]:
        persons, own = people.get(image["id"]), found.get(image["id"])
        if persons and own:
            best = sorted(own, key=lambda entry: -entry["score"])[:BEST]
            poses.append(np.array([e["keypoints"] for e in best]).reshape(-1, count, 3))
            targets.append(_targets(poses[-1][..., :2], persons, sigmas))
    poses = torch.from_numpy(np.concatenate(poses)).float()
    return poses[..., :2], poses[..., 2], torch.from_numpy(np.concatenate(targets))


def _targets(points: np.ndarray, persons: Sequence[Mapping], sigmas: np.ndarray) -> np.ndarray:
    """(n, K, 2) points of a picture -> (n,) the largest OKS with its persons."""
    labelled = [p for p in persons if p["num_keypoints"] and not p["iscrowd"]]
    compared = labelled or persons
    keypoints = keypoint_array(compared, len(sigmas)).astype(np.float64)
    x, y, width, height = np.array([p["bbox"] for p in compared]).T[..., None]
    area = np.array([p["area"] for p in compared]) + np.spacing(1)
    if labelled:
        distance = points[:, None] - keypoints[..., :2]  # (n, T, K, 2)
        counted = keypoints[..., 2] > 0
    else:
        low, high = (
            np.stack([x - width, y - height], -1),
            np.stack([x + 2 * width, y + 2 * height], -1),
        )
        distance = np.maximum(low - points[:, None], 0) + np.maximum(points[:, None] - high, 0)
        counted = np.ones(keypoints.shape[:2], bool)
    exponent = (distance**2).sum(-1) / (2 * sigmas) ** 2 / area[:, None] / 2
    similarity = (np.exp(-exponent) * counted).sum(-1) / counted.sum(-1)
    best = similarity.max(1)
    return best if labelled else np.where(best == 1, 0, best)
