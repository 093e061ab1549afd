import math
from dataclasses import replace

import numpy as np
import pytest

from grouppose.inference.results import Keypoints, Result
from grouppose.inference.tracking import OneEuroFilter, Tracker
from grouppose.skeleton import Skeleton

SQUARE = Skeleton.from_names(["a", "b", "c"])


def frame(*places):
    """People as triangles of 20 pixels at these corners, in a picture of 100 x 100."""
    corners = np.array([[0, 0], [20, 0], [0, 20]], dtype=float)
    xy = np.array([corners + place for place in places]).reshape(-1, 3, 2)
    return Result(
        image=np.zeros((100, 100, 3), dtype=np.uint8),
        keypoints=Keypoints(xy, np.ones(xy.shape[:2]), (100, 100)),
        scores=np.linspace(0.9, 0.5, len(xy)),
        labels=np.ones(len(xy), dtype=int),
        skeleton=SQUARE,
    )


def test_one_euro_by_hand():
    smooth = OneEuroFilter(least_cutoff=1.0, beta=0.5, speed_cutoff=1.0)
    assert smooth(np.array(2.0), 0.1) == 2.0
    share = 1 / (1 + 1 / (2 * math.pi * 0.1))  # of a cutoff of 1 Hz after 0.1 s
    speed = share * (3.0 - 2.0) / 0.1
    cutoff = 1.0 + 0.5 * speed
    expected = 2 + 1 / (1 + 1 / (2 * math.pi * cutoff * 0.1)) * (3 - 2)
    assert smooth(np.array(3.0), 0.1) == pytest.approx(expected)


def test_what_rests_stays_and_noise_shrinks():
    smooth = OneEuroFilter()
    noise = np.random.default_rng(0).normal(0, 0.01, 200)
    out = np.array([smooth(np.array(0.5 + n), 0.04) for n in noise])
    assert out[50:].std() < 0.5 * noise[50:].std()
    assert out[-1] == pytest.approx(0.5, abs=0.01)


def test_people_keep_their_numbers_when_their_order_changes():
    tracker = Tracker(birth=1)
    first = tracker(frame((0, 0), (60, 60)), 25)
    second = tracker(frame((62, 60), (2, 0)), 25)
    assert first.ids.tolist() == [1, 2]
    assert second.ids.tolist() == [2, 1]


def test_birth_and_death_by_counts():
    tracker = Tracker(birth=2, death=1)
    assert tracker(frame((0, 0)), 25).ids.tolist() == [1]  # the first frame shows everybody
    assert tracker(frame((0, 0), (60, 60)), 25).ids.tolist() == [1]  # seen once only
    assert tracker(frame((0, 0), (60, 60)), 25).ids.tolist() == [1, 2]
    assert tracker(frame((60, 60)), 25).ids.tolist() == [2]  # 1 is missed once
    assert sorted(tracker(frame((0, 0), (60, 60)), 25).ids.tolist()) == [1, 2]  # and comes back
    for _ in range(2):
        tracker(frame((60, 60)), 25)
    tracker(frame((0, 0), (60, 60)), 25)
    assert sorted(tracker(frame((0, 0), (60, 60)), 25).ids.tolist()) == [2, 3]  # 1 was forgotten


def test_a_frame_without_people():
    tracker = Tracker(birth=1)
    tracker(frame((0, 0)), 25)
    empty = tracker(frame(), 25)
    assert len(empty) == 0 and empty.ids.tolist() == []
    assert tracker(replace(frame((0, 0)), frame=2), 25).ids.tolist() == [1]


def test_a_missing_keypoint_is_not_smoothed_and_starts_anew():
    smooth = OneEuroFilter()
    for value in ([1.0, 5.0], [2.0, np.nan], [2.0, 90.0]):
        out = smooth(np.array(value), 0.04)
    assert 1 < out[0] < 2 and out[1] == 90  # not between 5 and 90


def with_missing(result, keypoint):
    """Its place says 0, 0, as nobody knows it."""
    result.keypoints.confidence[:, keypoint] = 0
    result.keypoints.xy[:, keypoint] = 0
    return result


def test_missing_keypoints_do_not_part_a_person_from_its_number():
    tracker = Tracker(birth=1)
    tracker(frame((60, 60)), 25)
    hidden = tracker(with_missing(frame((62, 60)), 2), 25)
    assert hidden.ids.tolist() == [1] and hidden.keypoints.xy[0, 2].tolist() == [0, 0]
    assert 60 < hidden.keypoints.xy[0, 0, 0] < 62
    back = tracker(frame((62, 60)), 25)
    assert back.ids.tolist() == [1] and back.keypoints.xy[0, 2].tolist() == [62, 80]
