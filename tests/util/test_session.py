import argparse

from util import session
from util.session import resumed_from


def test_what_a_run_goes_on_from(tmp_path, monkeypatch):
    def args(**changes) -> argparse.Namespace:
        given = {"auto_resume": True, "resume": "a.pth", "output_dir": tmp_path}
        given |= {"eval": False, "train_rescore": False, "predict": None}
        return argparse.Namespace(**{**given, **changes})

    assert resumed_from(args()) == "a.pth"  # nothing there yet
    monkeypatch.setattr(session, "find_checkpoint", lambda folder: folder / "found.pth")
    assert resumed_from(args()) == str(tmp_path / "found.pth")
    assert resumed_from(args(auto_resume=False)) == "a.pth"
    for mode in ("eval", "train_rescore", "predict"):
        assert resumed_from(args(**{mode: True})) == "a.pth"
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert resumed_from(args(auto_resume=False)) == str(tmp_path / "found.pth")


def test_another_batch_than_the_recipes_is_pointed_out(monkeypatch):
    lines = []
    monkeypatch.setattr(session.logger, "warning", lines.append)
    settings = {"lr": 1e-4, "lr_backbone": 1e-5, "recipe_batch": 16}
    session._compare_batch({**settings, "batch_size": 4, "accumulate": 4})
    assert lines == []
    session._compare_batch({**settings, "batch_size": 2, "accumulate": 1})
    session._compare_batch({**settings, "batch_size": 32, "accumulate": 1})
    assert lines == [
        "the effective batch is 2, the recipe's 16: set accumulate=8, or learning rates in "
        "proportion (from the config's: lr=1.25e-05 lr_backbone=1.25e-06), and recipe_batch=2 when "
        "done",
        "the effective batch is 32, the recipe's 16: set learning rates in proportion (from the "
        "config's: lr=0.0002 lr_backbone=2e-05), and recipe_batch=32 when done",
    ]
