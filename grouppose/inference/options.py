"""Which values `Predictor` takes, for it and for the commands, whose names for them differ."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from grouppose.errors import InputError

# name -> least, most; sides are whole pixels
RANGES: dict[str, tuple[float, float]] = {
    "threshold": (0, 1),
    "suppress": (0, 1),
    "max_people": (1, math.inf),
    "batch_size": (1, math.inf),
    "size": (1, 1e5),
    "longest": (1, 1e5),
    "scales": (1, 1e5),
    "max_megapixels": (1e-6, math.inf),
}
DTYPES = ("float32", "bfloat16", "float16")
_WHOLE = ("max_people", "batch_size", "size", "longest", "scales")


def check(name: str, value: Any, shown: str = "") -> None:
    """Refuses a value out of range, or of another type; None is no value.

    Args:
        name: of `RANGES`.
        value: a number.
        shown: the name that the message has instead.
    """
    least, most = RANGES[name]
    if value is None or (name == "threshold" and value == -math.inf):  # everybody is kept
        return
    kind = int if name in _WHOLE else float
    try:
        fits = kind(value) == value and least <= value <= most and math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits or isinstance(value, bool):
        limit = f"from {least:g} to {most:.0f}" if math.isfinite(most) else f"at least {least:g}"
        limit = "a number above 0" if name == "max_megapixels" else limit
        whole = ", a whole number" if name in _WHOLE else ""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        found = f"{value:g}" if number else repr(value)
        raise InputError(f"{shown or name} is {found}, must be {limit}{whole}")


def check_all(**values: Any) -> None:
    """`check` of several; those of a list are looked at one by one."""
    for name, value in values.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            check(name, one)


def argument(name: str) -> Callable[[str], Any]:
    """What argparse calls to read an option of that name."""

    def read(text: str) -> Any:
        try:
            value = (int if name in _WHOLE else float)(text)
        except ValueError:
            value = text
        try:
            check(name, value, "it")
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return value

    return read
