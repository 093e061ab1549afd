"""Runs that are killed at random moments; `python -m tests.util.killing` kills more of them."""

import subprocess
import sys
from pathlib import Path

import pytest

import main


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_runs_become_what_they_would_have_been(processes):
    line = [sys.executable, "-m", "tests.util.killing", "--kills", "3", "--processes"]
    folder = Path(main.__file__).parent
    done = subprocess.run([*line, str(processes)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{processes} processes: bit-identical" in done.stdout
