"""Runs that are killed at random moments; `python -m tests.util.killing` kills more of them."""

import subprocess
import sys
from pathlib import Path

import main


def test_killed_runs_become_what_they_would_have_been():
    line = [sys.executable, "-m", "tests.util.killing", "--kills", "2", "--processes", "1", "2"]
    folder = Path(main.__file__).parent
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 kills") == done.stdout.count("bit-identical") == 2
