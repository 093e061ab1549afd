"""Draws what a model finds beside the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from datasets.keypoints import KeypointDataset
from datasets.transforms import resize
from grouppose.files import write_whole
from grouppose.inference.visualize import draw_grid, draw_poses
from grouppose.people import People, somebody
from grouppose.pictures import resized_size
from grouppose.skeleton import Skeleton

CELL = 360  # pixels; smaller pictures are enlarged about to this before people are drawn
LARGEST = (800, 1333)  # shorter and longer side in pixels; larger pictures are made smaller


class Sample(NamedTuple):
    """What is drawn of a picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        keypoints: (n, K, 2) that were found, in its pixels.
        scores: (n,).
        truth: (t, K, 2) or (t, K, 3) with v = 0 where there is no label, which appear as thin white
            lines; None: no truth.
        visible: (n, K) bool, which keypoints were found; None: all.
    """

    image: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray
    truth: np.ndarray | None = None
    visible: np.ndarray | None = None


def drawn_samples(dataset: KeypointDataset, people: Sequence[People]) -> list[Sample]:
    """The first pictures of a set with the people found on them and those labelled."""
    samples = []
    for i, found in enumerate(people):
        found = somebody(found)
        image, labelled = dataset.original(i)
        height, width = image.shape[-2:]
        size = resized_size(height, width, *LARGEST)
        if size[0] < height:
            image, labelled = resize(image, labelled, size)
        scale = torch.tensor([image.shape[-1] / width, image.shape[-2] / height])
        truth = torch.cat([labelled["keypoints"], labelled["visible"][..., None]], -1)
        samples.append(
            Sample(
                image.permute(1, 2, 0).numpy(),
                (found["keypoints"] * scale).numpy(),
                found["scores"].numpy(),
                truth.numpy(),
                (found["confidence"] != 0).numpy(),
            )
        )
    return samples


def save_prediction_grid(
    path: str | Path,
    samples: Sequence[Sample],
    skeleton: Skeleton,
    columns: int = 4,
    threshold: float = 0.3,
) -> None:
    """Writes pictures with the people that a model found, as PNG.

    Args:
        path: of the file.
        samples: one each.
        skeleton: of the people.
        columns: pictures in a row.
        threshold: least score to draw.
    """
    cells = [_cell(sample, skeleton, threshold) for sample in samples]
    written, data = cv2.imencode(".png", draw_grid(cells, columns)[..., ::-1])
    assert written
    write_whole(Path(path), lambda partial: partial.write_bytes(data.tobytes()))


def _cell(sample: Sample, skeleton: Skeleton, threshold: float) -> np.ndarray:
    image = np.asarray(sample.image)
    factor = max(1, round(CELL / max(image.shape[:2])))
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    if sample.truth is not None:
        truth = np.asarray(sample.truth, dtype=np.float64)
        image = _with_truth(image, truth, factor, skeleton)
    return draw_poses(
        image,
        _enlarged(sample.keypoints, factor),
        np.asarray(sample.scores),
        skeleton,
        threshold=threshold,
        visible=sample.visible,
    )


def _enlarged(keypoints: np.ndarray, factor: int) -> np.ndarray:
    """Pixel centres in a picture `factor` times as large."""
    return (np.asarray(keypoints, dtype=np.float64) + 0.5) * factor - 0.5


def _with_truth(
    image: np.ndarray, truth: np.ndarray, factor: int, skeleton: Skeleton
) -> np.ndarray:
    """The picture with thin white skeletons."""
    image = image.copy()
    for person in truth:
        labelled = person[:, 2] > 0 if person.shape[1] > 2 else np.ones(len(person), dtype=bool)
        places = np.rint(_enlarged(person[:, :2], factor) * 16).astype(int).tolist()
        for a, b in skeleton.limbs:
            if labelled[a] and labelled[b]:
                cv2.line(image, places[a], places[b], (255, 255, 255), 1, cv2.LINE_AA, 4)
    return image
