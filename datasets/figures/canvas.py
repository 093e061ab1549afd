"""A canvas that remembers who painted each of its pixels."""

from __future__ import annotations

import cv2
import numpy as np

Colour = tuple[int, int, int]

NOBODY = 0  # owner of the background
THING = 255  # owner of furniture and of what stands in front of people

_SHIFT = 4  # fractional bits of cv2's coordinates
_ARC = np.exp(1j * np.linspace(np.pi / 2, 3 * np.pi / 2, 9))  # half a circle
_ROUND = np.concatenate([_ARC, -_ARC])
_ENDS = np.repeat(np.eye(2), len(_ARC), axis=1)  # which end of a limb each point belongs to


def toned(colour: Colour, factor: float) -> Colour:
    """Darker below 1; above, lighter towards white."""
    red, green, blue = colour
    if factor <= 1:
        return int(red * factor), int(green * factor), int(blue * factor)
    share, white = 2 - factor, 255 * (factor - 1)
    return int(red * share + white), int(green * share + white), int(blue * share + white)


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.rint(points * 2**_SHIFT).astype(np.int32)


def _limbs(
    a: np.ndarray, b: np.ndarray, widths: list[tuple[float, float]], shifts: list[complex]
) -> np.ndarray:
    """(l, n, 2) fixed-point outlines of limbs from a to b with these radii, each shifted."""
    (ax, ay), (bx, by) = a[:2].tolist(), b[:2].tolist()
    start, along = complex(ax, ay), complex(bx - ax, by - ay)
    around = _ROUND * (along / abs(along) if along else 1.0)
    points = np.array(widths) @ _ENDS * around + (start + along * _ENDS[1])
    points += np.array(shifts)[:, None]
    points *= 2**_SHIFT
    return np.rint(points.view(np.float64)).astype(np.int32).reshape(len(widths), -1, 2)


class Canvas:
    """Shapes in pixel coordinates, pixel centres at whole numbers; colours are RGB.

    Points may have a third coordinate, which is ignored.

    Attributes:
        pixels: (h, w, 4) uint8: red, green, blue, owner.
        light: (2,) unit vector in the picture to where the light comes from.
    """

    def __init__(self, pixels: np.ndarray, light: np.ndarray) -> None:
        self.pixels = pixels
        self.light = light

    def polygon(self, points: np.ndarray, colour: Colour, owner: int) -> None:
        """Fills any polygon (n, 2)."""
        points = _fixed(points[:, :2])
        cv2.fillPoly(self.pixels, [points], (*colour, owner), cv2.LINE_8, _SHIFT)

    def hull(self, points: np.ndarray, colour: Colour, owner: int) -> None:
        """Fills the convex hull of points (n, 2)."""
        hull = cv2.convexHull(_fixed(points[:, :2]))
        cv2.fillConvexPoly(self.pixels, hull, (*colour, owner), cv2.LINE_8, _SHIFT)

    def line(self, points: np.ndarray, width: float, colour: Colour, owner: int) -> None:
        """Draws along points (n, 2)."""
        lines = [_fixed(points[:, :2])]
        width = max(1, round(width))
        cv2.polylines(self.pixels, lines, False, (*colour, owner), width, cv2.LINE_8, _SHIFT)

    def ellipse(
        self,
        centre: np.ndarray,
        radii: tuple[float, float],
        colour: Colour,
        owner: int,
        degrees: float = 0.0,
    ) -> None:
        """Fills an ellipse; `degrees` turns it clockwise."""
        x, y = _fixed(centre[:2]).tolist()
        axes = [max(1, round(radius * 2**_SHIFT)) for radius in radii]
        value = (*colour, owner)
        cv2.ellipse(self.pixels, (x, y), axes, degrees, 0, 360, value, -1, cv2.LINE_8, _SHIFT)

    def capsule(
        self, a: np.ndarray, b: np.ndarray, radii: tuple[float, float], colour: Colour, owner: int
    ) -> None:
        """Fills a limb from a to b with a radius at either end."""
        (points,) = _limbs(a, b, [radii], [0j])
        cv2.fillConvexPoly(self.pixels, points, (*colour, owner), cv2.LINE_8, _SHIFT)

    def round_limb(
        self, a: np.ndarray, b: np.ndarray, radii: tuple[float, float], colour: Colour, owner: int
    ) -> None:
        """A capsule that looks round: dark at its rim, bright towards the light."""
        first, second = radii
        least, rim = min(radii), max(0.7, 0.16 * max(radii))
        light = complex(*self.light)
        widths = [radii, (max(0.5, first - rim), max(0.5, second - rim))]
        shifts, tones = [0j, 0.5 * rim * light], [0.6, 1.0]
        if least > 3:
            widths.append((0.3 * first, 0.3 * second))
            shifts.append(0.36 * least * light)
            tones.append(1.15)
        for points, tone in zip(_limbs(a, b, widths, shifts), tones, strict=True):
            value = (*toned(colour, tone), owner)
            cv2.fillConvexPoly(self.pixels, points, value, cv2.LINE_8, _SHIFT)

    def round_ball(self, centre: np.ndarray, radius: float, colour: Colour, owner: int) -> None:
        """A disc that looks like a ball."""
        centre = centre[:2]
        for share, tone in ((1.0, 0.62), (0.84, 1.0), (0.36, 1.16)):
            shift = (1 - share) * 0.7 * radius * self.light
            self.ellipse(centre + shift, (share * radius,) * 2, toned(colour, tone), owner)

    def shadow(self, centre: np.ndarray, radii: tuple[float, float], strength: float) -> None:
        """Darkens an ellipse softly; owners stay."""
        height, width = self.pixels.shape[:2]
        x0, x1 = _span(centre[0], radii[0], width)
        y0, y1 = _span(centre[1], radii[1], height)
        if x0 >= x1 or y0 >= y1:
            return
        dx = (np.arange(x0, x1, dtype=np.float32) - centre[0]) / radii[0]
        dy = (np.arange(y0, y1, dtype=np.float32) - centre[1]) / radii[1]
        inside = np.clip(1 - dx[None] ** 2 - dy[:, None] ** 2, 0, 1)
        region = self.pixels[y0:y1, x0:x1, :3]
        region[:] = (region * (1 - strength * inside[..., None])).astype(np.uint8)


def _span(centre: float, radius: float, limit: int) -> tuple[int, int]:
    return max(0, int(centre - radius)), min(limit, int(centre + radius) + 2)
