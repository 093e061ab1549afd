import os
import signal
import subprocess
import time

from util import stopping


def test_a_signal_is_remembered_until_training_ends():
    before = signal.getsignal(signal.SIGTERM)
    with stopping.remembered():
        assert stopping.requested() == 0
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)  # another one within a second changes nothing
        assert stopping.requested() == signal.SIGTERM
    assert stopping.requested() == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_status_is_that_of_the_signal():
    assert stopping.Stopped("", signal.SIGTERM).status == 143
    assert stopping.Stopped("", signal.SIGINT).status == 130


def run(*signals: tuple[float, int]) -> int:
    """Exit status of a process that trains for long and gets signals, each after a delay."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        with stopping.remembered():
            os.write(writer, b"ready")
            for _ in range(200):
                time.sleep(0.1)
        os._exit(5)
    os.read(reader, 5)
    for delay, number in signals:
        time.sleep(delay)
        os.kill(process, number)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_a_second_press_ends_at_once():
    assert run((0.0, signal.SIGINT), (0.1, signal.SIGINT), (1.2, signal.SIGINT)) == 130


def test_what_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(stopping, "GRACE", 0.1)
    assert run((0.0, signal.SIGTERM)) == 143


def test_workers_go_on_until_their_parent_ends_them():
    process = os.fork()
    if process == 0:
        stopping.ignored_by_worker(0)
        time.sleep(20)
        os._exit(5)
    time.sleep(0.3)
    for name in ("INT", "TERM"):  # from somebody else
        subprocess.run(["sh", "-c", f"kill -{name} {process}"], check=True)
    time.sleep(0.2)
    assert os.waitpid(process, os.WNOHANG) == (0, 0)
    os.kill(process, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def lives_on(environment):
    """Whether a process goes on for some time after the one that started it was killed."""
    heard, said = os.pipe()
    launcher = os.fork()
    if launcher == 0:
        if os.fork() == 0:
            os.environ.update(environment)
            os.environ["RANK"] = "1"
            stopping.LOOK_EVERY = 0.05
            stopping.end_with_launcher()
            os.write(said, b"x")
            time.sleep(1)
            os.write(said, b"y")
            os._exit(0)
        signal.pause()
    os.close(said)
    os.read(heard, 1)
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    with open(heard, "rb") as rest:  # until the process has ended
        return rest.read() == b"y"


def test_a_process_ends_with_its_launcher_but_not_with_a_shell():
    assert not lives_on({"TORCHELASTIC_RUN_ID": "none"})
    assert lives_on({})
