"""A folder belongs to one run of training at a time: two would remove each other's files."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from grouppose.errors import InputError
from util.log import logger

NAME = "run.lock"
PATIENCE = 2.0  # seconds; a run that is started again may meet the last moments of the one before
_HELD = (errno.EACCES, errno.EAGAIN)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Between entering and leaving, no other process may train in this folder.

    The system holds the lock for the process, and for none that it starts, so it ends with it
    however that ends. The file says whose it is; one that nobody holds is taken over.

    Raises:
        InputError: another process has it.
    """
    path = folder / NAME
    handle = _acquire(path)
    try:
        yield
    finally:
        if handle is not None:
            path.unlink(missing_ok=True)
            os.close(handle)


def _acquire(path: Path) -> int | None:
    """The open file, locked; None where files cannot be locked."""
    patient_until = time.monotonic() + PATIENCE
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(handle)
            os.close(handle)
            if error.errno not in _HELD:
                logger.warning(
                    f"{path.parent}: files cannot be locked there ({error.strerror}); see to it "
                    "that no other run writes into it"
                )
                return None
            if time.monotonic() > patient_until:
                raise InputError(
                    f"another run is training in {path.parent}: {holder or 'it does not say who'}; "
                    "give another --output_dir, or end that run"
                ) from None
            time.sleep(0.1)
            continue
        if _is_at(handle, path):
            _take(handle, path)
            return handle
        os.close(handle)  # the one before removed it at its end


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _take(handle: int, path: Path) -> None:
    """Writes whose the lock is now."""
    before = _holder(handle)
    if before:
        logger.info(f"{path.parent}: taken over from {before}, which is gone")
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    content = {"host": socket.gethostname(), "process": os.getpid(), "started": now}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(content).encode(), 0)


def _holder(handle: int) -> str:
    """What the file says; nothing if that is nothing."""
    try:
        content = json.loads(os.pread(handle, 1 << 12, 0))
        return f"process {content['process']} on {content['host']}, since {content['started']}"
    except (ValueError, TypeError, KeyError):
        return ""
