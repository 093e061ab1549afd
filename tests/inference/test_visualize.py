import colorsys

import numpy as np
import pytest

from grouppose.errors import InputError
from grouppose.inference.visualize import (
    draw_grid,
    draw_poses,
    limb_colours,
    line_width,
    person_colour,
    text_colour,
)
from grouppose.skeleton import COCO, CROWDPOSE, Skeleton

ARM = Skeleton.from_names(["left_elbow", "left_wrist"], limbs=[(0, 1)])


def grey(height=100, width=120):
    return np.full((height, width, 3), 128, dtype=np.uint8)


def changed(image, other):
    """Pixels that differ, as a set of (x, y)."""
    rows, columns = np.nonzero((image != other).any(axis=-1))
    return set(zip(columns.tolist(), rows.tolist(), strict=True))


def resembles(pixel, colour):
    """Antialiasing lets a line of one pixel keep a little of what is below it."""
    return np.abs(np.subtract(pixel, colour, dtype=int)).max() <= 50


def hue(colour):
    return colorsys.rgb_to_hsv(*(c / 255 for c in colour))[0]


def test_one_limb_by_hand():
    image = grey()
    drawn = draw_poses(image, [[[20, 50], [80, 50]]], skeleton=ARM)
    assert (image == 128).all()
    assert resembles(drawn[50, 50], limb_colours(ARM)[0])
    pixels = changed(drawn, image)
    assert (50, 50) in pixels
    assert {x for x, _ in pixels} <= set(range(16, 85))
    assert {y for _, y in pixels} <= set(range(46, 55))
    assert tuple(drawn[50, 20]) == person_colour(0)


def test_coordinates_are_pixel_centres_and_fractions_count():
    """A picture mirrored with its keypoints is the mirrored drawing: x -> w - 1 - x."""
    points = np.array([[[20.0, 30.0], [60.5, 44.25]]])
    mirrored = points * (-1, 1) + (119, 0)
    drawn = draw_poses(grey(), points, skeleton=ARM).astype(int)
    other = draw_poses(grey(), mirrored, skeleton=ARM)[:, ::-1]
    assert np.abs(drawn - other).mean() < 0.3  # antialiasing rounds to one side
    moved = draw_poses(grey(), points + (0.5, 0.5), skeleton=ARM)
    assert (moved != drawn).any()


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=["coco", "crowdpose"])
def test_sides_differ_by_hue(skeleton):
    hues = {"left": [], "right": [], "middle": []}
    for (a, b), colour in zip(skeleton.limbs, limb_colours(skeleton), strict=True):
        names = skeleton.names[a] + skeleton.names[b]
        side = ("left" in names) - ("right" in names)
        hues[{1: "left", -1: "right", 0: "middle"}[side]].append(hue(colour))
    assert all(0.45 < h < 0.65 for h in hues["left"])  # blue
    assert all(h < 0.11 or h > 0.97 for h in hues["right"])  # red
    assert all(0.2 < h < 0.4 for h in hues["middle"])  # green
    assert min(map(len, hues.values())) >= 2


def test_people_have_different_colours():
    colours = [person_colour(i) for i in range(12)]
    distances = [
        np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colours) for b in colours[:i]
    ]
    assert min(distances) > 30


def test_nobody_is_drawn():
    image = grey()
    for keypoints in (np.zeros((0, 17, 2)), [], np.zeros((0, 2))):
        drawn = draw_poses(image, keypoints, scores=np.zeros(0))
        assert drawn is not image and (drawn == image).all()


def test_threshold_and_order():
    low, high = [[20, 50], [80, 50]], [[20, 50.0], [80, 50]]
    below = draw_poses(grey(), [low], scores=[0.29], skeleton=ARM)
    assert (below == 128).all()
    drawn = draw_poses(grey(), [high, low], scores=[0.9, 0.5], skeleton=ARM)
    assert tuple(drawn[50, 20]) == person_colour(0)  # the better one is on top
    drawn = draw_poses(grey(), [high, low], scores=[0.9, 0.5], skeleton=ARM, threshold=0.95)
    assert (drawn == 128).all()


def test_what_is_not_visible_or_not_finite_is_left_out():
    points = [[[20, 50], [80, 50]]]
    elbow_only = draw_poses(grey(), points, skeleton=ARM, visible=[[True, False]])
    assert max(x for x, _ in changed(elbow_only, grey())) < 25
    nan = draw_poses(grey(), [[[20, 50], [np.nan, 50]]], skeleton=ARM)
    assert (nan == elbow_only).all()
    nothing = draw_poses(grey(), points, skeleton=ARM, visible=[[False, False]], ids=[4])
    assert (nothing == 128).all()


def test_far_outside_is_cut_off():
    drawn = draw_poses(grey(), [[[-1e9, 50], [1e12, 50]]], skeleton=ARM)
    assert drawn.shape == (100, 120, 3) and resembles(drawn[50, 60], limb_colours(ARM)[0])


def test_numbers_are_written_and_have_their_colour_in_every_picture():
    points = np.array([[[20.0, 50.0], [80.0, 50.0]], [[20.0, 80.0], [80.0, 80.0]]])
    plain = draw_poses(grey(), points, skeleton=ARM)
    numbered = draw_poses(grey(), points, skeleton=ARM, ids=[5, 0])
    assert tuple(numbered[50, 20]) == person_colour(5) != tuple(plain[50, 20])
    assert tuple(numbered[80, 20]) == person_colour(0)
    above = changed(numbered, draw_poses(grey(), points, skeleton=ARM, ids=[3, 0]))
    assert any(y < 45 for _, y in above)  # another figure 3 instead of 5
    at_the_corner = draw_poses(grey(), [[[0, 0], [1, 1]]], skeleton=ARM, ids=[8])
    assert len(changed(at_the_corner, draw_poses(grey(), [[[0, 0], [1, 1]]], skeleton=ARM))) > 10


def test_read_only_and_strided_pictures():
    image = np.ascontiguousarray(grey()[::-1])[:, ::-1]
    image.flags.writeable = False
    drawn = draw_poses(image, [[[20, 50], [80, 50]]], skeleton=ARM)
    assert (drawn == draw_poses(grey(), [[[20, 50], [80, 50]]], skeleton=ARM)).all()


def test_lines_grow_with_the_picture():
    widths = [line_width(grey(side, side)) for side in (64, 192, 384, 640, 1280)]
    assert widths == [1, 1, 2, 4, 8]


def test_lines_are_thinner_on_small_people():
    picture = grey(640, 640)
    tall = np.array([[0.0, 0.0], [50.0, 250.0], [20.0, 100.0]])
    assert [line_width(picture, tall * size) for size in (0.1, 0.5, 1, 4)] == [1, 2, 3, 4]
    assert line_width(picture, tall[:2] * 0.1) == 4  # two keypoints have no size
    thick = draw_poses(grey(), [[[20, 50], [80, 50]]], skeleton=ARM, width=9)
    assert tuple(thick[54, 50]) == limb_colours(ARM)[0]


def test_numbers_stand_on_a_plate_that_can_be_read():
    for number in range(60):
        plate = person_colour(number)
        ink = text_colour(plate)
        lighter, darker = sorted((luminance(plate), luminance(ink)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG AA
    points = np.array([[[20.0, 50.0], [80.0, 50.0]]])
    for background in (0, 255):
        image = np.full((100, 120, 3), background, dtype=np.uint8)
        drawn = draw_poses(image, points, skeleton=ARM, ids=[111])
        above = drawn[20:44, :60].reshape(-1, 3)
        assert (above == person_colour(111)).all(1).sum() > 60
        ink = np.array(text_colour(person_colour(111)))
        assert (np.abs(above - ink).max(1) < 100).sum() > 10  # thin strokes are antialiased


def luminance(colour):
    """WCAG's."""
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in np.divide(colour, 255)
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_labels_and_boxes():
    points = np.array([[[20.0, 50.0], [80.0, 50.0]], [[20.0, 80.0], [80.0, 80.0]]])
    plain = draw_poses(grey(), points, skeleton=ARM)
    second = changed(draw_poses(grey(), points, skeleton=ARM, labels=["", "chaton é 猫"]), plain)
    assert second and all(50 < y < 80 for _, y in second)
    boxed = draw_poses(grey(), points[:1], skeleton=ARM, boxes=np.array([[10, 40, 90, 60]]))
    assert resembles(boxed[55, 10], person_colour(0)) and resembles(boxed[55, 90], person_colour(0))
    assert tuple(boxed[45, 50]) == (128, 128, 128)


def test_grid_by_hand():
    red, blue = np.zeros((4, 6, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    grid = draw_grid([red, blue, red], columns=2)
    assert grid.shape == (2 + 4 + 2 + 4 + 2, 2 + 6 + 2 + 6 + 2, 3)  # a gap of 2 around each
    assert (grid[2:6, 2:8] == (255, 0, 0)).all()
    assert (grid[3:5, 12:14] == (0, 0, 255)).all()  # in the middle of its cell
    assert (grid[8:12, 2:8] == (255, 0, 0)).all()
    painted = (grid != 255).any(axis=-1).sum()
    assert painted == 24 + 4 + 24  # the rest is white


def test_a_short_row_takes_no_more_room():
    assert draw_grid([grey(10, 10)], columns=4).shape == (14, 14, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_poses(grey().astype(float), []), r"float64 \(100, 120, 3\), expected uint8"),
        (lambda: draw_poses(grey()[..., 0], []), r"uint8 \(100, 120\), expected uint8"),
        (lambda: draw_poses(grey(), np.zeros((2, 14, 2))), r"\(2, 14, 2\), expected \(n, 17, 2\)"),
        (
            lambda: draw_poses(grey(), np.zeros((2, 17, 2)), scores=[0.5]),
            r"2 people but scores of shape \(1,\)",
        ),
        (lambda: draw_grid([]), "a grid of 0 pictures"),
        (lambda: draw_grid([grey()], columns=0), "in 0 columns"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
