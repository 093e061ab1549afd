"""Articulated figures: proportions, poses, and where their joints are as the camera sees them.

A body stands in a frame of its own: x to its left, y up, z ahead. `place` turns it before the
camera and returns everything in view coordinates: x right, y down (both in pixels), z towards the
viewer (same unit). Seen from the front, a figure's left is therefore on the right of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

SIDES = {"left": 1.0, "right": -1.0}
Range = tuple[float, float]
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Body:
    """Lengths as shares of the standing height, and two factors.

    Attributes:
        head: half height of the head.
        shoulder: half width between the shoulder joints.
        hip: half width between the hip joints.
        torso: hip line to neck.
        arm: shoulder to elbow; the forearm is 0.9 of it.
        leg: hip to knee, and knee to ankle.
        girth: thickness of limbs and torso, 1 = slim adult.
    """

    head: float
    shoulder: float
    hip: float
    torso: float
    arm: float
    leg: float
    girth: float


@dataclass(frozen=True)
class Pose:
    """Angles in degrees.

    Attributes:
        yaw: 0 faces the camera, 90 faces the right border of the picture, 180 shows the back.
        roll: of the whole figure in the picture.
        lean: of the pelvis ahead.
        bend: of the chest ahead and sideways, and its twist, relative to the pelvis.
        head: pitch, yaw, roll relative to the chest.
        arms: left and right: raise from hanging down, heading of the raise (0 sideways, 90 ahead),
            elbow, heading of the elbow's bend (the same scale; 180 inwards).
        legs: left and right: thigh ahead, thigh sideways, knee.
    """

    yaw: float
    roll: float
    lean: float
    bend: Numbers
    head: Numbers
    arms: tuple[Numbers, Numbers]
    legs: tuple[Numbers, Numbers]


@dataclass(frozen=True)
class Figure:
    """A body in a pose as the camera sees it; view coordinates in pixels.

    Attributes:
        points: (3,) by name: joints of the arms and legs, face, "neck", "top_head", also parts
            that are no keypoints: "left_hand", "left_toe", "head", "pelvis", "waist", ...
        axes: (3, 3) by part ("pelvis", "chest", "head"); columns are unit vectors to the part's
            left, up and ahead.
        scale: pixels of the standing height.
        body: its proportions.
        sitting: on something.
    """

    points: dict[str, np.ndarray]
    axes: dict[str, np.ndarray]
    scale: float
    body: Body
    sitting: bool


# raise, heading, elbow, heading of its bend: (low, high) in degrees, see Pose
ARMS: dict[str, tuple[Range, Range, Range, Range]] = {
    "hang": ((2, 16), (-20, 70), (4, 35), (75, 130)),
    "ahead": ((15, 50), (70, 100), (10, 60), (85, 120)),
    "behind": ((15, 40), (-100, -70), (5, 45), (85, 100)),
    "side": ((50, 110), (-15, 30), (0, 45), (-10, 70)),
    "up": ((140, 175), (0, 60), (0, 45), (-20, 60)),
    "wave": ((60, 105), (-5, 35), (60, 125), (-15, 25)),
    "hip": ((32, 50), (-20, 0), (80, 112), (165, 190)),
    "fold": ((18, 34), (60, 90), (85, 118), (150, 172)),
    "reach": ((70, 110), (60, 105), (0, 35), (60, 120)),
    "face": ((30, 60), (40, 85), (115, 145), (75, 100)),
}
# thigh ahead, thigh sideways, knee; of one leg and of the other
_STAND = ((-6, 8), (1, 8), (0, 10))
_SIT = ((74, 98), (2, 22), (65, 100))
LEGS: dict[str, tuple[tuple[Range, Range, Range], tuple[Range, Range, Range]]] = {
    "stand": (_STAND, _STAND),
    "relaxed": (_STAND, ((5, 22), (3, 14), (10, 35))),
    "walk": (((14, 36), (0, 4), (5, 22)), ((-26, -6), (0, 4), (5, 40))),
    "run": (((40, 80), (0, 6), (50, 105)), ((-32, -8), (0, 6), (30, 95))),
    "astride": (((-6, 10), (14, 36), (0, 12)), ((-6, 10), (14, 36), (0, 12))),
    "lunge": (((50, 80), (4, 18), (60, 90)), ((-35, -10), (2, 14), (5, 40))),
    "sit": (_SIT, _SIT),
    "squat": (((70, 112), (8, 32), (90, 130)), ((70, 112), (8, 32), (90, 130))),
    "kick": (((45, 92), (0, 24), (0, 30)), _STAND),
    "jump": (((0, 45), (5, 28), (30, 105)), ((0, 45), (5, 28), (30, 105))),
    "kneel": (((78, 96), (4, 14), (82, 100)), ((-10, 6), (0, 8), (80, 96))),
    "balance": (((50, 82), (18, 42), (95, 130)), _STAND),
}
ARM_SHARES = (0.42, 0.06, 0.05, 0.15, 0.12, 0.08, 0.06, 0.02, 0.02, 0.02)
LEG_SHARES = (0.4, 0.2, 0.24, 0.02, 0.09, 0.01, 0.02, 0.005, 0.005, 0.005, 0.0025, 0.0025)
LEAN: dict[str, Range] = {"run": (4, 24), "squat": (15, 40), "sit": (-10, 14), "lunge": (0, 25)}


def random_body(rng: Generator) -> Body:
    child = rng.random() < 0.2
    jitter = rng.uniform(0.94, 1.06, size=5)
    head = rng.uniform(0.1, 0.118) if child else rng.uniform(0.076, 0.092)
    rest = 1 - 1.75 * (head - 0.08)  # a large head leaves less height to the rest
    return Body(
        head=head,
        shoulder=0.112 * rest * jitter[0],
        hip=0.06 * rest * jitter[1],
        torso=0.295 * rest * jitter[2],
        arm=0.165 * rest * jitter[3],
        leg=0.238 * rest * jitter[4],
        girth=float(rng.uniform(0.95, 1.4)),
    )


def random_pose(rng: Generator) -> tuple[Pose, bool]:
    """A pose, and whether it is one of sitting."""
    legs = list(LEGS)[rng.choice(len(LEGS), p=LEG_SHARES)]
    order = int(rng.integers(2))
    thighs = LEGS[legs] if order else LEGS[legs][::-1]
    facing = rng.choice(4, p=(0.65, 0.23, 0.06, 0.06))
    yaw = (rng.normal(0, 25), rng.normal(180, 25), rng.normal(90, 25), rng.normal(-90, 25))[facing]
    tumbling = legs != "sit" and rng.random() < 0.03
    roll = rng.uniform(-100, 100) if tumbling else rng.normal(0, 5)
    pose = Pose(
        yaw=float(yaw),
        roll=float(roll),
        lean=float(rng.uniform(*LEAN.get(legs, (-4, 8)))),
        bend=(float(rng.uniform(-6, 16)), *map(float, rng.normal(0, (5, 10)))),
        head=tuple(map(float, rng.normal((4, 0, 0), (9, 22, 6)))),
        arms=_random_arms(rng, legs, order),
        legs=tuple(tuple(float(rng.uniform(*r)) for r in leg) for leg in thighs),
    )
    return pose, legs == "sit"


def _random_arms(rng: Generator, legs: str, order: int) -> tuple[Numbers, Numbers]:
    names = list(ARMS)
    if legs in ("walk", "run") and rng.random() < 0.7:  # the arm swings against its leg
        chosen = ["behind", "ahead"] if order else ["ahead", "behind"]
    else:
        first, second = (names[i] for i in rng.choice(len(names), 2, p=ARM_SHARES))
        chosen = [first, first if rng.random() < 0.5 else second]
    bent = 60 if legs == "run" else 0
    arms = [[float(rng.uniform(*r)) for r in ARMS[name]] for name in chosen]
    return tuple((up, at, max(elbow, bent), to) for up, at, elbow, to in arms)


def turn(axis: int, degrees: float) -> np.ndarray:
    """(3, 3) right-handed rotation about the x (0), y (1) or z (2) axis."""
    angle = np.deg2rad(degrees)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i] = np.sin(angle)
    matrix[i, j] = -matrix[j, i]
    return matrix


def arm_directions(arm: Numbers, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of upper arm and forearm in the chest's frame; side 1 = left, -1 = right."""
    up, at, elbow, to = np.deg2rad(arm)
    upper = np.array([side * np.sin(up) * np.cos(at), -np.cos(up), np.sin(up) * np.sin(at)])
    raising = np.array([side * np.cos(up) * np.cos(at), np.sin(up), np.cos(up) * np.sin(at)])
    ahead = np.array([-side * np.sin(at), 0.0, np.cos(at)])
    bend = np.cos(to - at) * raising + np.sin(to - at) * ahead
    return upper, np.cos(elbow) * upper + np.sin(elbow) * bend


def leg_directions(leg: Numbers, side: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors of thigh, shin and foot in the pelvis' frame; side 1 = left, -1 = right."""
    ahead, apart, knee = np.deg2rad(leg)
    thigh = np.array(
        [side * np.sin(apart), -np.cos(ahead) * np.cos(apart), np.sin(ahead) * np.cos(apart)]
    )
    front = np.array([0.0, np.sin(ahead), np.cos(ahead)])  # of the thigh
    shin = np.cos(knee) * thigh - np.sin(knee) * front
    foot = np.cos(knee) * front + np.sin(knee) * thigh + np.array([side * 0.25, 0.0, 0.0])
    return thigh, shin, foot / np.linalg.norm(foot)


# Where the face is on the head, in half axes of the head: left, up, ahead.
FACE = {
    "nose": (0.0, -0.16, 1.1),
    "left_eye": (0.37, 0.1, 0.92),
    "right_eye": (-0.37, 0.1, 0.92),
    "left_ear": (1.0, -0.02, -0.08),
    "right_ear": (-1.0, -0.02, -0.08),
    "top_head": (0.0, 1.0, 0.0),
}
HEAD_AXES = np.array([0.78, 1.0, 0.9])  # half width, height and depth of the head


def place(
    body: Body, pose: Pose, scale: float, camera_pitch: float, sitting: bool = False
) -> Figure:
    """Projects a body orthographically; the pelvis is at the origin.

    Args:
        body: its proportions.
        pose: its angles.
        scale: pixels of the standing height.
        camera_pitch: degrees the camera looks down.
        sitting: kept for whoever draws a seat.
    """
    view = np.diag([1.0, -1.0, 1.0]) @ turn(0, camera_pitch) @ turn(2, pose.roll)
    pelvis = view @ turn(1, pose.yaw) @ turn(0, pose.lean)
    forward, sideways, twist = pose.bend
    chest = pelvis @ turn(1, twist) @ turn(2, sideways) @ turn(0, forward)
    pitch, yaw, roll = pose.head
    head = chest @ turn(1, yaw) @ turn(0, pitch) @ turn(2, roll)

    points = {"pelvis": np.zeros(3)}
    points["waist"] = pelvis[:, 1] * (0.42 * body.torso)
    points["neck"] = points["waist"] + chest[:, 1] * (0.58 * body.torso)
    _add_head(points, body, chest, head)
    for (side, sign), arm, leg in zip(SIDES.items(), pose.arms, pose.legs, strict=True):
        lift = 0.03 * max(0.0, arm[0] - 60) / 120  # raised arms take the shoulder along
        shoulder = np.array([sign * body.shoulder, lift - 0.03, 0.0])
        points[f"{side}_shoulder"] = points["neck"] + chest @ shoulder
        upper, fore = (chest @ direction for direction in arm_directions(arm, sign))
        points[f"{side}_elbow"] = points[f"{side}_shoulder"] + body.arm * upper
        points[f"{side}_wrist"] = points[f"{side}_elbow"] + 0.9 * body.arm * fore
        points[f"{side}_hand"] = points[f"{side}_wrist"] + 0.27 * body.arm * fore
        points[f"{side}_hip"] = sign * body.hip * pelvis[:, 0]
        thigh, shin, foot = (pelvis @ direction for direction in leg_directions(leg, sign))
        points[f"{side}_knee"] = points[f"{side}_hip"] + body.leg * thigh
        points[f"{side}_ankle"] = points[f"{side}_knee"] + body.leg * shin
        points[f"{side}_heel"] = points[f"{side}_ankle"] + 0.028 * shin - 0.025 * foot
        points[f"{side}_toe"] = points[f"{side}_heel"] + 0.125 * foot
    points = {name: scale * point for name, point in points.items()}
    axes = {"pelvis": pelvis, "chest": chest, "head": head}
    return Figure(points, axes, scale, body, sitting)


def _add_head(
    points: dict[str, np.ndarray], body: Body, chest: np.ndarray, head: np.ndarray
) -> None:
    throat = points["neck"] + 0.035 * chest[:, 1]
    points["throat"] = throat
    points["head"] = throat + body.head * (0.8 * head[:, 1] + 0.15 * head[:, 2])
    for name, place_on_head in FACE.items():
        points[name] = points["head"] + head @ (body.head * HEAD_AXES * np.array(place_on_head))


def moved(figure: Figure, offset: np.ndarray) -> Figure:
    """The figure moved by (dx, dy, dz) pixels."""
    points = {name: point + offset for name, point in figure.points.items()}
    return Figure(points, figure.axes, figure.scale, figure.body, figure.sitting)
