"""What a rescoring network is trained on, by hand."""

import math

import pytest
import torch

from datasets.rescore import examples
from grouppose.skeleton import COCO

SIZE, AREA = 40.0, 1000.0


def entry(number, image, points=None, crowd=0, box=(100, 100, SIZE, SIZE)):
    keypoints = [0.0] * 51
    for k, (x, y) in (points or {}).items():
        keypoints[3 * k : 3 * k + 3] = x, y, 2
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": crowd, "bbox": list(box),
        "area": AREA, "num_keypoints": len(points or {}), "keypoints": keypoints,
    }  # fmt: skip


def result(image, score, point=(0.0, 0.0)):
    keypoints = [v for _ in range(17) for v in (*point, 0.5)]
    return {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": score}


def contents(*entries):
    images = [{"id": i, "width": 300, "height": 300, "file_name": f"{i}.jpg"} for i in (1, 2, 3)]
    category = {"id": 1, "name": "person", "keypoints": list(COCO.names), "skeleton": []}
    return {"images": images, "annotations": list(entries), "categories": [category]}


def oks(distance, k=0):
    return math.exp(-(distance**2) / (2 * COCO.sigmas[k]) ** 2 / AREA / 2)


def test_the_largest_oks_with_a_labelled_person():
    truth = contents(
        entry(1, 1, {0: (10.0, 20.0)}), entry(2, 1, {0: (11.0, 20.0)}), entry(3, 1, None)
    )
    found = [result(1, 0.9, (10.0, 20.0)), result(1, 0.8, (12.0, 20.0)), result(2, 0.7)]
    keypoints, confidence, target = examples(truth, found)
    assert target.tolist() == pytest.approx([1, oks(1)])  # picture 2 has nobody annotated
    assert keypoints[1, 3].tolist() == [12, 20] and confidence[1, 3] == 0.5


def test_the_20_best_of_a_picture_in_stable_order():
    truth = contents(entry(1, 1, {0: (0.0, 0.0)}))
    found = [result(1, 0.5, (float(n), 0.0)) for n in range(15)]
    found += [result(1, 0.6, (float(n), 0.0)) for n in range(15, 25)]
    keypoints, _, _ = examples(truth, found)
    assert keypoints[:, 0, 0].tolist() == [*range(15, 25), *range(10)]


def test_where_nobody_is_labelled_the_doubled_box_counts_and_a_perfect_fit_is_none():
    truth = contents(entry(1, 1, None, crowd=1), entry(2, 1, None))
    # the box from 100 to 140, doubled on either side: 60 to 180
    found = [result(1, 0.9, (120.0, 170.0)), result(1, 0.8, (57.0, 120.0))]
    target = examples(truth, found)[2]
    expected = sum(oks(3, k) for k in range(17)) / 17
    assert target.tolist() == pytest.approx([0, expected])


def test_nothing_found():
    keypoints, confidence, target = examples(contents(entry(1, 1, {0: (0.0, 0.0)})), [])
    assert keypoints.shape == (0, 17, 2) and confidence.shape == (0, 17)
    assert target.dtype == torch.float64 and len(target) == 0
