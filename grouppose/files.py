"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
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


def flush_folder(folder: Path) -> None:
    """Makes new names in it last through a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
