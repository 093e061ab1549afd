import pytest
import torch

from grouppose.layers.deformable import MSDeformAttn


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
