import colorsys
from collections import Counter

import numpy as np

from datasets.figures.looks import HAIRCUTS, HAIRS, PATTERNS, SKINS, random_colour, random_look


def test_looks_are_drawn_from_what_there_is():
    rng = np.random.default_rng(0)
    looks = [random_look(rng) for _ in range(2000)]
    counts = Counter(look.haircut for look in looks)
    assert counts.keys() == set(HAIRCUTS) and {look.pattern for look in looks} == set(PATTERNS)
    assert {look.skin for look in looks} == set(SKINS)
    for look in looks:
        assert look.haircut in ("cap", "scarf") or look.hair in HAIRS
        assert look.trousers == 0 or 0.5 <= look.trousers <= 2
    assert abs(sum(look.beard for look in looks) / 2000 - 0.14) < 0.03
    assert random_look(np.random.default_rng(5)) == random_look(np.random.default_rng(5))


def test_colours_are_neither_black_nor_white_and_now_and_then_grey():
    rng = np.random.default_rng(0)
    drawn = np.array([random_colour(rng) for _ in range(1000)])
    assert drawn.max(1).min() >= 0.22 * 255 - 1 and drawn.max() <= 0.97 * 255 + 1
    grey = (drawn == drawn[:, :1]).all(1).mean()
    assert abs(grey - 0.18) < 0.04
    pale = [random_colour(rng, vivid=0.1) for _ in range(100)]
    assert max(colorsys.rgb_to_hsv(*colour)[1] for colour in pale) < 0.13
