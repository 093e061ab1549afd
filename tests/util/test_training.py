"""Runs that meet with something: whatever it is, they end as one left in peace or say why."""

import json
import os
import shutil
import signal

import pytest
import torch

import main
from grouppose.inference.find import Finder
from tests.util import killing
from tests.util.test_lock import elsewhere
from tests.util.tiny import OPTIONS, write_coco
from util import engine, evaluation, training

pytestmark = pytest.mark.usefixtures("one_thread")
SAVING = ("save_steps=1", "use_ema=true", "dropout=0.1", "lr=5e-4")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """8 training pictures: 4 steps an epoch."""
    return write_coco(tmp_path_factory.mktemp("data") / "coco", train=8)


@pytest.fixture(scope="module")
def peace_folder(data, tmp_path_factory):
    """Of a run of two epochs to which nothing happens."""
    folder = tmp_path_factory.mktemp("peace")
    assert main.main(command(data, folder)) == 0
    return folder


@pytest.fixture(scope="module")
def peace(peace_folder):
    """What it becomes."""
    return killing.outcome(peace_folder)


def command(data, folder, *extra, options=()):
    line = ["-c", killing.DEMO, "--dataset_file", "coco", "--coco_path", str(data)]
    line += ["--device", "cpu", "--num_workers", "0", "--output_dir", str(folder), *extra]
    return [*line, "--options", *OPTIONS, *SAVING, *options]


@pytest.fixture
def during(monkeypatch):
    """Makes something happen to the weighted sum of the losses, by the number of its step."""
    build, calls = main.build_run, []

    def happen(action):
        def build_run(*arguments):
            run = build(*arguments)
            total = run.criterion.total

            def changed(losses):
                calls.append(len(calls))
                value = action(len(calls) - 1)
                return total(losses) * (1.0 if value is None else value)

            run.criterion.total = changed
            return run

        monkeypatch.setattr(main, "build_run", build_run)
        return calls

    return happen


def stop(_=None):
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_that_was_asked_to_stop_goes_on_from_its_step(data, peace, tmp_path, during, capsys):
    during(lambda step: stop() if step == 2 else None)
    options = ("save_steps=0",)
    assert main.main(command(data, tmp_path, options=options)) == 128 + signal.SIGTERM
    message = "stopped by signal 15 in epoch 0 after step 3; the same command with --auto_resume"
    assert message in capsys.readouterr().err
    assert main.main(command(data, tmp_path, "--auto_resume", options=options)) == 0
    assert killing.differences(peace, killing.outcome(tmp_path)) == []


def test_a_run_stopped_in_evaluation_goes_on_from_there(
    data, peace, tmp_path, monkeypatch, during, capsys
):
    people = Finder.people
    monkeypatch.setattr(Finder, "people", lambda *a: stop() or people(*a))
    options = ("save_steps=0",)
    assert main.main(command(data, tmp_path, options=options)) == 143
    assert "in epoch 0 after step 4" in capsys.readouterr().err
    monkeypatch.setattr(Finder, "people", people)
    steps = during(lambda _: None)
    assert main.main(command(data, tmp_path, "--auto_resume", options=options)) == 0
    assert len(steps) == 4  # of the second epoch alone
    assert killing.differences(peace, killing.outcome(tmp_path)) == []


def test_divergence_goes_back_and_takes_another_way(data, peace, tmp_path, during, capsys):
    steps = during(lambda step: float("nan") if step in (2, 3) else None)
    options = ("max_bad_steps=2",)
    assert main.main(command(data, tmp_path, options=options)) == 0
    assert len(steps) == 4 + 2 + 4  # steps 2 and 3 were done again
    out = capsys.readouterr().out
    assert "epoch 0, step 2: loss = nan; the step is left out (1 in a row)" in out
    assert "2 steps in a row, the last with loss = nan; going back to epoch 0, step 2 with" in out
    state = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert (state["rollbacks"], state["epoch"], state["step"]) == (1, 2, 0)
    assert all(value.isfinite().all() for value in state["model"].values())
    assert len(list((tmp_path / "bad_steps").iterdir())) == 2
    other = killing.outcome(tmp_path)
    assert killing.differences(peace["state"]["model"], other["state"]["model"]) != []


def test_a_step_that_was_left_out_is_counted_in_the_log(data, tmp_path, during):
    during(lambda step: float("inf") if step == 1 else None)
    assert main.main(command(data, tmp_path)) == 0
    log = killing.outcome(tmp_path)["log"]
    assert [entry["skipped_steps"] for entry in log] == [1, 0]
    assert all(0 < entry["train_loss"] < 1e4 for entry in log)


@pytest.mark.parametrize(
    ("first", "options", "message"),
    [
        (0, ("save_steps=0",), "training diverged before a first checkpoint: 2 steps in a row"),
        (1, ("max_rollbacks=2",), "training diverged after 2 returns: 2 steps in a row"),
    ],
)
def test_divergence_that_does_not_end_is_an_error(
    data, tmp_path, during, capsys, first, options, message
):
    during(lambda step: float("nan") if step >= first else None)
    assert main.main(command(data, tmp_path, options=("max_bad_steps=2", *options))) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and error.count("\n") == 1
    assert "lower lr" in error


def test_training_goes_on_without_a_picture(tmp_path, capsys):
    data = write_coco(tmp_path / "coco")
    picture = data / "images" / "train2017" / "000000000030.png"
    picture.write_bytes(picture.read_bytes()[:200])
    assert main.main(command(data, tmp_path / "run")) == 0
    out = capsys.readouterr().out
    assert out.count("the next one is in its place (1 so far)") == 1
    listed = (tmp_path / "run/unreadable.txt").read_text()
    assert listed.startswith("30\t") and listed.count("\n") == 1
    state = torch.load(tmp_path / "run/checkpoint.pth", weights_only=True)
    assert state["unreadable"] == [30]


def damage(data, split, *ids):
    for image_id in ids:
        picture = data / "images" / f"{split}2017" / f"{image_id:012}.png"
        picture.write_bytes(picture.read_bytes()[:200])


def test_a_picture_that_evaluation_cannot_read_has_nobody_on_it(tmp_path, capsys):
    data, run = write_coco(tmp_path / "coco"), tmp_path / "run"
    damage(data, "val", 20)
    (data / "images" / "val2017" / "000000000010.png").unlink()
    assert main.main(command(data, run, options=("use_ema=false",))) == 0
    out = capsys.readouterr().out
    assert out.count("2 pictures to evaluate on cannot be read and count as pictures on which") == 2
    listed = (run / "unreadable.txt").read_text().splitlines()
    assert [line.partition("\t")[0] for line in listed] == ["20", "10"]  # once, of two evaluations
    line = command(data, run, "--resume", str(run / "checkpoint.pth"), "--eval")
    assert main.main(line) == 0
    results = json.loads((run / "results.json").read_text())
    assert {result["image_id"] for result in results} == {30}
    assert len((run / "unreadable.txt").read_text().splitlines()) == 2


def test_the_epoch_is_kept_whatever_evaluation_meets(data, peace, tmp_path, during, capsys):
    damaged = write_coco(tmp_path / "coco", train=8)
    damage(damaged, "val", 20, 30)
    options = ("save_steps=0", "max_unreadable=1")
    assert main.main(command(damaged, tmp_path / "run", options=options)) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "error: 2 of 3 pictures to evaluate on cannot be read, max_unreadable is 1: ids 30, 20; "
    )
    assert error.count("\n") == 1
    steps = during(lambda _: None)
    line = command(data, tmp_path / "run", "--auto_resume", options=("save_steps=0",))
    assert main.main(line) == 0
    assert len(steps) == 4  # of the second epoch
    assert killing.differences(peace, killing.outcome(tmp_path / "run")) == []


@pytest.mark.parametrize("extra", [(), ("--eval", "--pretrain_model_path")])
def test_an_evaluation_set_without_pictures_is_refused_before_anything(
    data, peace_folder, tmp_path, capsys, extra
):
    extra = (*extra, str(peace_folder / "checkpoint.pth")) if extra else ()
    empty = write_coco(tmp_path / "coco")
    shutil.rmtree(empty / "images" / "val2017")
    (empty / "images" / "val2017").mkdir()
    assert main.main(command(empty, tmp_path / "run", *extra)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: 3 of 3 pictures to evaluate on have no file, max_unreadable is")
    labels = empty / "annotations" / "person_keypoints_val2017.json"
    labels.write_text(
        json.dumps({**json.loads(labels.read_text()), "images": [], "annotations": []})
    )
    assert main.main(command(empty, tmp_path / "run", *extra)) == 1
    assert "lists no pictures; expected at least one to evaluate on" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_training_ends_when_it_gets_no_better(data, tmp_path, monkeypatch, capsys):
    scores = iter([0.2, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(engine, "train_one_epoch", lambda *_, **__: ({"loss": 0.0}, {}))
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: ({"AP": next(scores)}, [], []))
    options = ("early_stop=2", "epochs=9", "draw_pictures=0", "use_ema=false")
    assert main.main(command(data, tmp_path, options=options)) == 0
    assert "early stop: 2 evaluations without a better AP" in capsys.readouterr().out
    assert [entry["test_AP"] for entry in killing.outcome(tmp_path)["log"]] == [0.2, 0.5, 0.4, 0.5]


def test_a_second_run_is_refused_and_harms_nothing(data, peace_folder, tmp_path, capsys):
    shutil.copytree(peace_folder, tmp_path / "run")
    (tmp_path / "run" / ".checkpoint.next").write_text("of the first, just being written")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    with elsewhere(tmp_path / "run"):
        assert main.main(command(data, tmp_path / "run")) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: another run is training in ") and error.count("\n") == 1
        line = ("--resume", str(tmp_path / "run" / "checkpoint.pth"), "--eval")
        assert main.main(command(data, tmp_path / "run", *line)) == 0  # has files of its own
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    new = {path.name for path in after.keys() - before.keys()}
    assert new == {"run.lock", "results.json", "errors.png", "predictions.png"}
    assert before.items() <= after.items()


def test_an_epoch_goes_on_with_steps_of_another_size(data, tmp_path, during):
    during(lambda step: stop() if step == 2 else None)  # 6 of 8 pictures are done
    assert main.main(command(data, tmp_path, options=("save_steps=0",))) == 143
    steps = during(lambda _: None)
    steps.clear()
    options = ("save_steps=0", "batch_size=1", "epochs=1")
    assert main.main(command(data, tmp_path, "--auto_resume", options=options)) == 0
    assert len(steps) == 2


def test_an_epoch_is_reported_in_percent(monkeypatch):
    lines = []
    monkeypatch.setattr(training.logger, "info", lines.append)
    scores = {"test_AP": 0.3361, "test_AP50": 1.0, "test_swap_rate": 0.094, "ema_test_AP": -1.0}
    training.report_epoch({"epoch": 3, "train_loss": 12.3456, "minutes": 0.25, **scores})
    assert lines == [
        "epoch 3  loss 12.346  test AP 33.6 %  test AP50 100.0 %  test swaps 9.4 %  ema_test AP -  "
        "0.2 minutes"
    ]
