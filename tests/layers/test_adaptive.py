"""Adaptive convolution against sums over taps."""

import math

import pytest
import torch
import torch.nn.functional as F

from grouppose.layers import adaptive
from grouppose.layers.adaptive import (
    AdaptiveBlock,
    DeformableConvolution,
    regular_grid,
    tap_offsets,
)


def bilinear(values, y, x):
    """(C,) at a real-valued place; a cell outside is 0."""
    total = torch.zeros(values.shape[0], dtype=values.dtype)
    for j in (math.floor(y), math.floor(y) + 1):
        for i in (math.floor(x), math.floor(x) + 1):
            if 0 <= j < values.shape[1] and 0 <= i < values.shape[2]:
                total += values[:, j, i] * (1 - abs(y - j)) * (1 - abs(x - i))
    return total


@pytest.mark.parametrize("dilation", [1, 2])
def test_convolution_with_matrices_agrees_with_loops(dilation):
    torch.manual_seed(0)
    x, matrices = torch.randn(1, 3, 5, 6), torch.randn(1, 4, 5, 6)
    shift = torch.randn(1, 2, 5, 6)
    convolution = DeformableConvolution(3, dilation)
    with torch.no_grad():
        found = convolution(x, tap_offsets(matrices, regular_grid(), shift))[0]
    for row in range(5):
        for column in range(6):
            a, b, c, d = matrices[0, :, row, column].tolist()
            dy, dx = shift[0, :, row, column].tolist()
            expected = torch.zeros(3)
            for j in (-1, 0, 1):
                for i in (-1, 0, 1):
                    # A R - R + t moves the tap, which stands at dilation R
                    y = row + dilation * j + (a * j + b * i - j) + dy
                    x0 = column + dilation * i + (c * j + d * i - i) + dx
                    expected += convolution.weight[:, :, j + 1, i + 1] @ bilinear(x[0], y, x0)
            torch.testing.assert_close(found[:, row, column], expected.detach())


def test_with_the_identity_it_is_an_ordinary_convolution():
    torch.manual_seed(1)
    x = torch.randn(2, 4, 7, 5)
    matrices = torch.tensor([1.0, 0, 0, 1]).view(1, 4, 1, 1).expand(2, -1, 7, 5)
    convolution = DeformableConvolution(4)
    torch.testing.assert_close(
        convolution(x, tap_offsets(matrices, regular_grid())),
        F.conv2d(x, convolution.weight, padding=1),
    )


def test_a_new_block_reads_the_centre_only():
    torch.manual_seed(2)
    block, x = AdaptiveBlock(4).eval(), torch.randn(1, 4, 6, 6)
    centre = torch.einsum("oikl,bihw->bohw", block.adapt_conv.weight, x)  # 9 taps, one place
    centre = centre / math.sqrt(1 + block.bn.eps)
    torch.testing.assert_close(block(x), (centre + x).relu())


def test_bfloat16_is_computed_in_float32():
    torch.manual_seed(3)
    x = torch.randn(1, 4, 6, 6)
    convolution, offsets = DeformableConvolution(4), torch.randn(1, 18, 6, 6)
    expected = convolution(x.bfloat16().float(), offsets.bfloat16().float()).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(x.bfloat16(), offsets.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected)


def test_gradients_in_float64():
    torch.manual_seed(4)
    block = AdaptiveBlock(2).double().eval()
    torch.nn.init.normal_(block.transform_matrix_conv.weight, std=0.3)
    torch.nn.init.normal_(block.translation_conv.weight, std=0.3)
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,))


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("way", [adaptive._on_cpu, adaptive._by_gathers])
def test_other_ways_agree_with_torchvision_also_in_their_gradients(way, dilation):
    torch.manual_seed(5)
    x = torch.randn(2, 6, 9, 7, dtype=torch.float64, requires_grad=True)
    offsets = (4 * torch.randn(2, 18, 9, 7, dtype=torch.float64)).requires_grad_()
    weight = torch.randn(6, 6, 3, 3, dtype=torch.float64, requires_grad=True)
    inputs = (x, offsets, weight)
    found, expected = (convolve(*inputs, dilation) for convolve in (way, adaptive._by_torchvision))
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(y.square().sum(), inputs) for y in (found, expected))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)
