"""Files of weights: what is read, what is refused, and that no code runs."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import grouppose
from grouppose.checkpoints import plain_names, read_checkpoint, write_checkpoint, write_safetensors
from grouppose.errors import InputError, MissingFileError

ROOT = Path(__file__).parents[1]
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"ema_model": state},
        lambda state: {"state_dict": state, "meta": {"epoch": 3}},
        lambda state: {"epoch": 77, "train_loss": 0.5, "model_state_dict": state},
        lambda state: {"model": "its name", "state_dict": state, "best_state_dict": {}},
    ],
)
def test_weights_are_found_wherever_people_keep_them(tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / "a.pth")
    content = read_checkpoint(tmp_path / "a.pth")
    assert same(content["model"], STATE)
    assert content["settings"] == {}


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_fsdp_wrapped_module."],
)
def test_names_of_parallel_and_compiled_models_are_read(prefix):
    assert same(plain_names({f"{prefix}{name}": value for name, value in STATE.items()}), STATE)


def test_only_wrappers_leave_names():
    """Parts may be compiled alone; `module` inside is a model's own part."""
    state = {"head._orig_mod.a": STATE["b"], "head.module.a": STATE["b"] + 1}
    assert list(plain_names(state)) == ["head.a", "head.module.a"]
    with pytest.raises(InputError, match="two different tensors for 'a'"):
        plain_names({"a": STATE["b"], "module.a": STATE["b"] + 1})


def test_tied_weights_are_written_and_read(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"a": STATE["b"], "b": STATE["b"]}, {"x": 1})
    content = read_checkpoint(tmp_path / "a.safetensors")
    assert same(content["model"], {"a": STATE["b"], "b": STATE["b"]})
    assert content["settings"] == {"x": 1}


def test_the_earlier_command_converts_without_a_warning(tmp_path):
    torch.save(STATE, tmp_path / "a.pth")
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "grouppose.checkpoints"]
    done = subprocess.run(
        [*command, "convert", f"{tmp_path}/a.pth", f"{tmp_path}/a.safetensors"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert same(read_checkpoint(tmp_path / "a.safetensors")["model"], STATE)


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
    torch.save({"model": {"a": torch.arange(100.0)}}, path)
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
