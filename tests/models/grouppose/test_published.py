"""Files of Group Pose: published names, and settings that names and shapes tell."""

import hashlib

import pytest
import torch

import grouppose
from grouppose.checkpoints import published_names as earlier_address
from grouppose.errors import InputError
from grouppose.models.grouppose.published import (
    infer_settings,
    library_names,
    published_names,
    recognises,
)
from tests.parity.inputs import fixture
from tests.small import SMALL


@pytest.mark.parametrize("case", fixture("published_names"))
def test_names_and_shapes_are_those_of_the_published_checkpoint(case):
    expected = fixture("published_names")[case]
    model = grouppose.build_model(
        "grouppose",
        backbone=expected["backbone"],
        num_body_points=expected["num_body_points"],
    )
    state = published_names(model.state_dict())
    text = "\n".join(f"{name} {list(value.shape)}" for name, value in sorted(state.items()))
    assert len(state) == expected["count"]
    assert hashlib.sha256(text.encode()).hexdigest() == expected["sha256"]
    inferred = infer_settings(model.state_dict())
    assert inferred["backbone"] == expected["backbone"]
    assert inferred["num_body_points"] == expected["num_body_points"]


def test_weights_of_the_family_are_recognised_under_either_name():
    state = grouppose.build_model("grouppose", **SMALL).state_dict()
    published = published_names(state)
    assert recognises(state) and recognises(published)
    assert library_names(published).keys() == state.keys()
    assert earlier_address(state).keys() == published.keys()
    assert not recognises({"backbone.0.body.conv1.weight": torch.zeros(1)})


def test_two_different_copies_of_a_head_are_refused():
    state = dict(published_names(grouppose.build_model("grouppose", **SMALL).state_dict()))
    name = "transformer.decoder.class_embed.0.bias"
    state[name] = state[name] + 1
    with pytest.raises(InputError, match="two different tensors for 'class_embed.0.bias'"):
        grouppose.load_weights(grouppose.build_model("grouppose", **SMALL), state)
