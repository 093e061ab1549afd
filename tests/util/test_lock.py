"""One run of training a folder."""

import errno
import json
import os
import signal
import socket
from contextlib import contextmanager

import pytest

from grouppose.errors import InputError
from util import lock
from util.lock import NAME, locked


@contextmanager
def elsewhere(folder, child=False):
    """While another process holds the lock; with `child`, that one has a child of its own."""
    ready, said = os.pipe()
    process = os.fork()
    if process == 0:
        with locked(folder):
            if child and os.fork() == 0:
                os.write(said, b"x")
                signal.alarm(20)
            else:
                os.write(said, b"" if child else b"x")
            signal.pause()
            os._exit(0)
    os.close(said)
    os.read(ready, 1)
    try:
        yield process
    finally:
        os.close(ready)
        kill(process)


def kill(process):
    try:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    except (ProcessLookupError, ChildProcessError):  # killed already
        pass


@pytest.fixture
def lines(monkeypatch):
    said = []
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    for level in ("info", "warning"):
        monkeypatch.setattr(lock.logger, level, said.append)
    return said


def test_a_lock_says_whose_it_is_and_goes_with_it(tmp_path, lines):
    with locked(tmp_path):
        content = json.loads((tmp_path / NAME).read_text())
        assert (content["host"], content["process"]) == (socket.gethostname(), os.getpid())
        assert content["started"][:2] == "20"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [] and lines == []


def test_a_second_run_is_refused_while_the_first_lives(tmp_path, lines):
    with elsewhere(tmp_path) as process:
        content = json.loads((tmp_path / NAME).read_text())
        with pytest.raises(InputError) as error, locked(tmp_path):
            raise AssertionError
        assert str(error.value) == (
            f"another run is training in {tmp_path}: process {process} on {content['host']}, since "
            f"{content['started']}; give another --output_dir, or end that run"
        )
        assert json.loads((tmp_path / NAME).read_text()) == content
        kill(process)
        with locked(tmp_path):
            assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
    assert len(lines) == 1
    assert f"taken over from process {process} on" in lines[0] and "which is gone" in lines[0]


def test_processes_that_a_killed_run_had_started_do_not_keep_its_lock(tmp_path, lines):
    with elsewhere(tmp_path, child=True) as process:
        kill(process)
        with locked(tmp_path):
            pass


def test_what_somebody_else_wrote_there_is_taken_over(tmp_path, lines):
    for text in ("", "no JSON", '{"process": 3}', "[1]"):
        (tmp_path / NAME).write_text(text)
        with locked(tmp_path):
            assert json.loads((tmp_path / NAME).read_text())["process"] == os.getpid()
    assert lines == []


def test_a_lock_that_its_holder_removes_meanwhile_is_made_anew(tmp_path, lines, monkeypatch):
    """The other run ends between opening and locking."""
    lockf, calls = lock.fcntl.lockf, []

    def removed(handle, how):
        if not calls:
            (tmp_path / NAME).unlink()
        calls.append(handle)
        lockf(handle, how)

    monkeypatch.setattr(lock.fcntl, "lockf", removed)
    with locked(tmp_path):
        assert (tmp_path / NAME).exists() and len(calls) == 2


def test_file_systems_without_locks_only_warn(tmp_path, lines, monkeypatch):
    def cannot(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "lockf", cannot)
    with locked(tmp_path):
        pass
    assert lines == [
        f"{tmp_path}: files cannot be locked there (No locks available); see to it that no other "
        "run writes into it"
    ]
