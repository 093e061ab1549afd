"""Two processes of main.py, as the launcher starts them."""

import os
import subprocess
import sys

import pytest

import main
from tests.util.tiny import ROOT, command, load, log_of, write_coco

pytestmark = pytest.mark.usefixtures("one_thread")


def launch(*line: str) -> subprocess.CompletedProcess:
    """Two processes, as a person starts them."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "main.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *start, *line], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_two_processes_train_resume_and_evaluate_like_one(tmp_path, capsys):
    data = write_coco(tmp_path / "coco")
    run = tmp_path / "run"
    done = launch(*command(data, run, options=("batch_size=1", "epochs=1")))
    assert done.returncode == 0, done.stderr
    assert "effective batch 2 (2 processes x 1 pictures x accumulate 1)" in done.stdout
    checkpoint = run / "checkpoint.pth"
    assert load(checkpoint)["rng"]["cpu"].shape[0] == 2
    done = launch(*command(data, run, "--resume", str(checkpoint), options=("batch_size=1",)))
    assert done.returncode == 0, done.stderr
    assert [entry["epoch"] for entry in log_of(run)] == [0, 1]

    resume = ("--resume", str(checkpoint), "--eval")
    done = launch(*command(data, tmp_path / "two", *resume))
    assert done.returncode == 0, done.stderr
    capsys.readouterr()
    assert main.main(command(data, tmp_path / "one", *resume)) == 0
    assert capsys.readouterr().out == done.stdout
    one, two = ((tmp_path / name / "results.json").read_text() for name in ("one", "two"))
    assert one == two
    entry = log_of(run)[-1]
    assert f"{100 * entry['test_swap_rate']:.1f} %" in done.stdout


def test_an_error_in_two_processes_is_reported_once(tmp_path):
    done = launch(*command(tmp_path / "nowhere", tmp_path / "out"))
    assert done.returncode != 0
    assert done.stderr.count("error: no folder") == 1
    assert "MissingFileError" not in done.stderr  # no trace of ours; torchrun prints its own
    assert not (tmp_path / "out").exists()


def test_an_error_in_one_process_ends_both_with_one_line(tmp_path):
    data = write_coco(tmp_path / "coco")
    picture = data / "images" / "train2017" / "000000000030.png"
    picture.write_bytes(picture.read_bytes()[:200])
    options = ("batch_size=2", "max_unreadable=0")
    done = launch(*command(data, tmp_path / "out", options=options))
    assert done.returncode != 0
    assert done.stderr.count("error: ") == done.stderr.count("000000000030.png") == 1
    assert "Error: " not in done.stderr.replace("ChildFailedError: ", "")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"config.py", "record.txt", "unreadable.txt"}
