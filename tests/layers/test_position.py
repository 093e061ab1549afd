import math

import pytest
import torch

from grouppose.layers.position import encode_full_grid, encode_grid, encode_points


def test_grid_encoding_by_hand():
    padding = torch.zeros(1, 2, 4, dtype=torch.bool)
    padding[:, :, 2:] = True
    code = encode_grid(padding, channels=8)
    # second of two unpadded columns: x = 2 / 2 * 2 pi; y before x; period 20^(2 i / 4)
    expected = [math.sin(2 * math.pi), math.cos(2 * math.pi)]
    expected += [f(2 * math.pi / 20**0.5) for f in (math.sin, math.cos)]
    assert code[0, 0, 1, 4:].tolist() == pytest.approx(expected, abs=1e-5)
    first_row = [f(math.pi / p) for p in (1, 20**0.5) for f in (math.sin, math.cos)]
    assert code[0, 0, 0, :4].tolist() == pytest.approx(first_row, abs=1e-5)


def test_full_grid_is_a_grid_without_padding():
    code = encode_grid(torch.zeros(1, 3, 5, dtype=torch.bool), 16, 20, 30)
    assert torch.equal(encode_full_grid(3, 5, 16, 20, 30), code)


def test_point_encoding_by_hand():
    code = encode_points(torch.tensor([0.25, 0.5]), channels=8)
    y, x = 2 * math.pi * 0.5, 2 * math.pi * 0.25
    expected = [f(v / p) for v in (y, x) for p in (1, 100) for f in (math.sin, math.cos)]
    assert code.tolist() == pytest.approx(expected, abs=1e-6)
