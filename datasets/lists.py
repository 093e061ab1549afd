"""Lists of pictures: which of a set's are meant."""

from __future__ import annotations

import codecs
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from datasets.annotations import read_json
from grouppose.errors import InputError, MissingFileError

_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}")


def read_list(path: Path) -> set[str]:
    """The file names and ids that a list holds, as they stand there.

    Args:
        path: a text file with a file name, with its folders and with or without its ending, or an
            id per line; or a COCO-format file, whose images count.
    """
    try:
        if path.suffix.lower() == ".json":
            return _names_of(path)
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingFileError(
            f"no list of pictures {path}; complete it or set train_list"
        ) from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        lines = data.decode("utf-16" if wide else "utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no text ({error.reason}); expected a file name or id per line"
        ) from error
    return {line.strip() for line in lines} - {""}


def _names_of(path: Path) -> set[str]:
    try:
        content, _ = read_json(path)
    except MissingFileError as error:
        raise MissingFileError(
            f"no list of pictures {path}; complete it or set train_list"
        ) from error
    images = content.get("images") if isinstance(content, Mapping) else None
    if not isinstance(images, list) or not all(isinstance(entry, Mapping) for entry in images):
        raise InputError(f"{path} has no 'images'; expected a COCO-format file")
    return {str(entry.get("file_name") or entry.get("id", "")) for entry in images} - {""}


def listed_rows(
    names: Collection[str], file_names: Sequence[str], image_ids: Sequence[int]
) -> tuple[list[int], list[str]]:
    """The pictures that a list means, and the lines that mean none.

    A line is the name of a file with its folders; an id; or such a name without its ending, or
    with other folders before it than the annotations have.

    Args:
        names: of `read_list`.
        file_names, image_ids: of the set, in its order.

    Raises:
        InputError: a line could mean several pictures.
    """
    finder = _Finder(file_names, image_ids)
    rows, unknown = set(), []
    for name in sorted(names):
        found = finder.rows(name)
        if len(found) > 1:
            several = ", ".join(file_names[row] for row in found[:3])
            raise InputError(
                f"the list of pictures has {name!r}, which may be {several}; write file names with "
                "their folders and endings"
            )
        rows.update(found)
        unknown += [name] * (not found)
    return sorted(rows), unknown


class _Finder:
    """Rows of a set by whole name, by name without ending, by id, and by ends of the latter."""

    def __init__(self, file_names: Sequence[str], image_ids: Sequence[int]):
        self.whole, self.bare = defaultdict(list), defaultdict(list)
        self.tails: dict[str, list[int]] = defaultdict(list)
        self.ids = {str(int(number)): [row] for row, number in enumerate(image_ids)}
        for row, name in enumerate(file_names):
            parts = _parts(name)
            bare = [*parts[:-1], _bare(parts[-1])]
            self.whole["/".join(parts)].append(row)
            self.bare["/".join(bare)].append(row)
            for start in range(1, len(bare)):
                self.tails["/".join(bare[start:])].append(row)

    def rows(self, line: str) -> list[int]:
        parts = _parts(line)
        name = "/".join(parts)
        bare = "/".join([*parts[:-1], _bare(parts[-1])])
        plain = line.lstrip("0") or line
        places = [(self.whole, name), (self.ids, line), (self.bare, name), (self.bare, bare)]
        places += [(self.ids, plain), (self.tails, bare)]
        for start in range(1, len(parts)):
            tail = "/".join(parts[start:])
            places += [(self.whole, tail), (self.bare, "/".join([*parts[start:-1], _bare(tail)]))]
        return next((rows[key] for rows, key in places if key in rows), [])


def _parts(name: str) -> list[str]:
    """A file's folders and name, whatever strokes divide them."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return [part for part in parts if part != "/"] or [name]


def _bare(name: str) -> str:
    """A file's name, of whatever folders, without its ending."""
    name = name.rpartition("/")[2]
    end = PurePosixPath(name).suffix
    return name.removesuffix(end) if _ENDING.fullmatch(end) else name
