"""Rewriting files of weights, both ways."""

import pytest
import torch

import grouppose
from grouppose.checkpoints import read_checkpoint
from grouppose.errors import InputError
from grouppose.inference.cli import main
from grouppose.inference.convert import convert
from grouppose.models import published_names
from tests.small import SMALL


def small():
    torch.manual_seed(0)
    return grouppose.build_model("grouppose", **SMALL)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_conversion_goes_both_ways_bit_for_bit(tmp_path, capsys):
    model = small()
    ours, published, back = (tmp_path / n for n in ("a.safetensors", "b.pth", "c.safetensors"))
    grouppose.save_weights(model, ours)
    assert main(["convert", str(ours), str(published), "--to", "published"]) == 0
    assert "published names" in capsys.readouterr().out
    stored = torch.load(published, weights_only=False)
    assert same(stored["model"], published_names(model.state_dict()))
    assert stored["args"].num_body_points == 5
    convert(published, back)
    assert same(grouppose.load_model(back).state_dict(), model.state_dict())
    assert grouppose.load_model(back).settings == grouppose.load_model(ours).settings


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


def test_weights_of_no_family_keep_their_names(tmp_path):
    source = tmp_path / "backbone.pth"
    torch.save({"state_dict": {"module.layer3.0.conv1.weight": torch.ones(2)}}, source)
    convert(source, tmp_path / "b.safetensors")
    assert list(read_checkpoint(tmp_path / "b.safetensors")["model"]) == ["layer3.0.conv1.weight"]
    with pytest.raises(InputError, match=r"backbone.pth is of no model .* one of .*grouppose"):
        convert(source, tmp_path / "b.pth", to="published")
    assert not (tmp_path / "b.pth").exists()


def test_names_of_files_that_do_not_fit_are_refused(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "none"), str(tmp_path / "x.safetensors")]) == 1
    assert "no file" in capsys.readouterr().err
    assert main(["convert", "a.pth", "b.pth"]) == 1
    assert "b.pth: our own files end in .safetensors" in capsys.readouterr().err
    assert main(["convert", "a.pth", "b.safetensors", "--to", "published"]) == 1
    assert "choose a name that ends in .pth" in capsys.readouterr().err
