import json
import logging

import pytest
import torch

from util import log


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    moment = [100.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: moment[0])
    return moment


def test_progress_line_has_loss_rate_and_remaining_time(clock):
    progress = log.Progress(total=100, title="epoch 3")
    for loss in (1.0, 2.0):
        clock[0] += 5
        progress.step(10, loss)
    assert progress.line() == "epoch 3  20/100  loss 1.500  2.0 pictures/s  0:40 left"


def test_progress_without_terminal_writes_a_line_now_and_then(clock, monkeypatch):
    lines = []
    monkeypatch.setattr(log.logger, "info", lines.append)
    with log.Progress(total=100, title="evaluation") as progress:
        for _ in range(10):
            clock[0] += 10
            progress.step(10)
    assert lines == [f"evaluation  {n}/100  1.0 pictures/s  {t} left" for n, t in
                     ((30, "1:10"), (60, "0:40"), (90, "0:10"))]  # fmt: skip


def test_progress_on_a_terminal_is_one_bar(monkeypatch, capsys):
    monkeypatch.setattr(log.sys.stderr, "isatty", lambda: True)
    with log.Progress(total=4, title="epoch 0") as progress:
        progress.step(4, loss=2.0)
        assert progress.bar.n == 4
    assert "epoch 0" in capsys.readouterr().err


def test_loss_is_smoothed_over_the_latest_steps():
    progress = log.Progress(total=1000, title="")
    for loss in (1000.0, *[1.0] * log.SMOOTHED_OVER):
        progress.step(1, loss)
    assert progress.loss == 1.0


def test_averages_are_means_of_each_name():
    averages = log.Averages()
    assert averages.means() == {}
    averages.add({"loss": 1.0, "loss_ce": 0.5})
    averages.add({"loss": 3.0, "loss_ce": 1.0})
    assert averages.means() == {"loss": 2.0, "loss_ce": 0.75}


def test_resumed_log_keeps_the_lines_before_its_epoch(tmp_path):
    path = tmp_path / "log.txt"
    for epoch in range(3):
        log.append_log(path, {"epoch": epoch})
    with path.open("a") as file:
        file.write('{"epoch": 3, "train_l')  # killed while writing
    log.start_log(path, first_epoch=2)
    log.append_log(path, {"epoch": 2, "again": True})
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert entries == [{"epoch": 0}, {"epoch": 1}, {"epoch": 2, "again": True}]


def test_console_and_file_get_the_lines_of_rank_0(tmp_path, capsys, monkeypatch):
    log.set_up(tmp_path / "info.txt")
    log.logger.info("hello")
    log.logger.warning("careful")
    monkeypatch.setenv("RANK", "1")
    log.set_up()
    log.logger.info("from another rank")
    assert [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()] == [
        "hello",
        "careful",
    ]
    written = (tmp_path / "info.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in written] == ["hello", "careful"]
    monkeypatch.delenv("RANK")
    log.set_up()
    assert log.logger.level == logging.INFO


def test_averages_go_on_from_their_state():
    averages, other = log.Averages(), log.Averages()
    averages.add({"loss": 1.0, "loss_ce": 0.5})
    other.load_state_dict(averages.state_dict())
    other.add({"loss": 3.0, "loss_ce": 1.0})
    assert other.means() == {"loss": 2.0, "loss_ce": 0.75}
    other.load_state_dict(log.Averages().state_dict())
    assert other.state_dict()["steps"] == 0
    rows = {"names": ["loss"], "steps": 4, "sums": torch.tensor([[4.0], [8.0]])}
    averages.load_state_dict(rows)  # of two ranks, on one
    assert averages.means() == {"loss": 1.5}


def test_pace_of_an_epoch(clock):
    pace = log.Pace(torch.device("cpu"))

    def slow():
        for i in range(2):
            clock[0] += 3  # to read it
            yield i

    for _ in pace.waiting(slow()):
        clock[0] += 1  # to compute
        pace.count(4)
    figures = pace.figures()
    assert figures["pictures_per_second"] == 1.0
    assert figures["data_wait"] == 0.75
    assert 0.01 < figures["memory_gb"] < 1000


def test_progress_of_a_resumed_epoch_counts_its_own_rate(clock):
    progress = log.Progress(total=100, title="epoch 3", done=60)
    clock[0] += 10
    progress.step(20)
    assert progress.line() == "epoch 3  80/100  2.0 pictures/s  0:10 left"
