"""How commands end."""

import os
import subprocess
import sys
from functools import partial

import pytest

from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError, UserError
from tests.util.tiny import ROOT
from util import distributed
from util.stopping import Stopped


def fail(error):
    def command():
        sys.stdout.write("begun\n")
        raise error

    return command


def test_what_a_command_returns_is_its_status():
    assert [exit_status(iter(values).__next__) for values in ([None], [0], [7])] == [0, 0, 7]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("a is 3,\nexpected 4"), 1, "error: a is 3, expected 4\n"),
        (Stopped("stopped by signal 15", 15), 143, "stopped by signal 15\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (
            PermissionError(13, "Permission denied", "/a/b"),
            1,
            "error: /a/b: Permission denied; check the path, rights and free space\n",
        ),
        (
            OSError(28, "No space left on device"),
            1,
            "error: No space left on device; check the path, rights and free space\n",
        ),
    ],
)
def test_what_a_person_can_mend_is_told_in_a_line(error, status, line, capsys):
    assert exit_status(fail(error)) == status
    assert capsys.readouterr() == ("begun\n", line)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ValueError("a"), ConnectionResetError(104, "reset")]
)
def test_our_own_bugs_keep_their_trace(error):
    with pytest.raises(type(error)):
        exit_status(fail(error))


def test_a_broken_pipe_to_somebody_else_keeps_its_trace():
    with pytest.raises(BrokenPipeError):
        exit_status(fail(BrokenPipeError(32, "Broken pipe")))


def test_a_wrong_command_line_is_told_in_a_line(capsys):
    parser = Parser(prog="grouppose draw")
    parser.add_argument("--size", type=int)
    with pytest.raises(SystemExit, match="^2$"):
        parser.parse_args(["--size", "a\nb"])
    found = "error: argument --size: invalid int value: 'a\\nb'; "
    assert capsys.readouterr().err == f"{found}grouppose draw --help lists what there is\n"


@pytest.fixture
def unread():
    """A pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


def test_output_that_nobody_reads_leaves_no_trace(unread):
    code = (
        "import sys; from grouppose.commands import exit_status\n"
        "sys.exit(exit_status(lambda: print('a\\n' * 100_000)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=unread, stderr=subprocess.PIPE, text=True
    )
    os.close(unread)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", [False, True])
def test_what_nobody_reads_goes_nowhere(unread, unbuffered, monkeypatch, capsys):
    with open(unread, "w") as output:
        output.reconfigure(line_buffering=unbuffered)
        monkeypatch.setattr(sys, "stdout", output)
        command = partial(output.write, "\n")
        assert exit_status(lambda: command() - 1) == (141 if unbuffered else 0)
        assert exit_status(lambda: command() - 1) == 0  # nothing is left to complain about
    assert capsys.readouterr().err == ""


def test_of_several_processes_one_tells_what_went_wrong(monkeypatch, capsys):
    def ended(error, *, first, main=True, failed=False):
        monkeypatch.setattr(distributed, "first_to_fail", lambda: first)
        monkeypatch.setattr(distributed, "another_failed", lambda: failed)
        monkeypatch.setattr(distributed, "is_main", lambda: main)
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        status = exit_status(lambda: distributed.told_once(fail(error)))
        return status, capsys.readouterr().err

    assert ended(UserError("a"), first=True) == (1, "error: a\n")
    assert ended(UserError("a"), first=False) == (1, "")
    assert ended(distributed.OtherRankError("a"), first=True) == (1, "")
    assert ended(Stopped("enough", 15), first=True, main=False) == (143, "")
    assert ended(Stopped("enough", 15), first=False) == (143, "enough\n")
    gone = RuntimeError("Connection closed by peer")
    assert ended(gone, first=False) == (1, "")
    assert ended(gone, first=True, failed=True) == (1, "")
    status, line = ended(gone, first=True)
    assert status == 1 and line.startswith("error: another process of this run is gone")
    with pytest.raises(RuntimeError, match="of ours"):
        ended(RuntimeError("a bug of ours"), first=True)
