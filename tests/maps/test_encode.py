"""Target maps agree with their rules written as loops, cell by cell."""

import math

import numpy as np
import pytest

from grouppose.maps.encode import draw_gaussians, draw_offsets

SIZE = (24, 30)


def some_people(seed, count=5, keypoints=4):
    """Near one another, some outside the map, about a third missing."""
    generator = np.random.default_rng(seed)
    centre = generator.uniform([0, 0], SIZE[::-1], (count, 1, 2))
    points = (centre + generator.normal(0, 6, (count, keypoints, 2))).astype(np.float32)
    points[0, 0] = (7, 5)  # exactly on a cell: its offset there is (0, 0)
    return points, generator.random((count, keypoints)) > 0.3


def gaussians_by_loops(points, present, sigma, size):
    maps = np.zeros((points.shape[1], *size))
    windows = np.zeros(maps.shape, bool)
    for person, seen in zip(points.astype(float), present, strict=True):
        for k, (x, y) in enumerate(person):
            if not seen[k] or x < 0 or y < 0 or x >= size[1] or y >= size[0]:
                continue
            for j in range(size[0]):
                for i in range(size[1]):
                    columns = math.floor(x - 3 * sigma - 1), math.ceil(x + 3 * sigma + 2)
                    rows = math.floor(y - 3 * sigma - 1), math.ceil(y + 3 * sigma + 2)
                    if columns[0] <= i < columns[1] and rows[0] <= j < rows[1]:
                        value = math.exp(-((i - x) ** 2 + (j - y) ** 2) / (2 * sigma**2))
                        maps[k, j, i] = max(maps[k, j, i], value)
                        windows[k, j, i] = True
    return maps, windows


def offsets_by_loops(points, present, centres, area, size, radius):
    keypoints = points.shape[1]
    offsets, weights = (np.zeros((2 * keypoints, *size)) for _ in range(2))
    noted = np.zeros(size)
    for person, seen, (cx, cy), own in zip(points, present, centres, area, strict=True):
        cx, cy = int(cx), int(cy)
        if not (0 <= cx < size[1] and 0 <= cy < size[0]):
            continue
        for k, (x, y) in enumerate(person):
            if not seen[k] or x < 0 or y < 0 or x >= size[1] or y >= size[0]:
                continue
            for j in range(max(cy - radius, 0), min(cy + radius, size[0])):
                for i in range(max(cx - radius, 0), min(cx + radius, size[1])):
                    stored = offsets[2 * k : 2 * k + 2, j, i]
                    if stored.any() and noted[j, i] < own:
                        continue
                    offsets[2 * k : 2 * k + 2, j, i] = i - x, j - y
                    weights[2 * k : 2 * k + 2, j, i] = 1 / math.sqrt(own)
                    noted[j, i] = own
    return offsets, weights


@pytest.mark.parametrize("sigma", [1.0, 2.0, 2.5])
def test_gaussians_agree_with_loops(sigma):
    points, present = some_people(1)
    maps, windows = draw_gaussians(points, present, sigma, SIZE)
    expected, inside = gaussians_by_loops(points, present, sigma, SIZE)
    np.testing.assert_allclose(maps, expected, atol=2e-7)
    np.testing.assert_array_equal(windows, inside)


def test_gaussian_of_one_point_by_hand():
    points = np.array([[[10.0, 8.0]]], np.float32)
    maps, windows = draw_gaussians(points, np.ones((1, 1), bool), 2.0, (24, 30))
    assert maps[0, 8, 10] == 1
    assert maps[0, 8, 12] == pytest.approx(math.exp(-0.5))
    # floor(10 - 7) = 3 to ceil(10 + 8) - 1 = 17; 1 to 15 in y
    rows, columns = np.nonzero(windows[0])
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (3, 17, 1, 15)


@pytest.mark.parametrize("seed", range(4))
def test_offsets_agree_with_loops(seed):
    points, present = some_people(seed, count=8)
    centres = np.nan_to_num(points.mean(1)) * 0.3 + np.array([10, 8])  # windows overlap
    centres[-1] = (-0.7, 5)  # truncated to column 0
    centres[-2] = (30, 5)  # outside
    area = np.random.default_rng(seed).uniform(50, 500, 8).astype(np.float32)
    found = draw_offsets(points, present, centres, area, SIZE, radius=4)
    expected = offsets_by_loops(points, present, centres, area, SIZE, 4)
    for mine, loops in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, loops, atol=1e-6)
    assert (found[1] > 0).any()


def test_larger_person_overwrites_from_the_first_keypoint_that_the_smaller_one_lacks():
    points = np.array([[[3, 3], [0, 0], [9, 9]], [[20, 4], [21, 5], [22, 6]]], np.float32)
    present = np.array([[True, False, True], [True, True, True]])
    centres = np.array([[10, 10], [10, 10]], np.float32)
    offsets, weights = draw_offsets(points, present, centres, np.array([100.0, 400.0]), (24, 30))
    assert offsets[0, 8, 8] == 8 - 3  # keypoint 0: the smaller person stays
    assert weights[0, 8, 8] == pytest.approx(0.1)
    assert offsets[2, 8, 8] == 8 - 21  # keypoint 1: only the larger one has it
    assert offsets[4, 8, 8] == 8 - 22  # keypoint 2: the cell's area is the larger one's by now
    assert weights[4, 8, 8] == pytest.approx(0.05)


def test_nobody_and_nothing_labelled_give_empty_maps():
    for count in (0, 2):
        points, present = np.zeros((count, 3, 2), np.float32), np.zeros((count, 3), bool)
        maps, windows = draw_gaussians(points, present, 2.0, SIZE)
        assert maps.shape == (3, *SIZE) and not maps.any() and not windows.any()
        centres = np.full((count, 2), np.nan)
        offsets, weights = draw_offsets(points, present, centres, np.ones(count), SIZE)
        assert offsets.shape == (6, *SIZE) and not offsets.any() and not weights.any()
