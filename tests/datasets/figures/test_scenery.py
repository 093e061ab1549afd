import numpy as np

from datasets.figures.canvas import THING, Canvas
from datasets.figures.scenery import background, clouds, grain, paint_distractor


def test_backgrounds_fill_the_picture_and_repeat():
    for seed in range(12):
        first, again, other = (
            background(np.random.default_rng(s), 96, 40.0) for s in (seed, seed, seed + 100)
        )
        assert first.shape[:2] == (96, 96) and np.isfinite(first).all()
        assert (first == again).all() and (first != other).any()


def test_noise_differs_from_place_to_place():
    for noise in (clouds, grain):
        values = noise(np.random.default_rng(0), 64)
        assert values.shape[:2] == (64, 64) and values.std() > 0


def test_what_looks_like_limbs_belongs_to_a_thing():
    for seed in range(10):
        canvas = Canvas(np.zeros((200, 200, 4), np.uint8), np.array([0.0, -1.0]))
        paint_distractor(canvas, np.random.default_rng(seed), THING)
        assert set(np.unique(canvas.pixels[..., 3])) <= {0, THING}
