"""Annotations looked over once when training starts; what was found is kept until they change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.cleaning import Finding
from grouppose.archives import holder
from grouppose.errors import InputError
from grouppose.files import write_whole

logger = logging.getLogger("grouppose.train.data")
VERSION = 3  # of the checks
SHOWN = 5  # ids of a problem on the console


def report_problems(
    annotations: Path, images: Path, contents: Mapping, corrected: Sequence[Finding] = ()
) -> None:
    """Warns of everything that training or evaluation would trip over, with the ids.

    Args:
        annotations: the file.
        images: folder of its pictures.
        contents: of the file, from `read_labels`.
        corrected: what `read_labels` found.
    """
    cache = cache_file(annotations, images)
    problems = _read(cache)
    if problems is None:
        from datasets.check import examine  # which imports what builds data sets

        _, findings = examine(contents, images)
        problems = [{"text": f.text, "ids": f.ids} for f in findings if f.serious or f.warned]
        _write(cache, problems)
    for problem in [{"text": f.text, "ids": f.ids} for f in corrected] + problems:
        ids = problem["ids"]
        shown = ", ".join(map(str, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
        logger.warning(f"{annotations.name}: {len(ids)} {problem['text']}: {shown}")
    if any(len(problem["ids"]) > SHOWN for problem in problems) and cache.exists():
        logger.warning(f"all ids are listed in {cache}")


def cache_file(annotations: Path, images: Path) -> Path:
    """Another one as soon as the file, or the folder or zip of pictures, changes."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    file, folder = annotations.stat(), holder(images).stat()
    state = (VERSION, str(annotations.resolve()), file.st_size, file.st_mtime_ns)
    key = repr((*state, str(images.resolve()), folder.st_mtime_ns))
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    return base / "grouppose" / "annotations" / f"{name}.json"


def _read(path: Path) -> list[dict[str, Any]] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(path: Path, problems: list[dict[str, Any]]) -> None:
    with contextlib.suppress(OSError, InputError):  # no place to keep it: looked over next time
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(problems)
        write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
