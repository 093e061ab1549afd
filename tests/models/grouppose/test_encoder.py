import pytest
import torch

from grouppose.models.grouppose.encoder import Encoder, EncoderLayer, grid_centres
from grouppose.models.grouppose.model import valid_ratio


def test_grid_centres_and_valid_ratio_by_hand():
    padding = torch.ones(1, 2, 4, dtype=torch.bool)
    padding[:, :1, :3] = False  # a picture of 1 x 3 on a level of 2 x 4
    ratio = valid_ratio(padding)
    assert ratio.tolist() == [[0.75, 0.5]]
    centres = grid_centres([(2, 4)], ratio[:, None])
    assert centres[0, 0].tolist() == pytest.approx([0.5 / 3, 0.5])
    assert centres[0, 5].tolist() == pytest.approx([0.5, 1.5])


class Recorder(torch.nn.Module):
    """Stands for a layer: keeps where it was to look, and adds 1."""

    def forward(self, tokens, position, reference, *rest):
        self.reference = reference
        return tokens + 1


def test_every_layer_looks_from_its_own_position_on_all_levels():
    layers = [Recorder(), Recorder()]
    ratios = torch.tensor([[[0.5, 1.0], [1.0, 0.5]]])  # of two levels: half is padding
    tokens = torch.zeros(1, 4, 8)
    out = Encoder(layers)(tokens, tokens, ratios, [(1, 2), (2, 1)], None)
    assert (out == 2).all() and (tokens == 0).all()
    # the first position is the middle of the picture: of one column on the first level, of one
    # row on the second; the padding beside it begins where the picture ends
    expected = [
        [[0.25, 0.5], [0.5, 0.25]],
        [[0.75, 0.5], [1.5, 0.25]],
        [[0.25, 0.5], [0.5, 0.25]],
        [[0.25, 1.5], [0.5, 0.75]],
    ]
    for layer in layers:
        assert layer.reference[0].tolist() == expected


def test_a_layer_leaves_its_arguments_as_they_are():
    torch.manual_seed(0)
    layer = EncoderLayer(8, 1, 2, 1, 16, 0.0)
    tokens, position = torch.randn(2, 1, 6, 8)
    before = tokens.clone()
    reference = torch.full((1, 6, 1, 2), 0.5)
    out = layer(tokens, position, reference, [(2, 3)], None)
    assert torch.equal(tokens, before)
    torch.testing.assert_close(out.mean(-1), torch.zeros(1, 6), atol=1e-5, rtol=0)  # a LayerNorm
