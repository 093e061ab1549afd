"""Steps whose numbers are not finite and pictures that cannot be read: kept, counted, limited."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from grouppose.archives import described
from grouppose.checkpoints import write_checkpoint
from grouppose.errors import InputError, UserError
from util import distributed
from util.engine import Step
from util.log import logger, write_text
from util.saving import snapshot
from util.state import TrainingState

KEPT = 20  # bad batches of a rank
SHOWN = 3  # pictures named in an error
UNREADABLE = "unreadable.txt"


class NonFiniteLossError(UserError, ArithmeticError):
    """Training diverged, and going back does not help."""


class DivergedError(Exception):
    """Training goes back to a checkpoint; the same on all ranks."""


def note_bad_step(state: TrainingState, step: Step, folder: Path, limit: int) -> None:
    """Keeps the batch of a step that was left out.

    Raises:
        DivergedError: `limit` steps in a row were left out.
    """
    state.skipped += 1
    state.bad_in_a_row += 1
    wrong = {name: value for name, value in step.values.items() if not math.isfinite(value)}
    found = ", ".join(f"{name} = {value}" for name, value in wrong.items())
    found = found or f"gradient norm = {step.gradient_norm}"
    file = _keep_batch(state, step, folder / "bad_steps")
    logger.warning(
        f"epoch {state.epoch}, step {state.step - 1}: {found}; the step is left out "
        f"({state.bad_in_a_row} in a row)" + (f", its batch is in {file}" if file else "")
    )
    if state.bad_in_a_row >= limit:
        raise DivergedError(f"{limit} steps in a row, the last with {found}")


def _keep_batch(state: TrainingState, step: Step, folder: Path) -> Path | None:
    """Writes what torch.load(file, weights_only=True) reads: ids, pictures, targets, losses."""
    name = f"epoch{state.epoch:04}_step{state.step - 1:06}_rank{distributed.rank()}.pth"
    folder.mkdir(exist_ok=True)
    if len(list(folder.glob(f"*_rank{distributed.rank()}.pth"))) >= KEPT:
        return None
    content = {
        "image_ids": [int(t["image_id"]) for _, _, targets in step.parts for t in targets],
        "losses": step.values,
        "gradient_norm": step.gradient_norm,
        "batches": [
            {"images": images, "padding": padding, "targets": targets}
            for images, padding, targets in step.parts
        ],
    }
    write_checkpoint(folder / name, snapshot(content))
    return folder / name


def require_finite(state: TrainingState) -> None:
    """Before weights are kept: never those of a broken model."""
    if not state.is_finite():
        raise DivergedError("a weight is no number")


def require_pictures(dataset: Any, limit: int) -> None:
    """Before training or evaluation: the pictures to evaluate on are there and can be opened.

    Raises:
        InputError: more than `limit` are not or cannot, or all.
    """
    missing = dataset.missing()
    if len(missing) > limit or len(missing) == len(dataset):
        names = [described(path) for _, path in missing[:SHOWN]]
        raise InputError(
            f"{len(missing)} of {len(dataset)} pictures to evaluate on have no file, "
            f"max_unreadable is {limit}: {', '.join(names)}"
            f"{', ...' if len(missing) > SHOWN else ''}; complete the folder or set --coco_path"
        )
    unreadable = dict([*((number, f"no {path}") for number, path in missing), *dataset.unopened()])
    _require_few(unreadable, len(dataset), limit)


def _require_few(unreadable: Mapping[int, str], total: int, limit: int) -> None:
    """Refuses more than `limit` pictures to evaluate on that cannot be read, or all."""
    count = len(unreadable)
    if count > limit or count == total:
        raise InputError(
            f"{count} of {total} pictures to evaluate on cannot be read, "
            f"max_unreadable is {limit}: ids {_some(unreadable)}; the first: "
            f"{next(iter(unreadable.values()), 'there are none')}"
        )


def _some(ids: Iterable[int]) -> str:
    """The first of them, for a message."""
    ids = list(ids)
    return f"{', '.join(map(str, ids[:SHOWN]))}{', ...' if len(ids) > SHOWN else ''}"


def note_unseen(unreadable: Mapping[int, str], total: int, folder: Path | None, limit: int) -> None:
    """Lists pictures that evaluation could not read, in unreadable.txt; they count as empty.

    Args:
        unreadable: image id -> why; the same on all ranks.
        total: pictures of the set.
        folder: of the run; None: only the console tells.
        limit: more are an error.

    Raises:
        InputError: on all ranks; there are more than `limit`, or nothing else.
    """
    if not unreadable:
        return
    if folder is not None and distributed.is_main():
        file = folder / UNREADABLE
        listed = file.read_text(encoding="utf-8") if file.exists() else ""
        lines = [f"{image_id}\t{text}\n" for image_id, text in unreadable.items()]
        write_text(file, listed + "".join(line for line in lines if line not in listed))
    _require_few(unreadable, total, limit)
    logger.warning(
        f"{len(unreadable)} pictures to evaluate on cannot be read and count as pictures on which "
        f"nobody is found: ids {_some(unreadable)}; the first: {next(iter(unreadable.values()))}"
    )


def note_unreadable(state: TrainingState, step: Step, folder: Path, limit: int) -> None:
    """Lists pictures that have others in their place, in unreadable.txt.

    Raises:
        InputError: on all ranks; there are more than `limit`.
    """
    own = [row for _, _, targets in step.parts for t in targets for row in t.get("unreadable", ())]
    new = {
        image_id: text
        for rows in distributed.from_all(own)
        for image_id, text in rows
        if image_id not in state.unreadable
    }
    if not new:
        return
    state.unreadable = [*state.unreadable, *new]
    count = len(state.unreadable)
    if distributed.is_main():
        with (folder / UNREADABLE).open("a", encoding="utf-8") as file:
            file.writelines(f"{image_id}\t{text}\n" for image_id, text in new.items())
    for image_id, text in new.items():
        logger.warning(f"picture {image_id}: {text}; the next one is in its place ({count} so far)")
    if count > limit:
        raise InputError(
            f"{count} training pictures cannot be read, max_unreadable is {limit}: ids "
            f"{_some(state.unreadable)}; "
            f"the last: {list(new.values())[-1]}"
        )
