"""Paints heads: an ellipsoid seen from any side, with hair, a face and ears."""

from __future__ import annotations

import numpy as np

from datasets.figures.body import HEAD_AXES, SIDES, Figure
from datasets.figures.canvas import Canvas, toned
from datasets.figures.looks import EARS_COVERED, Look

# Height (in half axes of the head) down to which hair covers the nape, and how far ahead the line
# between hair and skin is at ear level and how it moves ahead towards the top.
_HAIRLINES = {
    "short": (-0.5, 0.02, 0.75),
    "fringe": (-0.6, 0.12, 0.42),
    "long": (-1.1, 0.22, 0.6),
    "bun": (-0.55, 0.05, 0.7),
    "tail": (-0.55, 0.05, 0.7),
    "bald": (2.0, 0.0, 0.0),
    "receding": (-0.5, -0.05, 0.1),
    "cap": (0.22, 2.0, 0.0),
    "curls": (-0.7, 0.15, 0.65),
    "scarf": (-1.1, 0.45, 0.3),
}
_FRINGE = 0.4  # height of the fringe's lower edge


def on_head(figure: Figure, left: float, up: float, ahead: float) -> np.ndarray:
    """(3,) view coordinates of a place given in half axes of the head."""
    reach = figure.scale * figure.body.head * HEAD_AXES
    return figure.points["head"] + figure.axes["head"] @ (reach * (left, up, ahead))


def faces_viewer(figure: Figure, left: float, up: float, ahead: float) -> float:
    """How much the head's surface there looks at the viewer: 1 straight, 0 at the outline."""
    normal = figure.axes["head"] @ (np.array([left, up, ahead]) / HEAD_AXES)
    return float(normal[2] / np.linalg.norm(normal))


def hair_behind(figure: Figure, look: Look) -> tuple[np.ndarray, np.ndarray, float, float] | None:
    """Hair that hangs or stands off: ends a, b (3,) and radii; None where there is none."""
    size = figure.scale * figure.body.head
    if look.haircut in ("long", "scarf"):
        low = -1.35 if look.haircut == "long" else -1.1
        return (
            on_head(figure, 0, 0.1, -0.35),
            on_head(figure, 0, low, -0.75),
            0.8 * size,
            0.6 * size,
        )
    if look.haircut == "bun":
        place = on_head(figure, 0, 0.75, -1.0)
        return place, place, 0.38 * size, 0.38 * size
    if look.haircut == "tail":
        start, end = on_head(figure, 0, 0.35, -1.15), on_head(figure, 0, -0.95, -1.45)
        return start, end, 0.3 * size, 0.16 * size
    if look.haircut == "curls":
        place = on_head(figure, 0, 0.2, -0.25)
        return place, place, 1.12 * size, 1.12 * size
    return None


def paint_hair_behind(canvas: Canvas, figure: Figure, look: Look, owner: int) -> None:
    shape = hair_behind(figure, look)
    if shape is not None:
        a, b, *radii = shape
        canvas.round_limb(a, b, tuple(radii), toned(look.hair, 0.9), owner)


def paint_head(canvas: Canvas, figure: Figure, look: Look, owners: dict[str, int]) -> None:
    """Neck, skull with hair, ears and face.

    Args:
        canvas: painted on.
        figure: whose head.
        look: its hair and skin.
        owners: of "head" (skin), "hair", "left_ear" and "right_ear".
    """
    size = figure.scale * figure.body.head
    neck_colour = look.hair if look.haircut == "scarf" else look.skin
    throat = figure.points["throat"] + 0.35 * (figure.points["head"] - figure.points["throat"])
    width = 0.46 * size
    canvas.round_limb(
        figure.points["neck"],
        throat,
        (width, 0.9 * width),
        toned(neck_colour, 0.85),
        owners["head"],
    )
    ears = () if look.haircut in EARS_COVERED else tuple(SIDES.items())
    depth = figure.points["head"][2]
    far = [(side, sign) for side, sign in ears if figure.points[f"{side}_ear"][2] < depth - 1]
    for side, sign in far:
        _paint_ear(canvas, figure, look, sign, owners[f"{side}_ear"])
    _paint_skull(canvas, figure, look, owners)
    for side, sign in ears:
        if (side, sign) not in far:
            _paint_ear(canvas, figure, look, sign, owners[f"{side}_ear"])
    _paint_face(canvas, figure, look, owners["head"])
    if look.haircut == "cap":
        _paint_brim(canvas, figure, look, owners["hair"])


def _paint_ear(canvas: Canvas, figure: Figure, look: Look, sign: float, owner: int) -> None:
    size = figure.scale * figure.body.head
    side_on = abs(figure.axes["head"][2, 0])  # 1: the ear is seen from its side
    radii = (size * (0.14 + 0.1 * side_on), 0.25 * size)
    centre = on_head(figure, sign, -0.02, -0.08)
    canvas.ellipse(centre, radii, toned(look.skin, 0.7), owner)
    inner = (0.62 * radii[0], 0.66 * radii[1])
    canvas.ellipse(centre, inner, toned(look.skin, 0.95), owner)


def _paint_skull(canvas: Canvas, figure: Figure, look: Look, owners: dict[str, int]) -> None:
    """Finds for each pixel where its line of sight meets the ellipsoid."""
    reach = 1.04 * figure.scale * figure.body.head
    x, y, _ = figure.points["head"]
    height, width = canvas.pixels.shape[:2]
    x0, x1 = max(0, int(x - reach) - 1), min(width, int(x + reach) + 3)
    y0, y1 = max(0, int(y - reach) - 1), min(height, int(y + reach) + 3)
    if x0 >= x1 or y0 >= y1:
        return
    dx = (np.arange(x0, x1, dtype=np.float32) - x)[None, :]
    dy = (np.arange(y0, y1, dtype=np.float32) - y)[:, None]
    to_ball = (figure.axes["head"].T / (reach * HEAD_AXES[:, None])).astype(np.float32)
    flat = [row[0] * dx + row[1] * dy for row in to_ball]  # on the ball, at the head's own depth
    slope = to_ball[:, 2]
    square = float(slope @ slope)
    along = flat[0] * slope[0] + flat[1] * slope[1] + flat[2] * slope[2]
    rest = along**2 - square * (flat[0] ** 2 + flat[1] ** 2 + flat[2] ** 2 - 1)
    inside = rest > 0
    depth = (np.sqrt(np.maximum(rest, 0)) - along) / square
    left, up, ahead = (f + s * depth for f, s in zip(flat, slope, strict=True))

    nape, line, rise = _HAIRLINES[look.haircut]
    hair = (ahead < line + rise * np.maximum(up, 0)) & (up > nape)
    if look.haircut == "fringe":
        hair |= up > _FRINGE
    beard = (up < -0.36) & (ahead > 0.05) & look.beard & ~hair
    tone = 0.9 + 0.2 * (canvas.light[0] * dx + canvas.light[1] * dy) / reach
    tone = tone * (0.72 + 0.28 * np.minimum(1, 2.2 * np.sqrt(np.maximum(rest, 0) / square) / reach))
    palette = np.array([look.skin, look.hair, toned(look.hair, 0.9)], dtype=np.float32)
    kind = np.where(hair, 1, 2 * beard)[inside]
    painted = np.empty((len(kind), 4), dtype=np.uint8)
    painted[:, :3] = np.clip(palette[kind] * tone[inside, None], 0, 255)
    painted[:, 3] = np.where(kind == 1, owners["hair"], owners["head"])
    canvas.pixels[y0:y1, x0:x1][inside] = painted


def _paint_face(canvas: Canvas, figure: Figure, look: Look, owner: int) -> None:
    size = figure.scale * figure.body.head
    turned = abs(figure.axes["head"][2, 2])  # 1: seen straight
    for sign in SIDES.values():
        if faces_viewer(figure, 0.37 * sign, 0.1, 0.92) < 0.12:
            continue
        eye = on_head(figure, 0.37 * sign, 0.1, 0.92)
        radii = (size * (0.06 + 0.11 * turned), 0.12 * size)
        canvas.ellipse(eye, radii, (245, 245, 240), owner)
        canvas.ellipse(eye, (0.62 * radii[0], 0.8 * radii[1]), (35, 25, 25), owner)
        brow = np.stack([on_head(figure, sign * x, 0.32, 0.88) for x in (0.2, 0.55)])
        canvas.line(brow, 0.1 * size, toned(look.hair, 0.7), owner)
        if look.glasses:
            _paint_glass(canvas, figure, sign, owner)
    if faces_viewer(figure, 0, -0.16, 1) > -0.1:
        bridge, tip = on_head(figure, 0, 0.02, 0.92), on_head(figure, 0, -0.16, 1.06)
        canvas.capsule(bridge, tip, (0.05 * size, 0.13 * size), toned(look.skin, 0.78), owner)
        canvas.ellipse(tip[:2], (0.08 * size, 0.08 * size), toned(look.skin, 1.1), owner)
    if faces_viewer(figure, 0, -0.5, 0.85) > 0.1:
        mouth = np.stack([on_head(figure, x, -0.52, 0.86) for x in (-0.26, 0.0, 0.26)])
        canvas.line(mouth, 0.12 * size, toned((190, 70, 70), 0.5 + 0.4 * look.skin[0] / 255), owner)


def _paint_glass(canvas: Canvas, figure: Figure, sign: float, owner: int) -> None:
    size = figure.scale * figure.body.head
    angles = np.linspace(0, 2 * np.pi, 13)
    rim = [
        on_head(figure, sign * (0.37 + 0.27 * np.cos(a)), 0.1 + 0.22 * np.sin(a), 0.96)
        for a in angles
    ]
    canvas.line(np.stack(rim), 0.07 * size, (25, 25, 30), owner)


def _paint_brim(canvas: Canvas, figure: Figure, look: Look, owner: int) -> None:
    if faces_viewer(figure, 0, 0.24, 1) < -0.25:
        return
    rim = [
        (-0.8, 0.26, 0.6),
        (0.8, 0.26, 0.6),
        (0.6, 0.2, 1.35),
        (0, 0.18, 1.55),
        (-0.6, 0.2, 1.35),
    ]
    canvas.hull(np.stack([on_head(figure, *p) for p in rim]), toned(look.hair, 0.7), owner)
