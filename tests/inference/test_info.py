"""What `grouppose info` says of every kind of file."""

import argparse
import sys
import zipfile

import pytest
import torch
from torch import nn

import grouppose
from grouppose.backbones import build_backbone
from grouppose.errors import InputError, MissingFileError
from grouppose.inference.info import describe
from grouppose.inference.links import build_rescorer
from grouppose.inference.rescore import Rescorer
from grouppose.models import published_names
from grouppose.skeleton import COCO
from tests.small import SMALL


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return grouppose.build_model("grouppose", **SMALL).state_dict()


def saved(folder, content):
    torch.save(content, folder / "a.pth")
    return describe(folder / "a.pth")


def test_bare_weights_tell_their_family_and_sizes(tmp_path, state):
    lines = saved(tmp_path, {f"_orig_mod.module.{k}": v for k, v in published_names(state).items()})
    assert "family: Group Pose" in lines
    assert {"backbone = 'resnet18s'", "hidden_dim = 64", "num_body_points = 5"} <= set(lines)
    assert lines[-3] == "keypoints: " + ", ".join(f"keypoint_{i}" for i in range(5))


def test_a_checkpoint_of_a_run_tells_how_far_it_came(tmp_path, state):
    settings = {"modelname": "grouppose", **SMALL, "categories": [[7, "cat"]], "num_classes": 2}
    content = {"model": state, "settings": settings, "epoch": 3, "best": {"regular": 0.25}}
    lines = saved(tmp_path, {**content, "optimizer": {}})
    assert lines[1] == "beside the weights: best, epoch, optimizer"
    assert {"epoch: 3", "best AP so far (regular): 0.250", "class 1: cat"} <= set(lines)


def test_a_published_file_tells_what_its_command_line_says(tmp_path, state):
    args = argparse.Namespace(**SMALL, modelname="grouppose", nheads_of_another="x")
    assert "num_queries = 6" in saved(tmp_path, {"model": state, "args": args})


def test_a_rescoring_network_is_named_as_such(tmp_path):
    Rescorer(COCO).save(tmp_path / "rescore.pth")
    lines = describe(tmp_path / "rescore.pth")
    assert lines[1].startswith("a rescoring network for people of 17 keypoints: nose, ")
    build_rescorer(14).save(tmp_path / "final_rescore_crowd_pose_kpt.pth")  # as published: bare
    lines = describe(tmp_path / "final_rescore_crowd_pose_kpt.pth")
    assert lines[1].startswith("a rescoring network for people of 14 keypoints: left_shoulder, ")


def test_imagenet_weights_are_named_after_their_backbone(tmp_path):
    body = build_backbone("resnet18").body.state_dict()
    assert "weights of the backbone resnet18, to train from" in saved(tmp_path, body)[1]


@pytest.mark.parametrize("content", [{"conv.weight": torch.ones(2, 3)}, {"model": {}}])
def test_weights_of_no_family_name_the_families(tmp_path, content):
    assert "of no model that is known here (dekr, grouppose, " in saved(tmp_path, content)[1]


def test_exported_files_tell_what_they_are(tmp_path, monkeypatch):
    class Double(nn.Module):
        def forward(self, images):
            return images * 2

    example = (torch.zeros(1, 3, 4, 5),)
    torch.export.save(torch.export.export(Double(), example), tmp_path / "a.pt2")
    assert "a program of torch.export" in describe(tmp_path / "a.pt2")[0]
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", 3, 4, 5])
    graph = onnx.helper.make_graph([], "g", [value], [value])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "a.onnx")
    lines = describe(tmp_path / "a.onnx")
    assert lines[1:] == [f"{verb} images: uint8 (batch, 3, 4, 5)" for verb in ("takes", "gives")]
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "pip install onnx" in describe(tmp_path / "a.onnx")[1]
    monkeypatch.undo()
    (tmp_path / "a.onnx").write_bytes(b"no")
    with pytest.raises(InputError, match="no readable ONNX file"):
        describe(tmp_path / "a.onnx")


def test_anything_else_is_one_line(tmp_path):
    with pytest.raises(MissingFileError, match="no file .*none.pth"):
        describe(tmp_path / "none.pth")
    with pytest.raises(InputError, match="is a folder"):
        describe(tmp_path)
    for name, content in (("a.json", b"{}"), ("b.png", b"\x89PNG"), ("empty.pth", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} is no file of weights"):
            describe(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(InputError, match="no readable checkpoint"):
        describe(tmp_path / "c.zip")


@pytest.mark.parametrize(
    "settings",
    [
        {"skeleton": 3},
        {"skeleton": {"names": 3}},
        {"categories": 4},
        {"categories": [1]},
        {"num_body_points": "x"},
        {"num_queries": b"x"},
        {"modelname": ["a"]},
        {"kind": "rescore", "skeleton": [1]},
    ],
)
def test_settings_that_make_no_sense_leave_no_trace(tmp_path, state, settings):
    content = {"model": state, "settings": settings, "best": {"regular": None}}
    for read in (describe, grouppose.load_model):
        try:
            torch.save(content, tmp_path / "a.pth")
            assert read(tmp_path / "a.pth")
        except InputError as error:
            assert "\n" not in str(error)
