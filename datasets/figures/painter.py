"""Paints a figure part by part from back to front, and says which of its keypoints are seen."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from datasets.figures.body import SIDES, Figure
from datasets.figures.canvas import THING, Canvas, Colour, toned
from datasets.figures.head import hair_behind, paint_hair_behind, paint_head
from datasets.figures.looks import Look

_SIDED = ("ear", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")
PARTS = ("head", "hair", "torso", "pelvis", "bag", "skirt") + tuple(
    f"{side}_{part}" for side in SIDES for part in _SIDED
)
_PART = {name: i for i, name in enumerate(PARTS)}

# Radii of limbs at their two ends, as shares of the height of a slim adult.
_RADII = {
    "upper_arm": (0.030, 0.024),
    "forearm": (0.024, 0.017),
    "hand": (0.017, 0.021),
    "thigh": (0.050, 0.034),
    "shin": (0.034, 0.021),
    "foot": (0.027, 0.020),
}
# Level sections of the trunk: how far up from pelvis (0) over waist (1) to neck (2), half width as
# a multiple of the shoulders' or hips' and half depth as a share of the height.
_TRUNK = (
    (-0.22, "hip", 1.15, 0.050),
    (0.1, "hip", 1.62, 0.056),
    (1.0, "shoulder", 0.74, 0.052),
    (1.5, "shoulder", 0.95, 0.060),
    (1.84, "shoulder", 1.04, 0.042),
    (2.0, "shoulder", 0.62, 0.032),
)
_BELT = 2  # the shirt begins a little below this section


def _around(degrees: Sequence[float] | np.ndarray) -> np.ndarray:
    """(n, 3): what to multiply an ellipse's centre and half axes with; 90 is the front."""
    angles = np.deg2rad(degrees)
    return np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)


_RING = _around(np.linspace(0, 360, 16, endpoint=False))
_INNER = _RING * (1, 0.88, 0.88)  # inside the dark rim


class Painter:
    """Paints one figure.

    Args:
        canvas: to paint on.
        figure: placed in the canvas' pixels.
        look: what it wears.
        first_owner: part i of PARTS becomes owner first_owner + i.
    """

    def __init__(self, canvas: Canvas, figure: Figure, look: Look, first_owner: int) -> None:
        self.canvas = canvas
        self.figure = figure
        self.look = look
        self.points = figure.points
        self.owners = {name: first_owner + i for name, i in _PART.items()}
        self.thick = figure.scale * figure.body.girth
        self.sections = [self._ellipse(*row) for row in _TRUNK]

    def _ellipse(self, level: float, joint: str, width: float, depth: float) -> np.ndarray:
        """(3, 3): centre and the two half axes (to the left, ahead) of a section, see _TRUNK."""
        names = ("pelvis", "waist", "neck")
        low = min(1, max(0, int(level)))
        a, b = self.points[names[low]], self.points[names[low + 1]]
        axes = self.figure.axes["chest" if level > 1 else "pelvis"]
        girth = 0.5 + 0.5 * self.figure.body.girth
        half_width = width * getattr(self.figure.body, joint) * self.figure.scale * girth
        centre = a + (level - low) * (b - a)
        return np.stack([centre, half_width * axes[:, 0], depth * self.thick * axes[:, 2]])

    def paint(self) -> None:
        if self.figure.sitting:
            self._seat()
        for _, job in sorted(self._jobs(), key=lambda item: item[0]):
            job()

    def _jobs(self) -> list[tuple[float, Callable[[], None]]]:
        """What to paint, and how near it is."""
        points, bias = self.points, 0.012 * self.figure.scale
        chest = self.figure.axes["chest"]
        trunk = (points["neck"][2] + points["pelvis"][2]) / 2
        jobs = [
            (trunk, self._trunk),
            (max(points["head"][2], trunk) + 0.5 * bias, self._head),
        ]
        hair = hair_behind(self.figure, self.look)
        if hair is not None:
            near = (hair[0][2] + hair[1][2]) / 2
            above = near > points["head"][2]
            near = max(near, jobs[1][0] + bias) if above else min(near, trunk - bias)
            jobs.append((near, self._hair))
        if self.look.bag:
            jobs.append((trunk - 0.1 * self.figure.scale * chest[2, 2], self._bag))
        for side in SIDES:
            jobs += self._arm_jobs(side, bias) + self._leg_jobs(side, bias)
        if self.look.skirt:
            knees = max(points["left_knee"][2], points["right_knee"][2])
            jobs.append(((points["pelvis"][2] + knees) / 2 + bias, self._skirt))
        return jobs

    def _arm_jobs(self, side: str, bias: float) -> list[tuple[float, Callable[[], None]]]:
        look, points = self.look, self.points
        shoulder, elbow, wrist, hand = (
            points[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "hand")
        )
        near = (shoulder[2] + elbow[2]) / 2 + bias
        far = (elbow[2] + hand[2]) / 2 + 1.2 * bias

        def upper() -> None:
            self._clothed(f"{side}_upper_arm", shoulder, elbow, min(look.sleeves, 1.0), look.shirt)

        def fore() -> None:
            self._clothed(f"{side}_hand", wrist, hand, 0.0, look.skin)
            sleeve = 1.0 if look.sleeves > 1 else 0.0
            self._clothed(f"{side}_forearm", elbow, wrist, sleeve, look.shirt)

        return [(near, upper), (far, fore)]

    def _leg_jobs(self, side: str, bias: float) -> list[tuple[float, Callable[[], None]]]:
        look, points = self.look, self.points
        hip, knee, ankle, heel, toe = (
            points[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle", "heel", "toe")
        )
        near = (hip[2] + knee[2]) / 2 - bias
        far = (knee[2] + ankle[2]) / 2 - 1.2 * bias
        last = max((ankle[2] + toe[2]) / 2, far) if toe[2] > ankle[2] else far - 0.1 * bias

        def thigh() -> None:
            self._clothed(f"{side}_thigh", hip, knee, min(look.trousers, 1.0), look.legs)

        def shin() -> None:
            leg = 1.0 if look.trousers > 1 else 0.0
            self._clothed(f"{side}_shin", knee, ankle, leg, look.legs)

        def foot() -> None:
            self._foot(side, heel, toe, ankle)

        return [(near, thigh), (far, shin), (last, foot)]

    def _radii(self, part: str) -> tuple[float, float]:
        near, far = _RADII[part]
        return near * self.thick, far * self.thick

    def _clothed(
        self, part: str, a: np.ndarray, b: np.ndarray, covered: float, cloth: Colour
    ) -> None:
        """A limb of skin, cloth over the first share of it."""
        ra, rb = self._radii(part.partition("_")[2])
        owner = self.owners[part]
        if covered < 1:
            self.canvas.round_limb(a, b, (ra, rb), self.look.skin, owner)
        if covered > 0:
            end = a + covered * (b - a)
            wide = (1.12 * ra, 1.15 * (ra + covered * (rb - ra)))
            self.canvas.round_limb(a, end, wide, cloth, owner)

    def _foot(self, side: str, heel: np.ndarray, toe: np.ndarray, ankle: np.ndarray) -> None:
        owner, (back, front) = self.owners[f"{side}_foot"], self._radii("foot")
        self.canvas.capsule(ankle, heel, (0.9 * back, back), toned(self.look.shoes, 0.6), owner)
        self.canvas.round_limb(heel, toe, (back, front), self.look.shoes, owner)
        cap = toe + 0.12 * (heel - toe)
        self.canvas.ellipse(cap, (0.7 * front, 0.7 * front), toned(self.look.shoes, 1.35), owner)

    def _section(self, level: float, around: np.ndarray = _RING) -> np.ndarray:
        """(n, 3) points around the trunk at a level, see _TRUNK."""
        levels = [row[0] for row in _TRUNK]
        high = min(max(1, bisect(levels, level)), len(_TRUNK) - 1)
        share = (level - levels[high - 1]) / (levels[high] - levels[high - 1])
        ellipse = (1 - share) * self.sections[high - 1] + share * self.sections[high]
        return around @ ellipse

    def _hulls(self, levels: list[float], colour: Colour, owner: int) -> None:
        """The trunk between levels, with a dark rim."""
        sections = [self._section(level)[:, :2] for level in levels]
        self._hull_pairs(sections, toned(colour, 0.6), owner)
        light = 0.006 * self.thick * self.canvas.light
        inner = [self._section(level, _INNER)[:, :2] + light for level in levels]
        self._hull_pairs(inner, colour, owner)

    def _hull_pairs(self, sections: list[np.ndarray], colour: Colour, owner: int) -> None:
        for pair in pairwise(sections):
            self.canvas.hull(np.concatenate(pair), colour, owner)

    def _trunk(self) -> None:
        look, levels = self.look, [row[0] for row in _TRUNK]
        bare = look.skirt or look.trousers
        self._hulls(levels[: _BELT + 1], look.legs if bare else look.shirt, self.owners["pelvis"])
        self._hulls([0.7, *levels[_BELT:]], look.shirt, self.owners["torso"])
        front = self.figure.axes["chest"][2, 2]
        if look.pattern == "halves":
            self._hulls([0.7, 1.0, 1.35], look.accent, self.owners["torso"])
        elif look.pattern == "stripes":
            for level in (0.85, 1.1, 1.35, 1.6):
                self._stripe(level, look.accent)
        elif look.pattern == "print" and front > 0.2:
            self._patch(1.3, 1.65, 50, look.accent)
        elif look.pattern == "jacket" and front > 0.1:
            self._patch(0.7, 1.95, 18, look.accent)
        self._collar(front)
        if look.bag and front > 0:
            self._straps()

    def _stripe(self, level: float, colour: Colour) -> None:
        """A band around the trunk, as far as it faces the viewer."""
        _, left, ahead = self.sections[-2]
        facing = np.rad2deg(np.arctan2(ahead[2] / (ahead @ ahead), left[2] / (left @ left)))
        arc = _around(facing + np.linspace(-80, 80, 9))
        width = 0.02 * self.figure.scale
        self.canvas.line(self._section(level, arc), width, colour, self.owners["torso"])

    def _patch(self, low: float, high: float, degrees: float, colour: Colour) -> None:
        """An area on the chest, `degrees` to either side of its middle."""
        arc = _around([90 - degrees, 90, 90 + degrees])
        corners = np.concatenate([self._section(low, arc), self._section(high, arc)])
        self.canvas.hull(corners, colour, self.owners["torso"])

    def _collar(self, front: float) -> None:
        """A deep neckline in front, a yoke on the back."""
        owner, look = self.owners["torso"], self.look
        if front > 0.1:
            low = self._section(1.4, _around([90.0]))
            edge = self._section(1.98, _around([50.0, 130.0]))
            skin = look.hair if look.haircut == "scarf" else look.skin
            self.canvas.polygon(np.concatenate([edge, low]), toned(skin, 0.9), owner)
        elif front < -0.1:
            yoke = [self._section(level, _around([-145.0, -90.0, -35.0])) for level in (1.6, 1.98)]
            self.canvas.hull(np.concatenate(yoke), toned(look.shirt, 0.6), owner)

    def _straps(self) -> None:
        for degrees in (45.0, 135.0):
            levels = (1.0, 1.5, 1.9)
            strap = [self._section(level, _around([degrees]))[0] for level in levels]
            width = 0.022 * self.figure.scale
            self.canvas.line(np.stack(strap), width, self.look.bag_colour, self.owners["torso"])

    def _bag(self) -> None:
        """A box on the back."""
        body, axes, scale = self.figure.body, self.figure.axes["chest"], self.figure.scale
        middle = (self.points["neck"] + self.points["waist"]) / 2
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-0.125, -0.05)])
        corners = corners * scale * (0.85 * body.shoulder, 0.085, self.figure.body.girth)
        corners = middle + corners @ axes.T
        owner, colour = self.owners["bag"], self.look.bag_colour
        self.canvas.hull(corners, toned(colour, 0.6), owner)
        centre = corners.mean(axis=0)
        self.canvas.hull(centre + 0.86 * (corners - centre), colour, owner)
        pocket = centre + (0.55, 0.4, 1.0) * (corners[[0, 2, 4, 6]] - centre) @ np.eye(3)
        self.canvas.hull(pocket - 0.03 * scale * axes[:, 1], toned(colour, 0.75), owner)

    def _skirt(self) -> None:
        hem = []
        radius = 0.055 * self.thick
        for side in SIDES:
            hip, knee = self.points[f"{side}_hip"], self.points[f"{side}_knee"]
            end = (hip + self.look.skirt * (knee - hip))[:2]
            hem.append(end + radius * _RING[:, 1:])
        cloth = np.concatenate([self._section(0.75)[:, :2], self._section(0.1)[:, :2], *hem])
        owner, colour = self.owners["skirt"], self.look.legs
        self.canvas.hull(cloth, toned(colour, 0.6), owner)
        centre = cloth.mean(axis=0)
        self.canvas.hull(centre + 0.9 * (cloth - centre), colour, owner)

    def _head(self) -> None:
        paint_head(self.canvas, self.figure, self.look, self.owners)

    def _hair(self) -> None:
        paint_hair_behind(self.canvas, self.figure, self.look, self.owners["hair"])

    def _seat(self) -> None:
        """A box below the pelvis; it is no part of the figure."""
        width, scale = 0.12 * self.thick, self.figure.scale
        top = self.points["pelvis"][:2] + np.array([0, 0.045 * self.thick])
        foot = max(self.points["left_heel"][1], self.points["right_heel"][1])
        low = max(foot, top[1] + 0.1 * scale)
        colour = toned(self.look.bag_colour, 0.8)
        x = top[0]
        corners = np.array(
            [[x - width, top[1]], [x + width, top[1]], [x + width, low], [x - width, low]]
        )
        self.canvas.polygon(corners, toned(colour, 0.7), THING)
        corners[2:, 1] = top[1] + 0.03 * scale
        self.canvas.polygon(corners, colour, THING)
