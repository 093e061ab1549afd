"""Peaks agree with a look at every cell's window; the short cut finds the same."""

import pytest
import torch

from grouppose.maps.peaks import find_peaks, window_size
from grouppose.maps.resample import upsample


def peaks_by_loops(maps, window):
    """(channel, row, column) of the cells above 0 that nothing in their window exceeds."""
    reach, found = window // 2, set()
    for c, values in enumerate(maps):
        for j in range(values.shape[0]):
            for i in range(values.shape[1]):
                around = values[
                    max(j - reach, 0) : j + reach + 1, max(i - reach, 0) : i + reach + 1
                ]
                if values[j, i] > 0 and values[j, i] == around.max():
                    found.add((c, j, i))
    return found


def as_set(peaks):
    return {
        (c, int(row), int(column))
        for c, one in enumerate(zip(*peaks, strict=True))
        for column, row, value in zip(*one, strict=True)
        if value > 0
    }


@pytest.mark.parametrize("window", [3, 5, 7])
def test_peaks_are_the_maxima_of_their_windows(window):
    maps = torch.randn(2, 13, 17, generator=torch.Generator().manual_seed(0))
    found = find_peaks(maps, window, count=100)
    assert as_set(found) == peaks_by_loops(maps, window)
    for values in found.values:
        assert values.tolist() == sorted(values.tolist(), reverse=True)


@pytest.mark.parametrize("step", [2, 4])
def test_peaks_of_an_upsampled_map_are_found_without_a_look_at_every_pixel(step):
    """Repeated last rows and columns, whose equal pixels fill the list, come out the same."""
    generator = torch.Generator().manual_seed(step)
    low = torch.rand(5, 18, 26, generator=generator) - 0.2
    low[:, -1] += 0.5  # many equal peaks at the border
    maps = upsample(low, (18 * step, 26 * step))
    expected, found = find_peaks(maps, 5), find_peaks(maps, 5, step=step)
    assert torch.equal(found.values, expected.values)
    real = expected.values > 0
    assert torch.equal(found.columns[real], expected.columns[real])
    assert torch.equal(found.rows[real], expected.rows[real])


def test_a_map_without_peaks_gives_zeros():
    found = find_peaks(-torch.ones(1, 8, 8), 3)
    assert (found.values == 0).all()
    assert find_peaks(torch.zeros(3, 40, 60), 5, step=4).values.sum() == 0


def test_the_window_follows_the_size_of_the_map():
    assert [window_size(*size) for size in ((128, 160), (160, 242), (300, 302))] == [3, 5, 7]
    assert (window_size(200, 200), window_size(300, 300)) == (3, 5)
