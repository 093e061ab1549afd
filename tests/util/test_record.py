import json
import subprocess

import torch

from util import record


def git(folder, *arguments):
    line = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    subprocess.run(line, check=True, capture_output=True)


def test_state_of_the_code_is_its_commit_and_what_was_changed(tmp_path):
    assert record.git_state(tmp_path) is None
    git(tmp_path, "init")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "a")
    state = record.git_state(tmp_path)
    assert len(state["commit"]) == 40
    assert state["changed"] == []
    (tmp_path / "a.py").write_text("2")
    (tmp_path / "new.py").write_text("not tracked")
    assert record.git_state(tmp_path) == {"commit": state["commit"], "changed": ["a.py"]}


def test_every_start_is_recorded_without_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setattr(record.sys, "orig_argv", ["/usr/bin/python", "main.py", "--note", "a b"])
    path = tmp_path / "record.txt"
    record.append_record(path, None)
    record.append_record(path, "x.pth")
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["command"].endswith(" main.py --note 'a b'")
    assert (first["resumed"], second["resumed"]) == (None, "x.pth")
    assert first["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert "hunter2" not in path.read_text() and "SECRET_TOKEN" not in path.read_text()
