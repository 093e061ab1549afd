import cv2
import numpy as np
import pytest

from datasets.mistakes import KINDS, format_errors, keypoint_errors, save_errors
from grouppose.skeleton import Skeleton
from tests.datasets.sets import contents, person

# OKS's term at distance d is exp(-d^2 / (2 area (2 sigma)^2)): exp(-d^2 / 800) with these
EYES = Skeleton.from_names(["left_eye", "right_eye", "tail"], sigmas=(0.1, 0.1, 0.1))
AREA = 1e4
GOOD, JITTER = 8.0, 20.0  # 0.92 and 0.61 similar


def labelled(number, points, image_id=1, **changes):
    keypoints = [value for x, y in points for value in (x, y, 2)]
    return person(number, image_id, 3, keypoints=keypoints, area=AREA, **changes)


def predicted(points, score=0.9, image_id=1):
    keypoints = [value for x, y in points for value in (x, y, 1)]
    return {"image_id": image_id, "category_id": 1, "keypoints": keypoints, "score": score}


def kinds(people, results):
    """By keypoint and kind, the numbers that are not 0."""
    data = contents({1: (999, 999)}, people, 3)
    counts = keypoint_errors(data, results, EYES)["counts"]
    return {
        (name, kind): int(counts[k, i])
        for k, name in enumerate(EYES.names)
        for i, kind in enumerate(KINDS)
        if counts[k, i]
    }


ONE = [(100, 100), (200, 100), (150, 300)]
OTHER = [(500, 100), (600, 100), (550, 300)]


def test_good_and_jitter_by_distance():
    found = predicted([(100 + GOOD, 100), (200, 100 + JITTER), (150, 300)])
    expected = {("left_eye", "good"): 1, ("right_eye", "jitter"): 1, ("tail", "good"): 1}
    assert kinds([labelled(1, ONE)], [found]) == expected


def test_inversion_is_the_other_side_of_the_same_person():
    found = predicted([(200, 100), (100, 100), (150, 300)])
    expected = {("left_eye", "inversion"): 1, ("right_eye", "inversion"): 1, ("tail", "good"): 1}
    assert kinds([labelled(1, ONE)], [found]) == expected


def test_swap_is_the_same_or_the_other_side_of_another_person():
    found = predicted([(500, 100 + JITTER), (500, 100), (150, 300)])
    expected = {("left_eye", "swap"): 1, ("right_eye", "swap"): 1, ("tail", "good"): 1}
    assert kinds([labelled(1, ONE), labelled(2, OTHER)], [found]) == expected


def test_miss_is_near_nothing_and_a_middle_keypoint_has_no_other_side():
    found = predicted([(100, 100), (350, 350), (100, 100)])  # the tail is on an eye
    expected = {("left_eye", "good"): 1, ("right_eye", "miss"): 1, ("tail", "miss"): 1}
    assert kinds([labelled(1, ONE)], [found]) == expected


def test_of_two_places_the_nearer_one_names_the_error():
    neighbour = [(200, 100 + JITTER), (700, 700), (900, 900)]
    found = predicted([(200, 100), (200, 100), (150, 300)])
    # the left eye is on the own right eye, and JITTER away from the neighbour's left eye
    assert kinds([labelled(1, ONE), labelled(2, neighbour)], [found])[("left_eye", "inversion")]
    found = predicted([(200, 100 + JITTER), (200, 100), (150, 300)])
    assert kinds([labelled(1, ONE), labelled(2, neighbour)], [found])[("left_eye", "swap")]


def test_who_counts():
    """Better scores choose first; a fit below 0.1, a crowd and unlabelled points do not count."""
    unlabelled = labelled(1, ONE)
    unlabelled["keypoints"][:3] = [0, 0, 0]
    crowd = labelled(2, OTHER, iscrowd=1)
    results = [predicted(OTHER, 0.95), predicted(ONE, 0.5), predicted([(101, 100)] * 3, 0.1)]
    data = contents({1: (999, 999), 2: (999, 999)}, [unlabelled, crowd, labelled(3, ONE, 2)], 3)
    errors = keypoint_errors(data, results, EYES)
    assert (errors["people"], errors["found"]) == (2, 1)
    assert errors["counts"].sum(axis=1).tolist() == [0, 1, 1]
    assert keypoint_errors(data, [], EYES)["counts"].sum() == 0


def test_table_and_picture(tmp_path):
    counts = np.zeros((3, 5), dtype=int)
    counts[0] = [3, 0, 1, 0, 0]
    errors = {"counts": counts, "people": 5, "found": 4}
    lines = format_errors(errors, EYES).splitlines()
    assert lines[0].startswith("of 5 labelled people, 4 were found")
    assert lines[1].split() == [*KINDS, "number"]
    assert lines[3].split() == ["left_eye", "75.0", "0.0", "25.0", "0.0", "0.0", "4"]
    assert lines[4].split() == ["right_eye", *["0.0"] * 5, "0"]
    save_errors(tmp_path / "errors.png", errors, EYES)
    image = cv2.imread(str(tmp_path / "errors.png"))[..., ::-1]
    share = [(image == np.array(colour)).all(axis=-1).sum() for colour in ([213, 217, 222],
             [184, 64, 143])]  # fmt: skip
    assert share[0] / share[1] == pytest.approx(3, rel=0.15)  # good and inversion; a legend each


def test_a_keypoint_that_was_not_found_is_a_miss_wherever_it_lies():
    found = predicted(ONE)
    found["keypoints"][2] = 0  # the left eye, at its very place
    assert kinds([labelled(1, ONE)], [found])["left_eye", "miss"] == 1
    found["keypoints"][2::3] = [0, 0, 0]  # a file without visibilities
    assert ("left_eye", "good") in kinds([labelled(1, ONE)], [found])
