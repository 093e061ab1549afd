"""A picture of several people: who is in it, where they stand, and what is left visible of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from datasets.figures.body import Figure, moved, place, random_body, random_pose
from datasets.figures.canvas import NOBODY, THING, Canvas
from datasets.figures.looks import Look, random_look
from datasets.figures.painter import PARTS, Painter
from datasets.figures.scenery import background, grain, paint_distractor, paint_occluder

FINER = 2  # the canvas has this many pixels for one of the picture
LEAST_SHOWN = 0.5  # share of a figure's pixels below which it leaves the scene
_JOINTS = tuple(
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye")
)


@dataclass(frozen=True)
class Person:
    """A figure on the canvas, in the canvas' pixels.

    Attributes:
        figure: where its joints are.
        owners: numbers of its parts in the canvas' fourth channel.
        mask: (h, w) bool; what is seen of it.
    """

    figure: Figure
    owners: dict[str, int]
    mask: np.ndarray


@dataclass(frozen=True)
class _Thing:
    """An occluder; what it looks like follows from its own seed."""

    seed: int
    centre: np.ndarray
    size: float


@dataclass(frozen=True)
class _Actor:
    """A figure, what it wears and what stands before it."""

    figure: Figure
    look: Look
    thing: _Thing | None


def draw_scene(rng: Generator, size: int) -> tuple[np.ndarray, np.ndarray, list[Person]]:
    """Draws a picture at twice its size.

    Returns:
        image (size, size, 3) uint8 RGB, canvas (2 size, 2 size, 4) uint8 with owners, and 1 to 4
        people from far to near.
    """
    side = FINER * size
    angle = rng.uniform(-0.85, 0.85) * np.pi / 2
    light = np.array([np.sin(angle), -np.cos(angle)])
    horizon = float(rng.uniform(0.3, 0.75)) * size
    empty = background(rng, size, horizon)
    empty = cv2.resize(empty, (side, side), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(1, 3)):
        paint_distractor(Canvas(empty, light), rng, NOBODY)
    painted, people = _play(empty, light, _cast(rng, side))
    return _developed(rng, painted, size), painted, people


def _play(
    empty: np.ndarray, light: np.ndarray, actors: list[_Actor]
) -> tuple[np.ndarray, list[Person]]:
    """Paints the actors; those of whom too little is seen leave the scene."""
    while True:
        painted, masks, alone = _paint(empty, light, actors)
        shown = [
            np.count_nonzero(mask) >= LEAST_SHOWN * pixels
            for mask, pixels in zip(masks, alone, strict=True)
        ]
        if all(shown):
            break
        if any(shown):
            actors = [actor for actor, keep in zip(actors, shown, strict=True) if keep]
        else:  # things hide everybody
            actors = [replace(actor, thing=None) for actor in actors]
    return painted, [
        Person(actor.figure, _owners(i), mask)
        for i, (actor, mask) in enumerate(zip(actors, masks, strict=True))
    ]


def _owners(index: int) -> dict[str, int]:
    first = 1 + index * len(PARTS)
    return {part: first + i for i, part in enumerate(PARTS)}


def _cast(rng: Generator, side: int) -> list[_Actor]:
    """1 to 4 figures, far ones first."""
    count = int(rng.choice(4, p=(0.2, 0.3, 0.3, 0.2))) + 1
    common = np.exp(rng.uniform(np.log(0.46), np.log(1.02))) * (1.1 - 0.08 * count)
    pitch = float(rng.uniform(0, 18))
    actors = []
    while not actors:
        for slot in rng.permutation(count):
            x = ((slot + 0.5) / count + rng.normal(0, 0.11)) * side
            scale = common * rng.uniform(0.75, 1.3) * side
            figure = _placed(rng, x, scale, pitch, side)
            if figure is not None:
                actors.append(_Actor(figure, random_look(rng), _thing(rng, side, figure)))
    return sorted(actors, key=lambda actor: actor.figure.scale * rng.uniform(0.85, 1.15))


def _placed(
    rng: Generator, x: float, scale: float, pitch: float, side: int, tries: int = 20
) -> Figure | None:
    """A random figure near column x with at least six in ten of its joints inside the picture."""
    for _ in range(tries):
        figure = _stood(rng, x, scale, pitch, side)
        if _inside(figure, side) >= 0.6:
            return figure
        x += 0.3 * (side / 2 - x)
    return None


def _stood(rng: Generator, x: float, scale: float, pitch: float, side: int) -> Figure:
    """A random figure; the middle of what it spans is near the middle of the picture's height."""
    pose, sitting = random_pose(rng)
    figure = place(random_body(rng), pose, scale, pitch, sitting)
    rows = np.array([point[1] for point in figure.points.values()])
    middle = side * (0.52 + rng.normal(0, 0.09)) + rng.uniform(0, 0.25) * max(0, scale - side)
    return moved(figure, np.array([x, middle - (rows.min() + rows.max()) / 2, 0.0]))


def _inside(figure: Figure, side: int) -> float:
    """Share of the joints inside the picture."""
    places = np.stack([figure.points[name][:2] for name in _JOINTS])
    return float(((places > 2) & (places < side - 3)).all(axis=1).mean())


def _thing(rng: Generator, side: int, figure: Figure) -> _Thing | None:
    """An occluder around one of the figure's joints, before every seventh figure."""
    if rng.random() > 0.15:
        return None
    joint = figure.points[_JOINTS[rng.integers(len(_JOINTS))]][:2]
    centre = joint + rng.normal(0, 0.08, size=2) * figure.scale
    size = float(rng.uniform(0.3, 0.8)) * figure.scale
    return _Thing(int(rng.integers(2**32)), centre, min(size, 0.7 * side))


def _paint(
    empty: np.ndarray, light: np.ndarray, actors: Sequence[_Actor]
) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """Paints actors and what stands before them over a background.

    Returns:
        canvas, and for each actor the mask of what is seen of it and how many pixels it would have
        with nothing in front.
    """
    canvas = Canvas(empty.copy(), light)
    for actor in actors:
        _shade(canvas, actor.figure)
    alone = []
    for i, actor in enumerate(actors):
        Painter(canvas, actor.figure, actor.look, 1 + i * len(PARTS)).paint()
        alone.append(np.count_nonzero(_mask(_around(canvas.pixels, actor.figure), i)))
        if actor.thing is not None:
            thing = actor.thing
            look = np.random.default_rng(thing.seed)
            paint_occluder(canvas, look, thing.centre, thing.size, THING)
    owners = cv2.extractChannel(canvas.pixels, 3)
    return canvas.pixels, [_mask(owners, i) for i in range(len(actors))], alone


def _mask(owners: np.ndarray, index: int) -> np.ndarray:
    """What this person owns: (h, w) bool."""
    return owners - np.uint8(1 + index * len(PARTS)) < len(PARTS)  # others wrap around


def _around(pixels: np.ndarray, figure: Figure) -> np.ndarray:
    """(h, w) owners of the pixels that a figure may have painted."""
    places = np.array(list(figure.points.values()))[:, :2]
    margin = 0.2 * figure.scale  # more than hair and clothes reach
    x0, y0 = np.maximum(places.min(axis=0) - margin, 0).astype(int)
    x1, y1 = np.maximum(places.max(axis=0) + margin, 0).astype(int)
    return pixels[y0:y1, x0:x1, 3]


def _shade(canvas: Canvas, figure: Figure) -> None:
    feet = [figure.points[f"{side}_heel"] for side in ("left", "right")]
    low = max(foot[1] for foot in feet) + 0.02 * figure.scale
    centre = np.array([(feet[0][0] + feet[1][0]) / 2, low])
    canvas.shadow(centre, (0.22 * figure.scale, 0.05 * figure.scale), 0.5)


def _developed(rng: Generator, painted: np.ndarray, size: int) -> np.ndarray:
    """The picture at its size, with the faults of a camera: exposure, blur, noise."""
    small = cv2.resize(painted, (size, size), interpolation=cv2.INTER_AREA)
    small = cv2.cvtColor(small, cv2.COLOR_RGBA2RGB)
    if rng.random() < 0.1:
        small = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(0.4, 0.9)))
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-18, 18)
    noise = float(rng.uniform(1, 6))
    return cv2.addWeighted(small, gain, grain(rng, size), noise, offset, dtype=cv2.CV_8U)
