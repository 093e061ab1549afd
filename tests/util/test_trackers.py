import sys
import types

import numpy as np
import pytest

from grouppose.errors import InputError
from util.trackers import Trackers

OFF = {"tensorboard": False, "note": "n"}


def test_without_either_nothing_is_written(tmp_path):
    trackers = Trackers(tmp_path, OFF, use_wandb=False, first_step=0)
    trackers.numbers({"loss": 1.0}, 3)
    trackers.picture("p", np.zeros((2, 2, 3), np.uint8), 3)
    trackers.close()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_has_the_numbers_and_leaves_out_what_is_done_again(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for first_step, value in ((0, 1.0), (2, 5.0)):  # killed after step 3, resumed at step 2
        trackers = Trackers(tmp_path, {**OFF, "tensorboard": True}, False, first_step)
        for step in range(first_step, 4):
            trackers.numbers({"loss": value}, step)
        trackers.picture("p", np.full((2, 3, 3), 7, np.uint8), 3)
        trackers.close()
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [
        (0, 1.0),
        (1, 1.0),
        (2, 5.0),
        (3, 5.0),
    ]
    assert [(e.step, e.width, e.height) for e in found.Images("p")] == [(3, 3, 2)]


def test_weights_and_biases_is_off_line_unless_told_otherwise(tmp_path, monkeypatch):
    started, logged = [], []
    run = types.SimpleNamespace(log=logged.append, finish=lambda: logged.append("finished"))
    fake = types.ModuleType("wandb")
    fake.init = lambda **arguments: started.append(arguments) or run
    fake.Image = lambda image: ("image", image.shape)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    trackers = Trackers(tmp_path / "run5", OFF, use_wandb=True, first_step=0)
    trackers.numbers({"loss": 1.0}, 3)
    trackers.picture("p", np.zeros((2, 3, 3), np.uint8), 4)
    trackers.close()
    assert logged == [
        {"loss": 1.0, "step": 3},
        {"p": ("image", (2, 3, 3)), "step": 4},
        "finished",
    ]
    assert (started[0]["mode"], started[0]["name"], started[0]["notes"]) == ("offline", "run5", "n")
    monkeypatch.setenv("WANDB_MODE", "online")
    Trackers(tmp_path / "run5", OFF, use_wandb=True, first_step=0)
    assert started[1]["mode"] == "online"
    assert started[1]["id"] == started[0]["id"]  # a resumed run is the same one there


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="--wandb: the package is not installed; `pip install wan"):
        Trackers(tmp_path, OFF, use_wandb=True, first_step=0)
