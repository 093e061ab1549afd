"""Figures that tests of the drawing share."""

from dataclasses import replace

import numpy as np

from datasets.figures.body import Pose, moved, place, random_body
from datasets.figures.canvas import Canvas
from datasets.figures.looks import random_look
from datasets.figures.painter import Painter
from datasets.figures.visible import visibility
from grouppose.skeleton import COCO

STANDING = Pose(
    yaw=0.0,
    roll=0.0,
    lean=0.0,
    bend=(0.0, 0.0, 0.0),
    head=(0.0, 0.0, 0.0),
    arms=((20.0, 0.0, 10.0, 90.0), (20.0, 0.0, 10.0, 90.0)),
    legs=((0.0, 5.0, 0.0), (0.0, 5.0, 0.0)),
)


def standing(yaw, **changes):
    """A figure of 300 pixels in the middle of a canvas of 400."""
    body = random_body(np.random.default_rng(1))
    figure = place(body, replace(STANDING, yaw=yaw, **changes), scale=300.0, camera_pitch=5.0)
    return moved(figure, np.array([200.0, 200.0, 0.0]))


def short_hair():
    look = random_look(np.random.default_rng(0))
    return replace(look, haircut="short", bag=False, skirt=0.0, trousers=2.0, beard=False)


def painted(figure, look=None, light=(0.0, -1.0)):
    canvas = Canvas(np.zeros((400, 400, 4), dtype=np.uint8), np.array(light))
    painter = Painter(canvas, figure, look or short_hair(), first_owner=1)
    painter.paint()
    return canvas, painter.owners


def seen(canvas, owners, figure, names=COCO.names):
    return {
        name: visibility(canvas.pixels, figure, owners, name, figure.points[name][:2])
        for name in names
    }


def array(people, skeleton=COCO):
    keypoints = [person["keypoints"] for person in people]
    return np.array(keypoints, dtype=float).reshape(len(people), skeleton.num_keypoints, 3)
