"""How commands begin and end: a wrong command line, or anything that a person can mend, is told in
one line; the exit status is then not 0.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from grouppose.errors import UserError

# what the place of a file can do to any program: full, read-only, somebody else's, no folder, ...
_OUTSIDE = {
    getattr(errno, name)
    for name in (
        "EACCES EDQUOT EEXIST EFBIG EIO EISDIR ELOOP EMFILE ENAMETOOLONG ENODEV ENOENT ENOSPC "
        "ENOTDIR ENOTEMPTY ENXIO EPERM EROFS ESTALE ETXTBSY"
    ).split()
    if hasattr(errno, name)
}


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {one_line(message)}; {self.prog} --help lists what there is\n")


def exit_status(command: Callable[[], int | None]) -> int:
    """Runs a command; returns its exit status.

    Args:
        command: prints what it has to say and returns its status; None: 0. Of what it raises,
            errors that a person can mend are told in one line; our own bugs keep their trace.
    """
    try:
        return command() or 0
    except UserError as error:
        return _ended(f"{error.kind}{one_line(error)}" if str(error) else "", error.status)
    except KeyboardInterrupt:
        return _ended("stopped", 128 + signal.SIGINT)
    except BrokenPipeError:
        if not _output_is_closed():
            raise
        return 128 + signal.SIGPIPE  # as any program of which `head` has seen enough
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        place = f"{error.filename}: " if error.filename is not None else ""
        return _ended(f"error: {place}{error.strerror}; check the path, rights and free space", 1)
    finally:
        _output_is_closed()


def one_line(message: object) -> str:
    """A message without its line breaks."""
    return " ".join(str(message).split("\n")).strip()


def _ended(line: str, status: int) -> int:
    try:
        sys.stderr.write(f"{line}\n" if line else "")
    except OSError:  # nobody reads that either
        pass
    return status


def _output_is_closed() -> bool:
    """Whether nobody reads what is printed; it goes nowhere then, also at the interpreter's end."""
    try:
        sys.stdout.flush()
        poll = select.poll()
        poll.register(sys.stdout, 0)
        closed = bool(poll.poll(0))
    except io.UnsupportedOperation:  # no file: a test's, a notebook's
        return False
    except OSError:
        closed = True
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed
