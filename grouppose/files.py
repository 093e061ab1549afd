"""Files that appear under their name only when they are whole, and places looked at before."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from grouppose.errors import InputError

FULL = 1 << 20  # a disk with fewer bytes left


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with another name, of the same ending, that becomes `path` if all went well.

    Raises:
        InputError: the disk is full, the folder is missing or may not be written to. Whatever lay
            under `path` stays.
    """
    if not path.name:
        raise InputError(f"{str(path)!r} is no name of a file; add one")
    temporary = partial_name(path)
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


def partial_name(path: Path, kind: str = "part") -> Path:
    """A name beside `path`, with its ending, that no other process takes; it may be long itself."""
    start = path.name.encode(errors="ignore")[:150].decode(errors="ignore")
    return path.with_name(f".{start}.{os.getpid()}.{kind}{path.suffix}")


def being_written(path: Path) -> bool:
    """Whether the process that a name of `partial_name` belongs to is alive on this machine."""
    number = re.search(r"\.(\d+)\.part[^/]*$", path.name)
    if number is None or int(number[1]) == os.getpid():
        return False
    try:
        os.kill(int(number[1]), 0)
    except PermissionError:  # somebody else's
        return True
    except (OSError, OverflowError):
        return False
    return True


def remove_begun(folder: Path, names: Iterable[str]) -> None:
    """Removes what processes that were killed had begun of files of these names."""
    wanted = {partial_name(folder / name).name.rpartition(f".{os.getpid()}.")[0] for name in names}
    for path in folder.glob(".*.part*"):
        begun = re.fullmatch(r"(.+)\.\d+\.part(-drawing)?(\.[^.]*)?", path.name)
        if begun and begun[1] in wanted and not being_written(path):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_for_results(folder: Path, flag: str) -> Iterator[Path]:
    """Makes a folder before any work, and tries it; it goes again if nothing is in it at the end.

    Args:
        folder: may be there already.
        flag: that gave it, for the error.

    Raises:
        InputError: it cannot be made, not be written into, or its disk is full; it goes through
            `x/..` without a folder x.
    """
    check_way(folder, flag)
    made = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        _try_folder(folder, flag)
        yield folder
    finally:
        for place in made:
            with contextlib.suppress(OSError, ValueError):  # not empty; no name
                place.rmdir()


def check_way(folder: Path, flag: str) -> None:
    """Refuses `x/..` without a folder x: making it would make another place of the whole."""
    for i, part in enumerate(folder.parts):
        before = Path(*folder.parts[:i])
        if part == ".." and not os.path.isdir(before):
            raise InputError(f"{flag} {folder}: there is no folder {before}; change {flag}")


def _try_folder(folder: Path, flag: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _try_writing(folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot make the folder {folder} or write into it ({reason}); change {flag}"
        ) from error


def _try_writing(folder: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".try-") as file:
        file.write(bytes(1 << 12))
        file.flush()
        os.fsync(file.fileno())
    if shutil.disk_usage(folder).free < FULL:
        raise OSError(errno.ENOSPC, "the disk is full")


def flush_folder(folder: Path) -> None:
    """Makes new names in it last through a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def identity(path: str | Path) -> tuple[int, int] | None:
    """The same for all names of a file or folder, links among them; None: there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def check_file(path: Path, sources: Sequence[str | Path], flag: str) -> None:
    """Refuses a file to write, before the work whose result it is.

    Args:
        path: of the file.
        sources: that are read and must not be written over.
        flag: that gave the path.
    """
    if os.path.isdir(path):
        raise InputError(f"{flag} {path} is a folder, expected a file's name; add one")
    if not os.path.isdir(path.parent):
        what = "is no folder" if os.path.exists(path.parent) else "does not exist"
        raise InputError(f"{flag} {path}: {path.parent} {what}; make it, or choose another place")
    if identity(path) in {identity(source) for source in sources} - {None}:
        raise InputError(
            f"{flag} {path} is what is read, and would be written over; choose another"
        )
    try:
        _try_writing(path.parent)
    except OSError as error:
        raise InputError(
            f"{flag} {path}: nothing can be written there ({error.strerror}); choose another place"
        ) from error
