"""What is around the figures: backgrounds, things that look like limbs, things that hide people."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator

from datasets.figures.canvas import NOBODY, Canvas, Colour, toned
from datasets.figures.looks import SKINS, random_colour

_BANK = 512  # side of the stored noise
_MUTED = 0.6  # backgrounds are paler than clothes


@lru_cache(maxsize=1)
def _noise_bank() -> tuple[np.ndarray, np.ndarray]:
    """Clouds, (512, 512) in [0, 1], and grain, (512, 512, 3) of mean 0 and deviation 1."""
    rng = np.random.default_rng(0)
    clouds = np.zeros((_BANK, _BANK), dtype=np.float32)
    for cells in (4, 8, 16, 32, 64, 128):
        grid = rng.random((cells, cells), dtype=np.float32)
        clouds += cv2.resize(grid, (_BANK, _BANK), interpolation=cv2.INTER_CUBIC) / cells**0.8
    clouds = (clouds - clouds.min()) / np.ptp(clouds)
    return clouds, rng.standard_normal((_BANK, _BANK, 3), dtype=np.float32)


def _cut(rng: Generator, bank: np.ndarray, side: int) -> np.ndarray:
    """A square of the bank, mirrored by chance."""
    y, x = rng.integers(0, _BANK - side + 1, size=2)
    piece = bank[y : y + side, x : x + side]
    return piece[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]


def clouds(rng: Generator, side: int) -> np.ndarray:
    """(side, side) float32 in [0, 1], soft."""
    piece = _cut(rng, _noise_bank()[0], int(rng.integers(_BANK // 8, _BANK // 2)))
    return cv2.resize(np.ascontiguousarray(piece), (side, side), interpolation=cv2.INTER_LINEAR)


def grain(rng: Generator, side: int) -> np.ndarray:
    """(side, side, 3) float32 noise of mean 0 and deviation 1."""
    bank = _noise_bank()[1]
    repeats = -(-side // _BANK)
    if repeats > 1:
        return np.tile(bank, (repeats, repeats, 1))[:side, :side]
    return np.ascontiguousarray(_cut(rng, bank, side))


def _blend(a: Colour, b: Colour, share: np.ndarray) -> np.ndarray:
    """(h, w, 3) float32 from colour a where the share is 0 to b where it is 1."""
    share = share.astype(np.float32, copy=False)
    return cv2.merge([low + share * np.float32(high - low) for low, high in zip(a, b, strict=True)])


def _ramp(rng: Generator, side: int) -> np.ndarray:
    """A linear or radial gradient in [0, 1]."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    if rng.random() < 0.3:
        cx, cy = rng.uniform(-0.8, 0.8, size=2)
        return np.clip(((axis[None] - cx) ** 2 + (axis[:, None] - cy) ** 2) / 2.5, 0, 1)
    angle = rng.uniform(0, 2 * np.pi)
    return np.clip(0.5 + 0.4 * (axis[None] * np.cos(angle) + axis[:, None] * np.sin(angle)), 0, 1)


def _wall(rng: Generator, side: int) -> np.ndarray:
    """Tiles, bricks, stripes or dots."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    cell = int(rng.integers(side // 20, side // 5))
    kind = rng.integers(4)
    if kind == 0:
        share = ((x // cell + y // cell) % 2).astype(np.float32)
    elif kind == 1:
        shifted = x + (y // cell % 2) * cell
        share = ((shifted % (2 * cell) < 3) | (y % cell < 3)).astype(np.float32)
    elif kind == 2:
        angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
        share = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * np.pi / cell)
    else:
        share = ((x % cell - cell / 2) ** 2 + (y % cell - cell / 2) ** 2 < (cell / 3) ** 2) * 1.0
    base = random_colour(rng, _MUTED)
    other = toned(base, rng.uniform(0.7, 1.3)) if rng.random() < 0.7 else random_colour(rng, _MUTED)
    return _blend(base, other, share.astype(np.float32))


def background(rng: Generator, side: int, horizon: float) -> np.ndarray:
    """(side, side, 4) uint8 with owner NOBODY.

    Args:
        rng: what it depends on.
        side: of the canvas.
        horizon: row at which the floor begins in pictures that have one.
    """
    kind = rng.choice(["ramp", "clouds", "wall", "room", "field"], p=(0.4, 0.35, 0.09, 0.08, 0.08))
    if kind == "ramp":
        picture = _blend(random_colour(rng, _MUTED), random_colour(rng, _MUTED), _ramp(rng, side))
    elif kind == "clouds":
        picture = _blend(random_colour(rng, _MUTED), random_colour(rng, _MUTED), clouds(rng, side))
    elif kind == "wall":
        picture = _wall(rng, side)
    else:
        picture = _room(rng, side, horizon) if kind == "room" else _field(rng, side, horizon)
    picture += 40 * rng.random() * (clouds(rng, side)[..., None] - 0.5)
    pixels = np.zeros((side, side, 4), dtype=np.uint8)
    pixels[..., :3] = np.clip(picture, 0, 255)
    pixels[..., 3] = NOBODY
    return pixels


def _room(rng: Generator, side: int, horizon: float) -> np.ndarray:
    wall = _wall(rng, side) if rng.random() < 0.3 else _blend(
        random_colour(rng, _MUTED), random_colour(rng, _MUTED), 0.4 * _ramp(rng, side)
    )  # fmt: skip
    row = int(np.clip(horizon, 1, side - 1))
    colour = random_colour(rng, _MUTED)
    wall[row:] = _blend(toned(colour, 0.7), colour, _ramp(rng, side))[row:]
    wall[row : row + max(2, side // 80)] *= 0.6  # skirting board
    for _ in range(rng.integers(0, 3)):  # windows, doors, posters
        w, h = (rng.uniform(0.08, 0.3, size=2) * side).astype(int)
        x, y = int(rng.integers(0, side - w)), int(rng.integers(0, max(1, row - h)))
        frame = wall[y : y + h + 8, x : x + w + 8]
        frame[:] = toned(random_colour(rng, _MUTED), 0.8)
        frame[4:-4, 4:-4] = random_colour(rng, _MUTED)
    return wall


def _field(rng: Generator, side: int, horizon: float) -> np.ndarray:
    sky = (int(rng.integers(120, 220)), int(rng.integers(160, 230)), int(rng.integers(190, 255)))
    fade = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    picture = _blend(sky, toned(sky, 1.6), np.repeat(fade, side, axis=1))
    columns = np.arange(side)
    for nearness in (0.0, 0.5, 1.0):  # two rows of hills, then the ground
        waves = rng.uniform(0.5, 3, size=2) * np.pi / side
        swing = rng.uniform(0.01, 0.07, size=2) * side * (1 - 0.9 * nearness)
        edge = horizon - (1 - nearness) * 0.22 * side
        edge = edge + sum(s * np.sin(w * columns + rng.uniform(0, 6)) for w, s in
                          zip(waves, swing, strict=True))  # fmt: skip
        colour = random_colour(rng, _MUTED) if rng.random() < 0.4 else _green(rng)
        shaded = _blend(toned(colour, 0.75), toned(colour, 1.1), clouds(rng, side))
        picture = np.where((np.arange(side)[:, None] > edge)[..., None], shaded, picture)
    return picture


def _green(rng: Generator) -> Colour:
    return tuple(int(rng.integers(*r)) for r in ((50, 140), (90, 170), (40, 90)))


def paint_distractor(canvas: Canvas, rng: Generator, owner: int) -> None:
    """Something that is no person: like a limb, like a head, a post, a coat, a bush."""
    side = canvas.pixels.shape[0]
    kind = rng.choice(["limbs", "limbs", "ball", "post", "coat", "blocks"])
    place = rng.uniform(0, side, size=2)
    size = float(rng.uniform(0.06, 0.25)) * side
    colour = SKINS[rng.integers(len(SKINS))] if rng.random() < 0.4 else random_colour(rng)
    if kind == "limbs":
        _limb_chain(canvas, rng, place, size, colour, owner)
    elif kind == "ball":
        radius = 0.25 * size
        canvas.line(np.stack([place, place + (0, 1.6 * size)]), 2, toned(colour, 0.5), owner)
        canvas.round_ball(place, radius, colour, owner)
    elif kind == "post":
        top = place - (0, size)
        radius = float(rng.uniform(0.01, 0.03)) * side
        canvas.round_limb(top, top + (rng.normal(0, 6), 3 * size), (radius, radius), colour, owner)
    elif kind == "coat":
        shape = np.array([(-0.3, -0.5), (0.3, -0.5), (0.36, 0.5), (-0.36, 0.5)])
        canvas.polygon(place + size * shape, toned(colour, 0.6), owner)
        canvas.polygon(place + 0.88 * size * shape, colour, owner)
        for sign in (-1, 1):
            sleeve = place + size * np.array([(sign * 0.27, -0.42), (sign * 0.45, 0.2)])
            canvas.round_limb(*sleeve, (0.1 * size, 0.08 * size), colour, owner)
    else:
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * size * rng.uniform(0.1, 0.6, 2)
        angle = rng.uniform(0, np.pi)
        spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        canvas.polygon(place + corners @ spin.T, colour, owner)


def _limb_chain(
    canvas: Canvas, rng: Generator, place: np.ndarray, size: float, colour: Colour, owner: int
) -> None:
    """One to three pieces in a row, as thick as an arm or a leg."""
    angle, radius = rng.uniform(0, 2 * np.pi), float(rng.uniform(0.1, 0.22)) * size
    for piece in range(rng.integers(1, 4)):
        end = place + size * np.array([np.cos(angle), np.sin(angle)])
        shade = colour if piece == 0 or rng.random() < 0.5 else random_colour(rng)
        canvas.round_limb(place, end, (radius, 0.75 * radius), shade, owner)
        place, radius = end, 0.75 * radius
        angle += rng.normal(0, 0.9)


def paint_occluder(
    canvas: Canvas, rng: Generator, centre: np.ndarray, size: float, owner: int
) -> None:
    """A thing that stands in front of people, about as large as `size` pixels."""
    kind = rng.choice(["crate", "post", "table", "bush", "board"])
    colour = random_colour(rng)
    x, y = centre
    if kind == "crate":
        half = size * rng.uniform(0.2, 0.4, size=2)
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half + centre
        canvas.polygon(corners, toned(colour, 0.6), owner)
        for share in (-0.6, 0.0, 0.6):
            plank = np.array([(-0.94, -0.26), (0.94, -0.26), (0.94, 0.26), (-0.94, 0.26)])
            canvas.polygon((plank + (0, share)) * half + centre, colour, owner)
    elif kind == "post":
        radius = size * float(rng.uniform(0.03, 0.08))
        ends = np.array([(x, y - 2 * size), (x + rng.normal(0, 0.1) * size, y + 2 * size)])
        canvas.round_limb(*ends, (radius, radius), colour, owner)
    elif kind == "table":
        wide, thick = size * rng.uniform(0.3, 0.6), 0.05 * size
        for sign in (-0.85, 0.85):
            leg = np.array([(x + sign * wide, y), (x + sign * wide, y + 0.5 * size)])
            canvas.round_limb(*leg, (thick, thick), toned(colour, 0.8), owner)
        top = np.array([(x - wide, y), (x + wide, y)])
        canvas.round_limb(*top, (1.2 * thick, 1.2 * thick), colour, owner)
    elif kind == "bush":
        green = _green(rng)
        for _ in range(14):
            leaf = centre + size * rng.normal(0, (0.16, 0.13))
            radii = tuple(size * rng.uniform(0.05, 0.12, size=2))
            tone = float(rng.uniform(0.6, 1.15))
            canvas.ellipse(leaf, radii, toned(green, tone), owner, float(rng.uniform(0, 180)))
    else:
        half = size * rng.uniform((0.15, 0.1), (0.45, 0.22))
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half + centre
        canvas.polygon(corners, colour, owner)
        canvas.polygon(centre + 0.85 * (corners - centre), toned(colour, 1.4), owner)
        for row in (-0.4, 0.0, 0.4):
            text = centre + half * np.array([(-0.6, row), (float(rng.uniform(0, 0.7)), row)])
            canvas.line(text, 0.02 * size, toned(colour, 0.4), owner)
