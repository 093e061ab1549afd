import csv
import io

import numpy as np
import pytest

from grouppose.errors import InputError
from grouppose.inference.results import Keypoints, Result
from grouppose.skeleton import Skeleton

TAILS = Skeleton(("head", "tail"), (), (0.1, 0.1), ((0, 1),))


def frame(number=0, rate=0.0, ids=None, xy=(((2, 3), (10, 5)), ((0, 8), (0, 0)))):
    """Two animals on 10 x 20 pixels; the second has no tail."""
    points = np.array(xy, dtype=np.float32).reshape(-1, 2, 2)
    confidence = np.array([[1.0, 0.5], [0.25, 0.0]], dtype=np.float32)[: len(points)]
    scores, labels = np.array([0.9, 0.4])[: len(points)], np.array([2, 1])[: len(points)]
    image = np.zeros((10, 20, 3), dtype=np.uint8)
    keypoints = Keypoints(points, confidence, (10, 20))
    more = {"categories": ((3, "cat"), (9, "dog")), "frame": number, "rate": rate, "ids": ids}
    return Result(image, keypoints, scores, labels, TAILS, path="a.mp4", **more)


def test_a_row_a_person_and_keypoint_by_hand():
    assert frame(3, 25.0, np.array([7, 8])).to_csv(each="keypoint").splitlines() == [
        "path,frame,time,person,track,category_id,category,score,x0,y0,x1,y1,name,x,y,confidence",
        "a.mp4,3,0.12,0,7,9,dog,0.9,2.0,3.0,10.0,5.0,head,2.0,3.0,1.0",
        "a.mp4,3,0.12,0,7,9,dog,0.9,2.0,3.0,10.0,5.0,tail,10.0,5.0,0.5",
        "a.mp4,3,0.12,1,8,3,cat,0.4,0.0,8.0,0.0,8.0,head,0.0,8.0,0.25",
    ]


def test_pictures_have_no_time_and_people_without_tracker_no_track():
    rows = list(csv.DictReader(io.StringIO(frame().to_csv(each="keypoint"))))
    assert [(row["time"], row["track"]) for row in rows] == [("", "")] * 3
    assert [(row["person"], row["name"]) for row in rows] == [
        ("0", "head"), ("0", "tail"), ("1", "head"),
    ]  # fmt: skip


def test_tables_of_nobody_have_their_columns():
    nobody = frame(xy=())
    for each in ("person", "keypoint"):
        assert nobody.to_csv(each=each) == frame().to_csv(each=each).splitlines()[0] + "\n"
        assert nobody.to_csv(header=False, each=each) == ""


def test_both_tables_have_the_same_values():
    pandas = pytest.importorskip("pandas")
    for result in (frame(), frame(5, 30.0, np.array([1, 2]))):
        wide, long = result.to_df(), result.to_df(each="keypoint")
        for name in TAILS.names:
            for column in ("x", "y", "confidence"):
                own = long[long["name"] == name].set_index("person")[column]
                expected = wide.set_index("person")[f"{name}_{column}"]
                found = wide.set_index("person")[f"{name}_confidence"] > 0
                pandas.testing.assert_series_equal(own, expected[found], check_names=False)
    with pytest.raises(InputError, match="each is 'keypoints'; did you mean 'keypoint'"):
        frame().to_df(each="keypoints")
