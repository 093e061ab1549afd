import numpy as np
import pytest

from datasets.figures.canvas import THING, Canvas, toned

RED = (200, 100, 0)


def canvas(side=40):
    return Canvas(np.zeros((side, side, 4), dtype=np.uint8), np.array([0.0, -1.0]))


def test_tones_by_hand():
    assert toned(RED, 0.5) == (100, 50, 0)
    assert toned(RED, 1.0) == RED
    assert toned(RED, 1.5) == (227, 177, 127)  # half of the way to white
    assert toned(RED, 2.0) == (255, 255, 255)


def test_a_filled_square_has_its_colour_and_owner():
    drawn = canvas()
    drawn.polygon(np.array([[10, 5, 9], [20, 5, 9], [20, 15, 9], [10, 15, 9]]), RED, 7)
    assert (drawn.pixels[5:16, 10:21] == (*RED, 7)).all()
    assert np.count_nonzero(drawn.pixels[..., 3]) == 11 * 11
    other = canvas()
    other.hull(np.array([[20, 15], [10, 5], [15, 10], [10, 15], [20, 5]]), RED, 7)
    assert (other.pixels == drawn.pixels).all()


@pytest.mark.parametrize("b", [(30.0, 20.0), (10.0, 20.0)])  # a limb, and one of no length
def test_a_limb_covers_what_is_nearer_than_its_radius(b):
    drawn, a = canvas(), np.array([10.0, 20.0])
    drawn.capsule(a, np.array(b), (6.0, 6.0), RED, THING)
    y, x = np.mgrid[:40, :40]
    distance = np.hypot(x - np.clip(x, a[0], b[0]), y - a[1])
    owned = drawn.pixels[..., 3] == THING
    assert owned[distance < 5.5].all() and not owned[distance > 7].any()


def test_a_shadow_darkens_and_leaves_owners():
    drawn = canvas()
    drawn.pixels[:] = (100, 100, 100, 3)
    drawn.shadow(np.array([20.0, 20.0]), (10.0, 5.0), 0.5)
    assert (drawn.pixels[..., 3] == 3).all()
    assert drawn.pixels[20, 20].tolist() == [50, 50, 50, 3]
    assert drawn.pixels[20, 31, 0] == drawn.pixels[26, 20, 0] == 100  # outside
    drawn.shadow(np.array([-90.0, 20.0]), (10.0, 5.0), 0.5)  # nothing of it is in the picture
