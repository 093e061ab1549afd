"""Picture files as they are, beside what the annotations say of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from datasets.cleaning import Finding
from grouppose.archives import holder, is_file
from grouppose.errors import UserError
from grouppose.exif import exif_case, orientation_of
from grouppose.pictures import naming, open_picture, read_picture

# Kind: text, whether it is serious, whether it is to be known before training all the same
KINDS = {
    "missing": ("pictures have no file in {folder}; complete it or correct file_name", True, False),
    "unreadable": ("pictures cannot be read; replace the files or leave them out", True, False),
    "neither": (
        "pictures are of another size than 'width' and 'height' say; use the original pictures or "
        "correct the annotations",
        True,
        False,
    ),
    "either": (
        "pictures have an EXIF orientation and the same size with and without it; their labels are "
        "taken to be in the turned picture, set exif=ignore if they are in the stored one",
        False,
        False,
    ),
    "stored": (
        "pictures have an EXIF orientation, but 'width' and 'height' are of the stored picture; "
        "their labels are taken to be in the stored one",
        False,
        True,
    ),
}


def file_findings(contents: Mapping, folder: Path, decode: bool = False) -> list[Finding]:
    """Looks at the header of every picture, and at all of it if asked to.

    Args:
        contents: from `read_labels`.
        folder: of the pictures.
        decode: read every picture to its end.
    """
    found: dict[str, list] = {kind: [] for kind in KINDS}
    entries = contents["images"]
    bar = tqdm(total=len(entries), desc="pictures", disable=not sys.stderr.isatty(), leave=False)
    with ThreadPoolExecutor(os.cpu_count() if decode else 1) as pool:
        kinds = pool.map(lambda entry: _kind(folder, entry, decode), entries)
        for entry, kind in zip(entries, kinds, strict=True):
            found.get(kind, []).append(entry["id"])
            bar.update()
    bar.close()
    return [
        Finding(text.format(folder=holder(folder)), found[kind], serious, warned)
        for kind, (text, serious, warned) in KINDS.items()
    ]


def _kind(folder: Path, entry: Mapping, decode: bool) -> str:
    """Of what is wrong with a picture's file; "" or another word for nothing."""
    path = folder / str(entry.get("file_name"))
    if not is_file(path):
        return "missing"
    stated = (entry.get("height"), entry.get("width"))
    known = all(type(side) is int and side > 0 for side in stated)
    try:
        with naming(path), open_picture(path) as picture:
            orientation, stored = orientation_of(picture)
        if decode:
            read_picture(path)
    except UserError:
        return "unreadable"
    return exif_case(orientation, stored, stated if known else None)
