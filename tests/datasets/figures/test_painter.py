from dataclasses import replace

import numpy as np
import pytest

from datasets.figures.body import moved, place, random_body, random_pose
from datasets.figures.canvas import THING
from datasets.figures.looks import random_look
from datasets.figures.painter import PARTS
from grouppose.skeleton import COCO
from tests.datasets.figures.drawn import painted


def mirrored_pose(pose):
    forward, sideways, twist = pose.bend
    pitch, yaw, roll = pose.head
    return replace(
        pose,
        yaw=-pose.yaw,
        roll=-pose.roll,
        bend=(forward, -sideways, -twist),
        head=(pitch, -yaw, -roll),
        arms=pose.arms[::-1],
        legs=pose.legs[::-1],
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_mirrored_figure_is_the_mirrored_picture_with_exchanged_names(seed):
    rng = np.random.default_rng(seed)
    body, (pose, _), look = random_body(rng), random_pose(rng), random_look(rng)
    middle = np.array([199.5, 200.0, 0.0])  # between the pixels 199 and 200
    figure = moved(place(body, pose, 250.0, 8.0), middle)
    mirror = moved(place(body, mirrored_pose(pose), 250.0, 8.0), middle)
    order = COCO.flip_order
    for name, other in zip(COCO.names, [COCO.names[i] for i in order], strict=True):
        np.testing.assert_allclose(mirror.points[name] * (-1, 1, 1) + (399, 0, 0),
                                   figure.points[other], atol=1e-9)  # fmt: skip
    canvas, _ = painted(figure, look, light=(0.6, -0.8))
    other, _ = painted(mirror, look, light=(-0.6, -0.8))
    flipped = other.pixels[:, ::-1]
    either = (canvas.pixels[..., 3] > 0) | (flipped[..., 3] > 0)
    same = (canvas.pixels[..., :3] == flipped[..., :3]).all(axis=-1)[either]
    assert same.mean() > 0.93  # borders of shapes round to one side


def test_every_part_has_its_own_owner_and_four_people_fit():
    assert len(set(PARTS)) == len(PARTS)
    assert 4 * len(PARTS) < THING
