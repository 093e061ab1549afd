import os
import signal
import subprocess
import sys
import time

from util import stopping

WAIT = "import time\nfrom util import stopping\nwith stopping.remembered():\n"


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


def run(code: str, *signals: tuple[float, int]) -> tuple[int, float]:
    """Exit status of a process that gets signals, and the seconds after the last one."""
    code = f"{WAIT}    print('ready', flush=True)\n    {code}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    for delay, number in signals:
        time.sleep(delay)
        process.send_signal(number)
    began = time.monotonic()
    return process.wait(20), time.monotonic() - began


def test_a_second_press_ends_at_once():
    status, seconds = run("time.sleep(15)", (0.0, signal.SIGINT), (1.2, signal.SIGINT))
    assert status == 130
    assert seconds < 10


def test_what_takes_too_long_is_ended():
    code = "stopping.GRACE = 0.1\n    [time.sleep(0.1) for _ in range(100)]"
    status, _ = run(f"time.sleep(0)\n    {code}", (0.2, signal.SIGTERM))
    assert status == 143


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
