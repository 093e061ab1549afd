"""Errors that a person can mend. Their message says what was found, what was expected and what to
change; commands print it alone, without a trace. Each is also the built-in error one would expect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_NO_MEMORY = ("can't allocate memory", "not enough memory")  # on CPU a RuntimeError


class UserError(Exception):
    """What every command ends with in one line (`grouppose.commands.exit_status`).

    Attributes:
        kind: before the message.
        status: of the process that ends.
    """

    kind = "error: "
    status = 1

    def __str__(self) -> str:  # KeyError would print its repr
        return str(self.args[0]) if self.args else ""


class InputError(UserError, ValueError):
    """A value, a file's content or a combination that does not fit."""


class SettingNameError(UserError, KeyError):
    """A setting that does not exist."""


class SettingTypeError(UserError, TypeError):
    """A setting of another type, or an argument nobody knows."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that is not there."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out, of the processor's or of a GPU."""
    import torch  # which has raised it; this file alone needs nothing

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        text in str(error) for text in _NO_MEMORY
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: a suggestion, or what there is."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(names)}"
