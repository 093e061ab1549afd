"""Where results go: refused before any work where that cannot be, or would cost somebody a file."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from grouppose.errors import InputError
from grouppose.files import identity
from grouppose.inference.reading import is_address, is_moving
from grouppose.version import __version__

PICTURES = (".jpg", ".jpeg", ".png", ".webp")  # endings that drawn pictures keep
JSON, CSV = "predictions.json", "predictions.csv"
_CONTRIBUTOR = "grouppose predict"
_CSV_BEGINS = (b"path,frame,time,person,track,", b"path,frame,person,")  # now and earlier


class Names:
    """Names for what is drawn: two sources never share one, nor does one take another's.

    Args:
        files: that will be read, in order; others get names as they come.
        video: ending of videos.
    """

    def __init__(self, files: Sequence[str] = (), video: str = ".mp4") -> None:
        self._video = video
        self._taken: set[str] = set()
        self._planned: dict[str, list[str]] = {}
        wanted = [_stem(path) + self._ending(path, is_moving(path)) for path in files]
        keeps = [name == os.path.basename(path) for path, name in zip(files, wanted, strict=True)]
        named: dict[int, str] = {}
        for i in sorted(range(len(files)), key=lambda i: not keeps[i]):
            if _folded(wanted[i]) not in self._taken:
                named[i] = self._free(*os.path.splitext(wanted[i]))
        for i, path in enumerate(files):
            name = named.get(i) or self._free(*os.path.splitext(wanted[i]))
            self._planned.setdefault(path, []).append(name)

    @property
    def planned(self) -> list[str]:
        return [name for names in self._planned.values() for name in names]

    def avoid(self, folder: Path) -> None:
        """Also takes no name of a folder's files for what was not planned, as pages of a TIFF."""
        self._taken |= {_folded(name) for name in os.listdir(folder)}

    def of(self, path: str, number: int, moving: bool) -> str:
        """The name for a picture of a source or, where it is moving, for the whole of it."""
        ending = self._ending(path, moving)
        planned = self._planned.get(path)
        if planned and (moving or number == 0) and planned[0].endswith(ending):
            return planned.pop(0)
        return self._free(_stem(path) + (f"_{number}" if number and not moving else ""), ending)

    def _ending(self, path: str, moving: bool) -> str:
        ending = os.path.splitext(urlsplit(path).path if is_address(path) else path)[1].lower()
        return self._video if moving else ending if ending in PICTURES else ".png"

    def _free(self, stem: str, ending: str) -> str:
        name, number = stem + ending, 1
        while _folded(name) in self._taken:
            number += 1
            name = f"{stem}_{number}{ending}"
        self._taken.add(_folded(name))
        return name


def _stem(path: str) -> str:
    if is_address(path):
        path = urlsplit(path).path.rstrip("/") or urlsplit(path).netloc.replace(":", "_")
    return Path(path).stem or "picture"


def _folded(name: str) -> str:
    """What a file system that cares for neither case nor accents' form takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def check_folder(folder: Path, names: Iterable[str], sources: Sequence[str], flag: str) -> None:
    """Refuses a folder for results; writes nothing.

    Args:
        folder: to write into; need not exist.
        names: of the files.
        sources: files that are read.
        flag: that gave the folder.
    """
    for place in (folder, *folder.parents):
        if os.path.exists(place):
            if not os.path.isdir(place):
                raise InputError(
                    f"{flag} {folder}: {place} is a file, expected a folder; choose another {flag}"
                )
            break
    read = {identity(path) for path in sources}
    holds_sources = holds_any(folder, sources)
    for name in names:
        path = folder / name
        if os.path.isdir(path):
            raise InputError(
                f"{flag} {folder}: {path} is a folder, where a file is to be written; choose "
                f"another {flag}"
            )
        if name in (JSON, CSV):
            _check_ours(path, flag)
        elif os.path.exists(path) and identity(path) in read:
            raise InputError(
                f"{flag} {folder}: {path} is one of the sources and would be written over; choose "
                f"another {flag}"
            )
        elif os.path.lexists(path) and holds_sources:
            raise InputError(
                f"{flag} {folder}: {path} lies among the sources and would be written over; choose "
                f"another {flag}"
            )


def holds_any(folder: Path, files: Sequence[str]) -> bool:
    """Whether a folder holds one of the files itself, not in a folder below."""
    return identity(folder) in {identity(Path(path).parent) for path in files} - {None}


def signed(content: dict[str, Any]) -> bytes:
    """The text of predictions.json; its info tells whether anybody has changed it since."""
    body = json.dumps(content)[1:].encode()
    info = {"contributor": _CONTRIBUTOR, "version": __version__, "sha256": _digest(body)}
    return b'{"info": ' + json.dumps(info).encode() + b", " + body


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _is_ours(content: bytes) -> bool:
    """Whether a file of results is as this program wrote it."""
    if content.startswith(_CSV_BEGINS):
        return True
    head, _, body = content.partition(b"}, ")
    return f'"{_CONTRIBUTOR}"'.encode() in head and f'"{_digest(body)}"'.encode() in head


def _check_ours(path: Path, flag: str) -> None:
    """Refuses to replace a file of results that this program has not written."""
    try:
        content = path.read_bytes() if os.path.lexists(path) else None
    except OSError:
        content = b""
    if content is None:
        return
    if not _is_ours(content):
        raise InputError(
            f"{path} was not written by this program, or was changed since, and would be replaced; "
            f"move it, or choose another {flag}"
        )
