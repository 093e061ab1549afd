"""Finds and runs the launcher, main.py, for `grouppose train` and `grouppose eval`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from grouppose.errors import InputError

_PACKAGE = Path(__file__).parents[1]
# A wheel has main.py and its folders inside the package, as `datasets` and `util` are names of
# other packages too; in a checkout they lie beside it.
_PLACES = (_PACKAGE / "launcher", _PACKAGE.parent)
_NEEDED = ("addict", "yapf", "pycocotools", "faster_coco_eval", "termcolor", "matplotlib")


def folder() -> Path:
    """Where main.py lies, with config, datasets and util beside it.

    Raises:
        InputError: this installation has none.
    """
    for place in _PLACES:
        if (place / "main.py").is_file() and (place / "config" / "defaults.py").is_file():
            return place
    raise InputError("this installation lacks main.py; install grouppose again, from its wheel")


def launch(command: str, arguments: Sequence[str]) -> int:
    """Runs main.py in this process; returns its exit code.

    Args:
        command: "train" or "eval", which is --eval.
        arguments: of main.py.
    """
    place = folder()
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"grouppose {command} needs {', '.join(missing)}; pip install 'grouppose[train]'"
        )
    if sys.path[:1] != [str(place)]:
        sys.path.insert(0, str(place))  # before another package named datasets, also in workers
    launcher = importlib.import_module("main")
    return launcher.main([*(["--eval"] if command == "eval" else []), *arguments])
