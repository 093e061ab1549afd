import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from grouppose.errors import InputError
from grouppose.inference.results import Keypoints, Result
from grouppose.skeleton import Skeleton

STICK = Skeleton.from_names(["head", "tail"], [(0, 1)])


def two_people(ids=None):
    xy = np.array([[[2.0, 3.0], [10.0, 5.0]], [[-4.0, 8.0], [30.0, 12.0]]])
    confidence = np.array([[1.0, 0.5], [0.25, 0.75]])
    return Result(
        image=np.full((10, 20, 3), 90, dtype=np.uint8),
        keypoints=Keypoints(xy, confidence, (10, 20)),
        scores=np.array([0.9, 0.4]),
        labels=np.array([1, 1]),
        skeleton=STICK,
        path="a.jpg",
        ids=ids,
    )


def test_boxes_and_shares_by_hand():
    result = two_people()
    assert result.boxes.tolist() == [[2, 3, 10, 5], [0, 8, 20, 10]]  # cut to 20 x 10
    assert result.keypoints.xyn[0].tolist() == [[0.1, 0.3], [0.5, 0.5]]
    assert len(result) == len(result.keypoints) == 2


def test_people_can_be_picked():
    result = two_people(ids=np.array([7, 8]))
    assert result[1].scores.tolist() == [0.4] and result[-1].ids.tolist() == [8]
    assert result[:1].keypoints.xy.shape == (1, 2, 2)
    assert result[result.scores > 0.5].ids.tolist() == [7]
    nobody = result[result.scores > 1]
    assert len(nobody) == 0 and nobody.boxes.shape == (0, 4) and nobody.to_coco() == []
    with pytest.raises(IndexError, match="person 2 of 2"):
        result[2]


def test_coco_and_json_by_hand():
    result = two_people(ids=np.array([7, 8]))
    assert result.to_coco(image_id=5)[0] == {
        "image_id": 5,
        "category_id": 1,
        "keypoints": [2.0, 3.0, 2.0, 10.0, 5.0, 2.0],
        "score": 0.9,
        "bbox": [2.0, 3.0, 8.0, 2.0],
        "keypoint_confidence": [1.0, 0.5],
        "track_id": 7,
    }
    content = json.loads(result.to_json())
    assert (content["path"], content["height"], content["width"]) == ("a.jpg", 10, 20)
    assert content["people"][1] == {
        "score": 0.4,
        "category_id": 1,
        "category": "person",
        "box": [0.0, 8.0, 20.0, 2.0],
        "keypoints": [[-4.0, 8.0], [30.0, 12.0]],
        "confidence": [0.25, 0.75],
        "id": 8,
    }


def test_people_have_the_categories_of_the_model():
    pets = replace(two_people(), labels=np.array([2, 1]), categories=((3, "cat"), (9, "dog")))
    assert pets.category_ids.tolist() == [9, 3] and pets.category_names == ["dog", "cat"]
    assert [person["category_id"] for person in pets.to_coco()] == [9, 3]
    people = pets.to_dict()["people"]
    assert [(p["category_id"], p["category"]) for p in people] == [(9, "dog"), (3, "cat")]
    assert pets[[]].category_ids.tolist() == [] == pets[[]].category_names


def with_missing():
    """Somebody without head, at a place that means nothing, and somebody without anything."""
    xy = np.array([[[-500.0, np.nan], [10.0, 5.0]], [[3.0, 3.0], [4.0, 4.0]]])
    confidence = np.array([[0.0, 0.5], [0.0, 0.0]])
    return replace(two_people(), keypoints=Keypoints(xy, confidence, (10, 20)))


def test_missing_keypoints_are_left_out():
    result = with_missing()
    assert result.boxes.tolist() == [[10, 5, 10, 5], [0, 0, 0, 0]]
    head_off, nothing = result.to_coco()
    assert head_off["keypoints"] == [0, 0, 0, 10, 5, 2] and nothing["keypoints"] == [0] * 6
    assert nothing["bbox"] == [0, 0, 0, 0]
    assert result.to_dict()["people"][0]["keypoints"] == [[0, 0], [10, 5]]
    json.loads(result.to_json())  # no NaN
    drawn = result.plot() != result.image
    assert drawn[5, 10].any() and not drawn[:5, :6].any()  # neither at 0, 0 nor at 3, 3


def test_a_saved_picture_is_the_drawn_one(tmp_path):
    result = two_people()
    drawn = result.plot()
    assert (drawn != result.image).any()
    written = cv2.imread(str(result.save(tmp_path / "a.png")))[..., ::-1]
    assert (written == drawn).all()
    without = result.plot(least_confidence=0.8)  # one keypoint is left: no limb
    assert (without != result.image).sum() < (drawn != result.image).sum()
    for name in ("none/a.png", "a.nonsense"):
        with pytest.raises(InputError, match="could not write"):
            result.save(tmp_path / name)


def test_supervision_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(InputError, match="pip install supervision"):
        two_people().to_supervision()
