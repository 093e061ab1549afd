"""Files that may lie in a zip where their folder would be.

The first folder of a path that is not there may be a zip of its name: images/train2017/1.jpg is
read from images/train2017.zip, as 1.jpg or train2017/1.jpg, or from images.zip, as train2017/1.jpg
or images/train2017/1.jpg. A path may also lead through the zip itself: pictures.zip/1.jpg.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import struct
import weakref
import zipfile
import zlib
from pathlib import Path

import numpy as np

from grouppose.errors import InputError, MissingFileError

PIECE = 1 << 15  # bytes that are read at once where only a file's start may be asked for
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST = 1 << 48  # bytes, which no zip has
_UTF8 = 0x800  # flag of an entry whose name is UTF-8
_HEAD = struct.Struct("<4s22xHH")  # before each file: signature, lengths of name and extra field


def is_file(path: str | Path) -> bool:
    """Whether a file is there, in its folder or in a zip.

    Raises:
        InputError: the zip cannot be read.
    """
    if os.path.isfile(path):
        return True
    place = _place(path)
    return place is not None and place[0].find(place[1]) is not None


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there, or a zip that may hold it.

    Raises:
        InputError: the zip cannot be read.
    """
    return os.path.isdir(path) or _place(_any_in(path)) is not None


def holder(folder: Path) -> Path:
    """The zip that is read in place of a folder; the folder itself if there is none."""
    place = None if folder.is_dir() else _place(_any_in(folder))
    return folder if place is None else place[0].path


def described(path: str | Path) -> str:
    """A path for people: of a file in a zip, its name there and the zip."""
    try:
        place = None if os.path.exists(path) else _place(path)
    except InputError:  # which names the zip
        place = None
    if place is None:
        return str(path)
    archive, names = place
    row = archive.find(names)
    return f"{names[0] if row is None else names[row[0]]} in {archive.path}"


def open_member(path: str | Path) -> _Member | None:
    """An open file of a zip, read as far as it is asked for; None: `path` leads to no zip.

    Raises:
        InputError: the zip is damaged, also later while the file is read.
        MissingFileError: the zip has no such file.
    """
    place = None if os.path.exists(path) else _place(path)
    if place is None:
        return None
    archive, names = place
    found = archive.find(names)
    if found is None:
        raise MissingFileError(
            f"no {names[0]} in {archive.path}, which holds {archive}; complete it, or pack the "
            "folder of the pictures itself"
        )
    return _Member(archive, found[1])


def read_member(path: str | Path) -> io.BytesIO | None:
    """The same, read to its end and compared with its check sum."""
    member = open_member(path)
    return None if member is None else io.BytesIO(member.readall())


class Archive:
    """Where the files of a zip are.

    Kept are arrays, which do not grow in forked processes, and a descriptor that is read at given
    places, so that processes and threads may share it.
    """

    def __init__(self, path: str):
        self.path = Path(path)
        entries = _entries(path)
        first = next((e.filename for e in entries if not e.filename.startswith("__MACOSX")), "")
        self._summary = f"{len(entries)} files" + f" such as {first}" * bool(first)
        keys = np.array([_key(_name(entry)) for entry in entries], dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        rows = [(e.header_offset, e.compress_size, e.file_size, e.CRC) for e in entries]
        self._rows = np.array(rows, dtype=np.int64).reshape(-1, 4)[order]
        deflated = [entry.compress_type == zipfile.ZIP_DEFLATED for entry in entries]
        self._deflated = np.array(deflated, dtype=bool)[order]
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._bytes = os.fstat(self._descriptor).st_size
        weakref.finalize(self, os.close, self._descriptor)

    def __str__(self) -> str:
        return self._summary

    def find(self, names: tuple[str, ...]) -> tuple[int, int] | None:
        """Which of the names is there first, and its row; of several files of a name the last."""
        for number, name in enumerate(names):
            key = np.uint64(_key(name))
            row = int(np.searchsorted(self._keys, key, side="right")) - 1
            if row >= 0 and self._keys[row] == key:
                return number, row
        return None

    def entry(self, row: int) -> tuple[int, int, int, int, bool]:
        """Start of a file's header, its bytes packed and unpacked, check sum, whether deflated."""
        start, packed, size, checksum = self._rows[row].tolist()
        return start, packed, size, checksum, bool(self._deflated[row])

    def bytes_at(self, place: int, count: int) -> bytes:
        """Of the zip; fewer at its end."""
        return os.pread(self._descriptor, max(0, min(count, self._bytes - place)), place)


class _Member(io.RawIOBase):
    """A file of a zip, unpacked from its start as far as it is asked for."""

    def __init__(self, archive: Archive, row: int):
        self._archive = archive
        start, packed, self._size, self._checksum, deflated = archive.entry(row)
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if deflated else None
        self._data: bytes | bytearray = bytearray()
        self._position = 0
        try:
            signature, name, extra = _HEAD.unpack(archive.bytes_at(start, _HEAD.size))
        except (OSError, struct.error) as error:
            raise _damaged("its place is outside the zip") from error
        if signature != b"PK\x03\x04":
            raise _damaged("something else is in its place")
        self._next = start + _HEAD.size + name + extra
        self._end = self._next + packed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readall(self) -> bytes:
        if not self._data:  # in one piece, without copies
            packed = self._archive.bytes_at(self._next, self._end - self._next)
            self._next += len(packed)
            self._data = self._unpacked(packed)
            self._check()
        self._unpack(self._size)
        rest = bytes(memoryview(self._data)[self._position :]) if self._position else self._data
        self._position += len(rest)
        return rest

    def readinto(self, buffer: memoryview) -> int:
        end = min(self._position + len(buffer), self._size)
        self._unpack(end)
        part = self._data[self._position : end]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _unpack(self, end: int) -> None:
        """So that `end` bytes are there."""
        while len(self._data) < end:
            packed = self._archive.bytes_at(self._next, min(PIECE, self._end - self._next))
            if not packed:
                raise _damaged("it ends early")
            self._next += len(packed)
            self._data += self._unpacked(packed)
            self._check()

    def _check(self) -> None:
        if len(self._data) > self._size:
            raise _damaged("it is longer than the zip says")
        if len(self._data) == self._size and zlib.crc32(self._data) != self._checksum:
            raise _damaged("its check sum (CRC) is another one")

    def _unpacked(self, packed: bytes) -> bytes:
        if self._inflate is None:
            return packed
        try:  # one byte more than there should be tells enough
            return self._inflate.decompress(packed, self._size - len(self._data) + 1)
        except zlib.error as error:
            raise _damaged(str(error)) from error


def _damaged(reason: str) -> InputError:
    return InputError(f"is damaged ({reason}); download or pack the zip again")


def _any_in(folder: str | Path) -> str:
    return os.path.join(folder, "*")  # the name does not matter


def _place(path: str | Path) -> tuple[Archive, tuple[str, ...]] | None:
    """The zip that a path leads into, and the names that the file may have there.

    None where all folders of the path are there, or no zip in place of the first that is not.
    """
    parent, below = os.path.split(os.path.normpath(path))
    while not os.path.isdir(parent or os.curdir):
        outer, name = os.path.split(parent)
        if not name:
            return None
        if os.path.isdir(outer or os.curdir):
            whole = name.lower().endswith(".zip") and os.path.isfile(parent)
            file = parent if whole else f"{parent}.zip"
            if not os.path.isfile(file):
                return None
            top = name[: -len(".zip")] if whole else name
            return _archive(file), (below, f"{top}/{below}")
        parent, below = outer, f"{name}/{below}"
    return None


def _archive(path: str) -> Archive:
    """Once a process, and again if the file changes."""
    state = os.stat(path)
    return _opened(path, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _opened(path: str, *state: int) -> Archive:
    return Archive(path)


def _entries(path: str) -> list[zipfile.ZipInfo]:
    """The files of a zip; refuses one whose files could not be read."""
    try:
        with zipfile.ZipFile(path) as file:
            entries = [entry for entry in file.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, struct.error) as error:
        raise InputError(
            f"{path} cannot be read as a zip ({error}); download or pack it again"
        ) from error
    except (NotImplementedError, OverflowError) as error:
        raise InputError(f"{path} cannot be read as a zip ({error}); pack it plainly") from error
    for entry in entries:
        if max(entry.header_offset, entry.compress_size, entry.file_size) > _MOST:
            raise InputError(f"{path} is damaged at {entry.filename}; download or pack it again")
        if entry.flag_bits & 1:
            raise InputError(
                f"{path}: {entry.filename} is encrypted; unpack the zip, or pack it without a "
                "password"
            )
        if entry.compress_type not in _METHODS:
            raise InputError(
                f"{path}: {entry.filename} is compressed by method {entry.compress_type}, expected "
                "stored or deflated files; unpack the zip, or pack it with `zip`"
            )
    return entries


def _name(entry: zipfile.ZipInfo) -> str:
    """As other systems write it, too; UTF-8 often goes without its flag."""
    name = entry.filename
    if not entry.flag_bits & _UTF8:
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            pass
    return os.path.normpath(name.replace("\\", "/"))


def _key(name: str) -> int:
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
