"""What asks a process to end: SIGTERM and Ctrl-C while training, which are remembered until the
step's end, where a checkpoint is due; and the death of its launcher.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from grouppose.errors import UserError

ONE_PRESS = 1.0  # seconds in which further signals are the same one: torchrun repeats a Ctrl-C
LOOK_EVERY = 0.5  # seconds between looks for the launcher
GRACE = 28.0  # seconds after which the process ends whatever it does; launchers kill after 30
_received: list[tuple[int, float]] = []  # signals and their moments
_timers: list[threading.Timer] = []


class Stopped(UserError):
    """Raised once everything is saved."""

    kind = ""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number


def requested() -> int:
    """The signal that asked this process to stop; 0: none."""
    return _received[0][0] if _received else 0


@contextmanager
def remembered() -> Iterator[None]:
    """Between entering and leaving, the first signal only asks to stop; a second ends at once."""
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {n: signal.signal(n, _remember) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _received.clear()
        while _timers:
            _timers.pop().cancel()


def _remember(number: int, _: FrameType | None) -> None:
    now = time.monotonic()
    if not _received:
        _timers.append(threading.Timer(GRACE, os._exit, [128 + number]))
        _timers[0].daemon = True
        _timers[0].start()
    elif number == signal.SIGINT and now - _received[0][1] > ONE_PRESS:
        os._exit(128 + number)
    _received.append((number, now))


def end_with_launcher() -> None:
    """Ends this process within a second of its launcher's death, if it has one.

    torchrun ends its processes when it ends, but cannot when it is killed. A process that no
    launcher started stays, whoever its parent was: a shell that ends, with nohup.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=[os.getppid()], daemon=True).start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(LOOK_EVERY)
    if int(os.environ.get("RANK", 0)) == 0:
        sys.stderr.write(
            f"error: the launcher, process {launcher}, is gone; the same command with "
            "--auto_resume goes on from the last checkpoint\n"
        )
        sys.stderr.flush()
    os._exit(128 + signal.SIGTERM)


def ignored_by_worker(_: int) -> None:
    """Of a data loader: its workers go on until the training process, their parent, ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
