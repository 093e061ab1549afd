"""What sharding does in one process; tests/util/test_processes.py has two."""

import torch
from torch import nn

from tests.small import moved, small
from util import sharding


def test_large_parts_of_lists_are_gathered_by_themselves():
    large, tiny = nn.Linear(250, 200), nn.Linear(2, 2)
    nested = nn.ModuleList([nn.Linear(300, 300)])
    model = nn.Module()
    model.layers = nn.ModuleList([large, tiny, nested])
    model.alone = nn.Linear(400, 400)  # in no list
    assert list(sharding._blocks(model)) == [large, nested[0]]


def test_whole_tensors_stay_as_they_are():
    tensor = torch.arange(3.0)
    assert sharding.whole(tensor) is tensor and list(sharding.local([tensor])) == [tensor]
    state = {"a": [tensor, {"b": 1}], "c": None}
    found = sharding.gathered(state)
    assert found["a"][0] is tensor and found["a"][1] == {"b": 1} and found["c"] is None
    model = nn.Linear(3, 2)
    weights = {"weight": torch.ones(2, 3), "other": torch.ones(1)}
    same = sharding.like_model(weights, model)
    assert all(same[name] is value for name, value in weights.items())
    optimizer = torch.optim.AdamW(model.parameters())
    assert sharding.like_parameters(state := optimizer.state_dict(), optimizer) is state


def test_a_plain_copy_is_the_same_model_and_draws_nothing():
    model = moved(small()).eval()
    before = torch.get_rng_state()
    copy = sharding.plain_copy(model, torch.device("cpu")).eval()
    assert torch.equal(torch.get_rng_state(), before)
    assert copy is not model and copy.settings == model.settings
    images = torch.randint(256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(copy(images), model(images), rtol=0, atol=0)
