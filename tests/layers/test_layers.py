"""Layers against their definitions."""

import math

import pytest
import torch

from grouppose.layers.deformable import MSDeformAttn
from grouppose.layers.group_attention import SelfAttention, attend_across, attend_within
from grouppose.layers.mlp import MLP, in_float32
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


def test_attention_equals_torchs_module():
    torch.manual_seed(0)
    reference = torch.nn.MultiheadAttention(32, 4, batch_first=True)
    mine = SelfAttention(32, 4)
    mine.load_state_dict(reference.state_dict())
    x = torch.randn(3, 7, 32)
    torch.testing.assert_close(mine(x), reference(x, x, x)[0])


def test_groups_do_not_see_one_another():
    torch.manual_seed(0)
    attention = SelfAttention(16, 2)
    tokens = torch.randn(1, 3, 4, 16)  # 3 people of 4 queries
    changed = tokens.clone()
    changed[0, 1, 2] += 1
    moved = (attend_within(attention, tokens) != attend_within(attention, changed)).any(-1)[0]
    assert moved.nonzero()[:, 0].unique().tolist() == [1]  # that person alone
    moved = (attend_across(attention, tokens) != attend_across(attention, changed)).any(-1)[0]
    assert moved.nonzero()[:, 1].unique().tolist() == [2]  # that type alone


def test_attention_under_bf16_autocast_stays_near_fp32():
    torch.manual_seed(0)
    attention = SelfAttention(32, 4)
    x = torch.randn(2, 5, 32)
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), attention(x), rtol=0.1, atol=0.05)


def test_mlp_by_hand():
    mlp = MLP(1, 2, 1, 2)
    with torch.no_grad():
        mlp.layers[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        mlp.layers[0].bias.zero_()
        mlp.layers[1].weight.fill_(1)
        mlp.layers[1].bias.fill_(0.5)
    assert mlp(torch.tensor([-3.0])).item() == 3.5  # |x| + 0.5
    assert mlp.zero_last()(torch.tensor([7.0])).item() == 0


def test_heads_compute_in_float32_under_autocast():
    torch.manual_seed(0)
    head, x = torch.nn.Linear(64, 2), torch.randn(3, 64)
    with torch.autocast("cpu", torch.bfloat16):
        out, rounded = in_float32(head, x), head(x)
    assert torch.equal(out, head(x))
    assert not torch.equal(out, rounded.float())


def test_deformable_attention_starts_by_looking_around():
    module = MSDeformAttn(dim=8, levels=2, heads=4, points=3)
    bias = module.sampling_offsets.bias.view(4, 2, 3, 2)
    torch.testing.assert_close(bias[0, 1, 2], torch.tensor([3.0, 0.0]))  # head 0 to the right
    torch.testing.assert_close(bias[1, 0, 0], torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)


def test_deformable_attention_reads_the_value_it_points_at():
    module = MSDeformAttn(dim=2, levels=1, heads=1, points=1)
    with torch.no_grad():
        for linear in (module.value_proj, module.output_proj):
            linear.weight.copy_(torch.eye(2))
        module.sampling_offsets.bias.copy_(torch.tensor([1.0, 0.0]))  # one pixel to the right
    value = torch.arange(12.0).view(1, 6, 2)  # a level of 2 x 3
    reference = torch.tensor([[[[0.5 / 3, 0.25]]]])  # centre of pixel (0, 0)
    query = torch.zeros(1, 1, 2)
    out = module(query, reference, value, [(2, 3)])
    assert out.flatten().tolist() == pytest.approx([2.0, 3.0])
    padding = torch.tensor([[False, True, False, False, False, False]])
    assert module(query, reference, value, [(2, 3)], padding).abs().max() == 0
