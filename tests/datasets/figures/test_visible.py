import numpy as np

from datasets.figures.body import moved
from datasets.figures.canvas import THING
from tests.datasets.figures.drawn import STANDING, painted, seen, standing


def test_what_is_seen_from_front_back_and_side():
    figure = standing(0)
    assert set(seen(*painted(figure), figure).values()) == {2}
    figure = standing(180)
    hidden = {name for name, v in seen(*painted(figure), figure).items() if v == 1}
    assert hidden == {"nose", "left_eye", "right_eye"}
    figure = standing(90)
    v = seen(*painted(figure), figure)
    assert v["right_ear"] == v["right_eye"] == v["nose"] == v["right_shoulder"] == 2
    assert v["left_ear"] == v["left_eye"] == v["left_shoulder"] == v["left_hip"] == 1


def test_hidden_by_a_thing_or_outside_the_picture():
    figure = standing(0)
    canvas, owners = painted(figure)
    wrist = figure.points["left_wrist"]
    canvas.ellipse(wrist, (8, 8), (0, 0, 0), THING)
    v = seen(canvas, owners, figure)
    assert v.pop("left_wrist") == 1 and set(v.values()) == {2}
    away = moved(figure, np.array([0.0, 400.0, 0.0]))
    assert set(seen(canvas, owners, away).values()) <= {0, 1}
    assert seen(canvas, owners, away)["left_ankle"] == 0


def test_hidden_by_the_figures_own_trunk():
    arms = ((30.0, -90.0, 120.0, 180.0), STANDING.arms[1])  # the left forearm behind the back
    for yaw, expected in ((0, 1), (180, 2)):
        figure = standing(yaw, arms=arms)
        assert seen(*painted(figure), figure)["left_wrist"] == expected
