import math

import numpy as np
import pytest

from datasets.matching import matching
from grouppose.skeleton import Skeleton
from tests.datasets.sets import contents, person

# OKS's term at distance d is exp(-d^2 / (2 area (2 sigma)^2)): exp(-d^2 / 800) with these
EYES = Skeleton.from_names(["left_eye", "right_eye", "tail"], sigmas=(0.1, 0.1, 0.1))
HERE = [(100, 100), (200, 100), (150, 300)]


def moved(dx):
    return [(x + dx, y) for x, y in HERE]


def labelled(number, points, **changes):
    keypoints = [value for x, y in points for value in (x, y, 2)]
    return person(number, 1, 3, keypoints=keypoints, area=1e4, **changes)


def predicted(points, score, visible=(1, 1, 1)):
    keypoints = [value for (x, y), v in zip(points, visible, strict=True) for value in (x, y, v)]
    return {"image_id": 1, "category_id": 1, "keypoints": keypoints, "score": score}


def found(people, results, threshold=0.5, **changes):
    return matching(contents({1: (999, 999)}, people, 3), results, EYES, threshold, **changes)


def test_the_better_scored_prediction_chooses_first():
    results = [predicted(HERE, 0.1), predicted(moved(10), 0.9), predicted(moved(700), 0.5)]
    pairs = found([labelled(1, HERE)], results)
    assert pairs.source.tolist() == [1, 2, 0]  # by score
    assert (pairs.rows.tolist(), pairs.columns.tolist()) == ([0], [0])
    assert pairs.similarity.tolist() == pytest.approx([math.exp(-100 / 800)], rel=1e-5)
    assert found([labelled(1, HERE)], results, threshold=0.9).rows.tolist() == [2]


def test_everybody_takes_the_one_that_fits_best_and_crowds_nobody():
    people = [labelled(1, moved(60)), labelled(2, HERE), labelled(3, HERE, iscrowd=1)]
    pairs = found(people, [predicted(moved(55), 0.9), predicted(moved(5), 0.8)])
    assert pairs.columns.tolist() == [0, 1] and len(pairs.labels) == 2


def test_left_and_right_may_be_exchanged():
    exchanged = [HERE[1], HERE[0], HERE[2]]
    people = [labelled(1, HERE)]
    assert not len(found(people, [predicted(exchanged, 0.9)]).rows)
    pairs = found(people, [predicted(exchanged, 0.9)], either_side=True)
    assert pairs.similarity.tolist() == pytest.approx([1.0], rel=1e-5)


def test_keypoints_that_were_not_found_are_noted():
    results = [predicted(HERE, 0.9, (1, 0, 1)), predicted(HERE, 0.8, (0, 0, 0))]
    visible = found([labelled(1, HERE)], results).visible
    # a file without visibilities has 0 throughout: then everything counts
    assert np.array_equal(visible, [[True, False, True], [True, True, True]])
