from dataclasses import replace

import numpy as np
import pytest

from datasets.figures.body import HEAD_AXES
from datasets.figures.head import faces_viewer, hair_behind, on_head
from datasets.figures.looks import HAIRCUTS
from tests.datasets.figures.drawn import short_hair, standing


def test_places_on_the_head_by_hand():
    figure = standing(0)
    centre, size = figure.points["head"], figure.scale * figure.body.head
    np.testing.assert_allclose(on_head(figure, 0, 0, 0), centre)
    for axis, place in enumerate(np.eye(3)):
        distance = np.linalg.norm(on_head(figure, *place) - centre)
        assert distance == pytest.approx(size * HEAD_AXES[axis])
    assert on_head(figure, 0, 1, 0)[1] < centre[1] - 0.9 * size  # up; y is down
    assert on_head(figure, 1, 0, 0)[0] > centre[0]  # its left is on the right of the picture


def test_a_face_looks_at_the_viewer_and_away():
    front, back, side = (standing(yaw) for yaw in (0, 180, 90))
    assert faces_viewer(front, 0, 0, 1) > 0.95  # the camera looks down a little
    assert faces_viewer(back, 0, 0, 1) < -0.95
    assert abs(faces_viewer(side, 0, 0, 1)) < 0.1
    assert faces_viewer(front, 0, 0, -1) == pytest.approx(-faces_viewer(front, 0, 0, 1))


@pytest.mark.parametrize("haircut", HAIRCUTS)
def test_hair_that_hangs_or_stands_off(haircut):
    figure, look = standing(0), replace(short_hair(), haircut=haircut)
    found = hair_behind(figure, look)
    assert (found is not None) == (haircut in ("long", "scarf", "bun", "tail", "curls"))
    if haircut in ("long", "tail"):
        start, end, first, last = found
        assert end[1] > start[1] and first > last > 0  # down, and thinner
