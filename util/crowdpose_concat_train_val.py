"""Joins CrowdPose's training and validation annotations into the set that is trained on.

    python -m util.crowdpose_concat_train_val DIR

reads DIR/json/crowdpose_train.json and crowdpose_val.json, writes DIR/json/crowdpose_trainval.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.annotations import read_annotations
from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError
from grouppose.files import write_whole

PARTS = ("crowdpose_train.json", "crowdpose_val.json")
JOINED = "crowdpose_trainval.json"


def concat(folder: Path) -> Path:
    """Writes folder/json/crowdpose_trainval.json, whole or not at all; ids stay what they are."""
    train, val = (read_annotations(folder / "json" / name) for name in PARTS)
    joined = {"categories": train["categories"]}
    if val["categories"] != train["categories"]:
        raise InputError(
            f"{' and '.join(PARTS)} have different categories; expected the same: "
            "take both files from one release"
        )
    for key in ("images", "annotations"):
        joined[key] = train[key] + val[key]
        _require_unique([entry["id"] for entry in joined[key]], key)
    path = folder / "json" / JOINED
    write_whole(path, lambda partial: partial.write_text(json.dumps(joined), encoding="utf-8"))
    return path


def _require_unique(ids: list[int], key: str) -> None:
    seen = set()
    for number in ids:
        if number in seen:
            raise InputError(
                f"'{key}' of {' and '.join(PARTS)} have id {number} twice; "
                "expected two files without a common entry"
            )
        seen.add(number)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m util.crowdpose_concat_train_val", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="holds json/")
    parser.add_argument("--data_dir", type=Path, metavar="DIR", help="the same, by name")
    given = parser.parse_args(arguments)
    folder = given.folder or given.data_dir
    if folder is None:
        parser.error("give the folder of CrowdPose: DIR")
    return exit_status(lambda: _concat(folder))


def _concat(folder: Path) -> None:
    sys.stdout.write(f"{concat(folder)} written\n")


if __name__ == "__main__":
    sys.exit(main())
