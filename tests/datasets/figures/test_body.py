from dataclasses import replace

import numpy as np
import pytest

from datasets.figures.body import place, random_body, random_pose
from tests.datasets.figures.drawn import STANDING, standing


@pytest.mark.parametrize("joint", ["eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee"])
def test_left_is_on_the_right_of_the_picture_from_the_front(joint):
    for yaw, sign in ((0, 1), (180, -1)):
        points = standing(yaw).points
        assert sign * (points[f"left_{joint}"][0] - points[f"right_{joint}"][0]) > 3


def test_facing_the_right_border():
    points = standing(90).points
    assert points["nose"][0] > points["left_ear"][0] + 5
    assert points["left_toe"][0] > points["left_heel"][0] + 20
    assert points["left_shoulder"][2] < points["right_shoulder"][2] - 20  # farther away


@pytest.mark.parametrize("seed", range(5))
def test_limbs_keep_their_length_in_every_pose(seed):
    rng = np.random.default_rng(seed)
    body, (pose, sitting) = random_body(rng), random_pose(rng)
    points = place(body, pose, 200.0, 10.0, sitting).points
    for side in ("left", "right"):
        for a, b, length in (
            ("shoulder", "elbow", body.arm),
            ("elbow", "wrist", 0.9 * body.arm),
            ("hip", "knee", body.leg),
            ("knee", "ankle", body.leg),
        ):
            found = np.linalg.norm(points[f"{side}_{a}"] - points[f"{side}_{b}"])
            assert found == pytest.approx(200 * length)


def test_bent_elbow_and_knee_by_hand():
    arms = ((90.0, 90.0, 90.0, 90.0),) * 2  # straight ahead, forearms up
    legs = ((90.0, 0.0, 90.0),) * 2  # thighs ahead, shins down
    body = random_body(np.random.default_rng(0))
    pose = replace(STANDING, arms=arms, legs=legs)
    points = place(body, pose, 100.0, camera_pitch=0.0).points
    arm, leg = 100 * body.arm, 100 * body.leg
    upper = points["left_elbow"] - points["left_shoulder"]
    fore = points["left_wrist"] - points["left_elbow"]
    thigh = points["right_knee"] - points["right_hip"]
    shin = points["right_ankle"] - points["right_knee"]
    np.testing.assert_allclose(upper, (0, 0, arm), atol=1e-9)  # towards the viewer
    np.testing.assert_allclose(fore, (0, -0.9 * arm, 0), atol=1e-9)  # y is down
    np.testing.assert_allclose(thigh, (0, 0, leg), atol=1e-9)
    np.testing.assert_allclose(shin, (0, leg, 0), atol=1e-9)
