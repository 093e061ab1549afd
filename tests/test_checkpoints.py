"""Files of weights: published names, settings, refusals, and both directions of conversion."""

import argparse
import hashlib
import os
import pickle

import pytest
import torch

import grouppose
from grouppose.checkpoints import (
    convert,
    infer_settings,
    main,
    published_names,
    read_checkpoint,
    write_checkpoint,
)
from grouppose.errors import InputError, MissingFileError
from tests.parity.inputs import fixture

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


def test_conversion_goes_both_ways_bit_for_bit(tmp_path, capsys):
    model = small()
    ours, published, back = (tmp_path / n for n in ("a.safetensors", "b.pth", "c.safetensors"))
    grouppose.save_weights(model, ours)
    assert main(["convert", str(ours), str(published), "--to", "published"]) == 0
    assert "published names" in capsys.readouterr().out
    stored = torch.load(published, weights_only=False)
    assert same(stored["model"], published_names(model.state_dict()))
    assert stored["args"].num_body_points == 4
    convert(published, back)
    assert same(grouppose.load_model(back).state_dict(), model.state_dict())
    assert grouppose.load_model(back).settings == grouppose.load_model(ours).settings


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


def test_half_the_bytes_keep_every_number_to_11_bits(tmp_path):
    model = small()
    grouppose.save_weights(model, tmp_path / "whole.safetensors")
    half = tmp_path / "half.safetensors"
    assert main(["convert", f"{tmp_path}/whole.safetensors", str(half), "--dtype", "float16"]) == 0
    assert half.stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
    loaded = grouppose.load_model(half).state_dict()
    for name, value in model.state_dict().items():
        assert loaded[name].dtype == value.dtype
        torch.testing.assert_close(loaded[name], value, rtol=2**-11, atol=1e-7)


class _Payload:
    def __reduce__(self):
        return os.system, ("touch loaded",)


def test_a_file_that_would_run_code_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"model": {}, "extra": _Payload()}, path)
    with pytest.raises(InputError, match=r"evil.pth is refused: it holds '(posix|os).system'"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(_Payload(), protocol=2))
    with pytest.raises(InputError, match="evil.pth"):
        grouppose.load_model(path)
    assert not (tmp_path / "loaded").exists()


def test_files_that_are_no_checkpoints_end_with_one_line(tmp_path):
    with pytest.raises(MissingFileError, match="no file .*none.pth"):
        read_checkpoint(tmp_path / "none.pth")
    path = tmp_path / "x.pth"
    torch.save({"model": small().state_dict()}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="no readable checkpoint.*truncated"):
        read_checkpoint(path)
    path.write_text("hello")
    with pytest.raises(InputError, match="no readable checkpoint"):
        read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds a list, expected a dict"):
        read_checkpoint(path)
    torch.save({"state": 1}, path)
    with pytest.raises(InputError, match="expected 'model'"):
        read_checkpoint(path)
    other = tmp_path / "x.safetensors"
    other.write_bytes(b"no")
    with pytest.raises(InputError, match="no readable safetensors"):
        read_checkpoint(other)
    assert main(["convert", str(tmp_path / "none"), str(other)]) == 1


def test_two_different_copies_of_a_head_are_refused():
    state = dict(published_names(small().state_dict()))
    name = "transformer.decoder.class_embed.0.bias"
    state[name] = state[name] + 1
    with pytest.raises(InputError, match="two different tensors for 'class_embed.0.bias'"):
        grouppose.load_weights(small(), state)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c.pth"
    write_checkpoint(path, {"model": {"a": torch.ones(1)}})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="could not write .*No space left"):
        write_checkpoint(path, {"model": {"a": torch.zeros(1)}})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pth"]
