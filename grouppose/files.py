"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from grouppose.errors import InputError

FULL = 1 << 20  # a disk with fewer bytes left


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with another name, of the same ending, that becomes `path` if all went well.

    Raises:
        InputError: the disk is full, the folder is missing or may not be written to. Whatever lay
            under `path` stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        flush_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as the latter
        reason = getattr(error, "strerror", None) or error
        if path.parent.is_dir() and shutil.disk_usage(path.parent).free < FULL:
            reason = "the disk is full"
        raise InputError(
            f"could not write {path}: {reason}; free space or choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # its folder may be none
            temporary.unlink()


@contextlib.contextmanager
def folder_for_results(folder: Path, flag: str) -> Iterator[Path]:
    """Makes a folder before any work, and tries it; it goes again if nothing is in it at the end.

    Args:
        folder: may be there already.
        flag: that gave it, for the error.

    Raises:
        InputError: it cannot be made, not be written into, or its disk is full.
    """
    made = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        _try_folder(folder, flag)
        yield folder
    finally:
        for place in made:
            with contextlib.suppress(OSError, ValueError):  # not empty; no name
                place.rmdir()


def _try_folder(folder: Path, flag: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".try-") as file:
            file.write(bytes(1 << 12))
            file.flush()
            os.fsync(file.fileno())
        if shutil.disk_usage(folder).free < FULL:
            raise OSError(errno.ENOSPC, "the disk is full")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot make the folder {folder} or write into it ({reason}); change {flag}"
        ) from error


def flush_folder(folder: Path) -> None:
    """Makes new names in it last through a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
