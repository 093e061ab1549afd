"""Cell i of the low map is pixel r i of the high one."""

import pytest
import torch

from grouppose.maps.resample import upsample


def test_cells_stay_and_pixels_between_are_bilinear():
    low = torch.tensor([[0.0, 4.0, 2.0], [8.0, 0.0, 6.0]])
    high = upsample(low[None], (4, 6))[0]
    torch.testing.assert_close(high[::2, ::2], low)
    assert high[0].tolist() == [0, 2, 4, 3, 2, 2]  # the last column is repeated
    assert high[1, :2].tolist() == [4, 3]  # (0 + 8) / 2; (0 + 4 + 8 + 0) / 4
    torch.testing.assert_close(high[3], high[2])  # the last row too


def test_ratios_that_are_no_whole_numbers_agree_with_the_formula():
    low = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    high = upsample(low, (5, 10))
    for y in range(5):
        for x in range(10):
            j, i = min(y * 3 / 5, 2), min(x * 4 / 10, 3)
            j0, i0 = int(j), int(i)
            j1, i1 = min(j0 + 1, 2), min(i0 + 1, 3)
            top = low[:, j0, i0] * (1 - i + i0) + low[:, j0, i1] * (i - i0)
            bottom = low[:, j1, i0] * (1 - i + i0) + low[:, j1, i1] * (i - i0)
            torch.testing.assert_close(high[:, y, x], top * (1 - j + j0) + bottom * (j - j0))


@pytest.mark.parametrize("size", [(6, 8), (12, 16)])
def test_the_general_way_agrees_with_whole_ratios(size):
    from grouppose.maps import resample

    low = torch.rand(1, 3, 4)
    general = resample._lines(resample._lines(low, size[1]).mT, size[0]).mT
    torch.testing.assert_close(upsample(low, size), general)


def test_a_factor_of_one_changes_nothing():
    maps = torch.rand(2, 5, 7)
    assert upsample(maps, (5, 7)) is maps
