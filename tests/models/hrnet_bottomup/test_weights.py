"""Published files load by name; what does not fit says what to change."""

import pytest
import torch

import grouppose
from grouppose.errors import InputError

NARROW = {"backbone": "hrnet_w18_small", "num_body_points": 5}
TIED = "multi_level_layers_4x_heatmap.2.0.stn_conv1.weight"


@pytest.fixture(scope="module")
def state():
    return grouppose.build_model("hrnet_bottomup", **NARROW).state_dict()


@pytest.mark.parametrize(
    ("family", "settings", "entries", "millions"),
    [
        ("hrnet_bottomup", {"backbone": "hrnet_w48", "higher": True}, 1934, 66.90),
        ("dekr", {}, 2264, 29.56),
    ],
)
def test_entries_and_parameters_are_those_of_the_published_files(
    family, settings, entries, millions
):
    with torch.device("meta"):
        model = grouppose.build_model(family, **settings)
    assert len(model.state_dict()) == entries
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("family", ["hrnet_bottomup", "dekr"])
def test_a_bare_file_says_what_it_is(family, tmp_path):
    model = grouppose.build_model(family, **NARROW)
    torch.save(model.state_dict(), tmp_path / "file.pth")
    loaded = grouppose.load_model(tmp_path / "file.pth")
    assert {k: loaded.settings[k] for k in ("modelname", *NARROW)} == {
        "modelname": family,
        **NARROW,
    }
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_copies_of_tied_weights_must_be_equal(state):
    model = grouppose.build_model("hrnet_bottomup", **NARROW)
    with pytest.raises(InputError, match=r"two different tensors for .*heatmap\.\*\.0\.stn_conv1"):
        grouppose.load_weights(model, {**state, TIED: state[TIED] + 1})


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"num_body_points": 6}, "num_body_points=5"),
        ({"higher": True}, "higher=False"),
        ({"backbone": "hrnet_w18_small_v2"}, "--backbone hrnet_w18_small"),
    ],
)
def test_a_file_of_another_variant_says_which_setting_to_change(state, settings, change):
    with torch.device("meta"):
        model = grouppose.build_model("hrnet_bottomup", **{**NARROW, **settings})
    with pytest.raises(InputError, match=f"set {change}$"):
        grouppose.load_weights(model, state)


def test_a_file_of_the_other_family_names_it(state):
    model = grouppose.build_model("dekr", **NARROW)
    with pytest.raises(InputError, match="holds weights of HRNet bottom-up, the model is DEKR"):
        grouppose.load_weights(model, state)


def test_our_own_file_keeps_tied_weights(state, tmp_path):
    model = grouppose.build_model("hrnet_bottomup", **NARROW)
    model.load_state_dict(state)
    grouppose.save_weights(model, tmp_path / "own.safetensors")
    loaded = grouppose.load_model(tmp_path / "own.safetensors")
    branches = loaded.multi_level_layers_4x_heatmap
    assert branches[2][0].stn_conv1.weight is branches[0][0].stn_conv1.weight
    assert torch.equal(branches[2][0].stn_conv1.weight, state[TIED])
