"""Families as folders, and files of weights that find theirs."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import grouppose
from grouppose import models
from grouppose.errors import InputError, SettingNameError
from grouppose.models import published_names

ROOT = Path(__file__).parents[2]
SMALL = {
    "backbone": "resnet18",
    "hidden_dim": 32,
    "nheads": 2,
    "enc_layers": 1,
    "dec_layers": 2,
    "dim_feedforward": 16,
    "num_queries": 5,
    "num_body_points": 4,
}


def small(**changes):
    torch.manual_seed(0)
    return grouppose.build_model("grouppose", **{**SMALL, **changes})


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_families_are_the_folders_and_none_is_imported_unasked():
    code = (
        "import sys, grouppose; from grouppose import models\n"
        "print(grouppose.families(), [n for n in sys.modules if n.startswith('grouppose.models.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    folders = (ROOT / "grouppose" / "models").glob("*/__init__.py")
    names = tuple(sorted(path.parent.name for path in folders))
    assert done.stdout.strip() == f"{names} []"


@pytest.mark.parametrize("name", ["groupose", "", "..", None, ["grouppose"]])
def test_a_family_that_does_not_exist_is_refused(name):
    with pytest.raises(SettingNameError, match="no model .*grouppose"):
        models.family(name)


def test_a_published_file_loads_with_its_own_settings(tmp_path):
    model, path = small(), tmp_path / "published.pth"
    state = {f"module.{k}": v for k, v in published_names(model.state_dict()).items()}
    args = argparse.Namespace(**SMALL, num_select=50, coco_path="elsewhere", device="cuda")
    torch.save({"model": state, "optimizer": {"state": {}}, "args": args, "epoch": 59}, path)
    loaded = grouppose.load_model(path)
    assert same(loaded.state_dict(), model.state_dict())
    assert not loaded.training
    assert loaded.settings["num_queries"] == 5  # from args: no shape tells it


def test_settings_are_read_off_the_shapes_where_the_file_has_none(tmp_path):
    model, path = small(nheads=8), tmp_path / "bare.pth"
    torch.save({"ema_model": model.state_dict()}, path)
    loaded = grouppose.load_model(path)
    assert same(loaded.state_dict(), model.state_dict())
    assert loaded.settings["dec_layers"] == 2
    assert loaded.settings["num_queries"] == 100  # no shape tells it: the published default


@pytest.mark.parametrize(
    ("built", "stored", "message"),
    [
        ({"num_body_points": 7}, {}, "num_body_points is 4 there, 7 here; set num_body_points=4"),
        ({"backbone": "resnet34"}, {}, "set --backbone resnet18"),
        ({"dec_layers": 1}, {}, "set dec_layers=2"),
        ({"num_classes": 3}, {}, "is it a Group Pose checkpoint"),
    ],
)
def test_weights_of_another_model_say_which_setting_to_change(built, stored, message):
    with pytest.raises(InputError, match=message):
        grouppose.load_weights(small(**built), small(**stored).state_dict())


def test_a_folder_is_a_family_with_nothing_else(other, tmp_path):
    """What it does not have (published settings, a backbone) nobody asks for."""
    assert "other" in models.families()
    model = grouppose.build_model("other", num_body_points=4, skeleton="corners" and None)
    assert model.settings["skeleton"]["names"] == [f"keypoint_{i}" for i in range(4)]
    assert "pretrained_backbone" not in model.settings
    torch.save({"module.other." + k: v for k, v in model.state_dict().items()}, tmp_path / "a.pth")
    loaded = grouppose.load_model(tmp_path / "a.pth")
    assert same(loaded.state_dict(), model.state_dict())
    assert (loaded.settings["modelname"], loaded.settings["num_body_points"]) == ("other", 4)


def test_a_checkpoint_of_another_family_is_named_as_such(other, tmp_path):
    path = tmp_path / "a.safetensors"
    grouppose.save_weights(grouppose.build_model("other"), path)
    message = "it holds weights of Other, the model is Group Pose; give a config of that family"
    with pytest.raises(InputError, match=message):
        grouppose.load_weights(small(), path)
    with pytest.raises(InputError, match="it holds weights of Group Pose, the model is Other"):
        grouppose.load_weights(grouppose.build_model("other"), small().state_dict())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"conv.weight": torch.ones(1)},
            "a.pth is of no model .*conv.weight.* of .*grouppose",
        ),
        ({"model": {}, "settings": {"modelname": "dino"}}, "it says 'dino'.* one of .*grouppose"),
        ({"model": {}, "settings": {"kind": "rescore"}}, "it says 'rescore'"),
        ({"model": {"a": 1}}, "the weights of .*a.pth hold 'a' of type int, expected tensors only"),
    ],
)
def test_weights_of_no_family_name_the_families(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match=message):
        grouppose.load_model(tmp_path / "a.pth")
