"""What figures look like: skin, hair and clothes.

Left and right are told apart by anatomy alone: a face or the back of a head, collars and prints on
the chest, rucksacks on the back, where the shoes point. Nothing is coloured by side, so that a
mirrored picture with exchanged names is as good as a drawn one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from datasets.figures.canvas import Colour

SKINS = (
    (255, 222, 196),
    (250, 205, 180),
    (241, 194, 150),
    (224, 172, 125),
    (198, 134, 90),
    (160, 103, 66),
    (122, 78, 50),
    (90, 56, 37),
)
HAIRS = (
    (28, 22, 20),
    (46, 46, 52),
    (62, 40, 26),
    (98, 62, 34),
    (140, 92, 48),
    (206, 164, 92),
    (232, 206, 140),
    (150, 62, 30),
    (172, 172, 172),
    (228, 228, 224),
)
HAIRCUTS = {  # share of figures
    "short": 0.22,
    "fringe": 0.14,
    "long": 0.15,
    "bun": 0.08,
    "tail": 0.09,
    "bald": 0.06,
    "receding": 0.06,
    "cap": 0.10,
    "curls": 0.06,
    "scarf": 0.04,
}
_SHARES = np.array(list(HAIRCUTS.values()))
EARS_COVERED = ("long", "curls", "scarf")
PATTERNS = {"plain": 0.8, "stripes": 0.05, "halves": 0.05, "jacket": 0.05, "print": 0.05}


@dataclass(frozen=True)
class Look:
    """What a figure wears; colours are RGB.

    Attributes:
        haircut: one of HAIRCUTS.
        sleeves: share of the upper arm that is covered; 2 = down to the wrist.
        trousers: share of the thigh that is covered; 2 = down to the ankle.
        skirt: its length as a share of the thigh; 0 = none.
        pattern: of the shirt, one of PATTERNS.
    """

    skin: Colour
    hair: Colour
    haircut: str
    shirt: Colour
    accent: Colour
    legs: Colour
    shoes: Colour
    bag_colour: Colour
    sleeves: float
    trousers: float
    skirt: float
    pattern: str
    bag: bool
    beard: bool
    glasses: bool


def random_colour(rng: Generator, vivid: float = 1.0) -> Colour:
    """Muted more often than bright, now and then grey; `vivid` scales the saturation."""
    hue, strength, value = rng.random(3)
    saturation = 0.0 if strength < 0.18 else vivid * (0.2 + 0.7 * strength)
    hsv = np.array([[[179 * hue, 255 * saturation, 255 * (0.22 + 0.75 * value)]]], dtype=np.uint8)
    return tuple(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist())


def random_look(rng: Generator) -> Look:
    skirt = float(rng.uniform(0.5, 1.0)) if rng.random() < 0.15 else 0.0
    haircut = tuple(HAIRCUTS)[rng.choice(len(HAIRCUTS), p=_SHARES)]
    hair = random_colour(rng) if haircut in ("cap", "scarf") else HAIRS[rng.integers(len(HAIRS))]
    bare_legs = skirt > 0 and rng.random() < 0.7
    shorts, sleeves = rng.uniform((0.5, 0.4), 1.0).tolist()
    long_trousers, sleeve_kind = rng.random(2)
    return Look(
        skin=SKINS[rng.integers(len(SKINS))],
        hair=hair,
        haircut=haircut,
        shirt=random_colour(rng),
        accent=random_colour(rng),
        legs=random_colour(rng),
        shoes=random_colour(rng),
        bag_colour=random_colour(rng),
        sleeves=0.0 if sleeve_kind < 0.14 else sleeves if sleeve_kind < 0.56 else 2.0,
        trousers=0.0 if bare_legs else 2.0 if long_trousers < 0.7 else shorts,
        skirt=skirt,
        pattern=tuple(PATTERNS)[rng.choice(len(PATTERNS), p=tuple(PATTERNS.values()))],
        bag=bool(rng.random() < 0.14),
        beard=bool(rng.random() < 0.14),
        glasses=bool(rng.random() < 0.15),
    )
