import io
import json
import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from grouppose.errors import InputError
from grouppose.inference import results
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
    result.keypoints.confidence[1, 0] = 1e-6
    assert result.to_coco()[1]["keypoint_confidence"] == [0.0001, 0.0]  # low is not missing


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


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        ("auto", ["7 dog", "8 cat"]),
        ("id", ["7", "8"]),
        ("class", ["dog", "cat"]),
        (("score", "id"), ["0.90 7", "0.40 8"]),
        (None, ["", ""]),
        ((), ["", ""]),
    ],
)
def test_what_is_written_at_people(monkeypatch, labels, texts):
    seen = {}
    monkeypatch.setattr(results, "draw_poses", lambda image, xy, **given: seen.update(given))
    pets = replace(two_people(), labels=np.array([2, 1]), categories=((3, "cat"), (9, "dog")))
    replace(pets, ids=np.array([7, 8])).plot(labels=labels)
    assert seen["labels"] == texts and seen["ids"] == [7, 8] and seen["boxes"] is None


def test_one_class_without_tracks_has_no_labels(monkeypatch):
    result = two_people()
    assert (result.plot() == result.plot(labels=None)).all()
    assert (result.plot() != result.plot(labels="score")).any()


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        ({"labels": "scores"}, "labels has 'scores'; did you mean 'score'"),
        ({"labels": ["class", "id"]}, "no ids to label; track them"),
        ({"line_width": 0}, "line_width is 0, expected at least 1"),
    ],
)
def test_drawings_that_are_refused(drawing, message):
    with pytest.raises(InputError, match=message):
        two_people().plot(**drawing)


def test_boxes_and_line_width_are_drawn():
    result = two_people()
    assert (result.plot(boxes=True)[8, 17] != result.plot()[8, 17]).any()  # top of the second
    assert (result.plot(line_width=4) != result.image).sum() > (result.plot() != result.image).sum()


def test_speed_takes_up_the_drawing():
    result = two_people()
    assert result.speed == {}
    result.plot()
    assert list(result.speed) == ["drawing"] and result.speed["drawing"] > 0
    part = result[:1]
    part.speed["drawing"] = 0.0
    assert result.speed["drawing"] > 0


def test_crops_by_hand():
    result = two_people()
    first, second = result.crops(margin=0.25)  # boxes 2, 3, 10, 5 and 0, 8, 20, 10 of 20 x 10
    assert first.shape == (7, 13, 3)  # 8 wide: 2 more on each side
    assert second.shape == (7, 20, 3)  # 20 wide: 5 more, cut to the picture
    assert (first == result.image[1:8, 0:13]).all()
    first[:] = 0
    assert (result.image == 90).all()
    assert [crop.shape for crop in with_missing().crops(0)] == [(1, 1, 3), (1, 1, 3)]


def test_comma_separated_values_by_hand():
    first, second, *rest = with_missing().to_csv().splitlines()
    assert first == (
        "path,frame,person,category_id,category,score,x0,y0,x1,y1,"
        "head_x,head_y,head_confidence,tail_x,tail_y,tail_confidence"
    )
    assert second == "a.jpg,0,0,1,person,0.9,10.0,5.0,10.0,5.0,,,0.0,10.0,5.0,0.5"
    tracked = two_people(ids=np.array([7, 8])).to_csv(header=False)
    assert tracked.startswith("a.jpg,0,0,7,1,person,0.9,2.0,3.0,10.0,5.0,2.0,3.0,1.0")
    assert two_people()[[]].to_csv() == f"{first}\n"


def test_a_data_frame_has_the_same_values(monkeypatch):
    pandas = pytest.importorskip("pandas")
    result = with_missing()
    frame = result.to_df()
    read = pandas.read_csv(io.StringIO(result.to_csv()))
    pandas.testing.assert_frame_equal(frame, read, check_dtype=False)
    assert frame["head_x"].isna().all() and frame["tail_x"][0] == 10
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        result.to_df()


def test_arrays_stay_arrays():
    result = two_people()
    assert result.cpu().numpy() is result and result.keypoints.cpu().numpy() is result.keypoints


def test_supervision_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="pip install supervision"):
        two_people().to_supervision()


@dataclass
class OldPoints:
    """supervision's until 0.28."""

    xy: np.ndarray
    class_id: np.ndarray | None = None
    confidence: np.ndarray | None = None
    data: dict = field(default_factory=dict)


@dataclass
class NewPoints:
    """supervision's from 0.29; from 0.32 without `confidence`."""

    xy: np.ndarray
    class_id: np.ndarray | None = None
    keypoint_confidence: np.ndarray | None = None
    detection_confidence: np.ndarray | None = None
    visible: np.ndarray | None = None
    data: dict = field(default_factory=dict)


@pytest.mark.parametrize("kind", [OldPoints, NewPoints])
def test_supervision_of_both_shapes(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(KeyPoints=kind))
    result = replace(with_missing(), ids=np.array([7, 8]), categories=((5, "dog"),))
    points = result.to_supervision()
    assert points.xy.tolist() == [[[0, 0], [10, 5]], [[0, 0], [0, 0]]]
    assert points.class_id.tolist() == [5, 5]
    assert points.data["class_name"].tolist() == ["dog", "dog"]
    assert points.data["tracker_id"].tolist() == [7, 8]
    if kind is OldPoints:
        assert points.confidence.tolist() == [[0, 0.5], [0, 0]]
    else:
        assert points.keypoint_confidence.tolist() == [[0, 0.5], [0, 0]]
        assert points.detection_confidence.tolist() == pytest.approx([0.9, 0.4])
        assert points.visible.tolist() == [[False, True], [False, False]]


def test_supervision_itself_takes_them():
    supervision = pytest.importorskip("supervision")
    for result in (two_people(), two_people()[[]]):
        points = result.to_supervision()
        assert isinstance(points, supervision.KeyPoints) and len(points) == len(result)
