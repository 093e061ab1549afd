import math

import pytest
import torch

from grouppose.errors import InputError
from grouppose.models.grouppose.decoder import Memory
from grouppose.models.grouppose.model import valid_ratio
from grouppose.models.grouppose.proposals import centre_logits, gather
from tests.small import small


def test_proposals_exclude_padding_and_what_lies_near_the_border():
    padding = torch.zeros(1, 4, 200, dtype=torch.bool)
    padding[:, :, 160:] = True
    ratio = valid_ratio(padding)[:, None]
    memory = Memory(torch.zeros(1, 800, 8), [(4, 200)], padding.flatten(1), ratio)
    logits, valid = centre_logits(memory)
    valid = valid.view(4, 200)
    # centres (i + 0.5) / 160 in (0.01, 0.99): i = 2 .. 157
    assert valid[0].nonzero().flatten().tolist() == list(range(2, 158))
    assert logits.view(4, 200, 2)[1, 2].tolist() == pytest.approx(
        [math.log(2.5 / 157.5), math.log(1.5 / 2.5)]
    )
    assert logits.view(4, 200, 2)[0, 160].tolist() == [math.inf, math.inf]


def test_a_level_whose_boxes_are_too_large_proposes_nothing():
    shapes = [(1, 1)] * 6
    memory = Memory(torch.zeros(1, 6, 8), shapes, None, torch.ones(1, 6, 2))
    _, valid = centre_logits(memory)
    assert valid[0].tolist() == [True] * 5 + [False]  # 0.05 * 2^5 = 1.6 > 0.99


def test_fewer_positions_than_queries_is_an_error_for_people():
    with pytest.raises(InputError, match="num_queries is 600; give a larger picture"):
        small(num_queries=600)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_offsets_that_overflow_give_places_and_no_nan():
    """A position that may not propose lies at +inf, which -inf must not meet."""
    model = small(num_queries=85)  # all positions of 64 x 64 pixels
    with torch.no_grad():
        model.transformer.enc_pose_embed.layers[-1].bias.fill_(-torch.inf)
    outputs = model.train()(torch.zeros(1, 3, 64, 64))
    assert (outputs["interm_outputs"]["pred_keypoints"] == 0).all()
    assert outputs["pred_keypoints"].isfinite().all()


def test_tokens_are_gathered_picture_by_picture():
    tokens = torch.arange(12.0).view(2, 3, 2)
    chosen = gather(tokens, torch.tensor([[2, 0], [1, 1]]))
    assert chosen.tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]
