"""TensorBoard and Weights & Biases, beside log.txt."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from grouppose.errors import InputError


class Trackers:
    """Sends numbers and pictures to what is there; to nothing if neither is.

    Args:
        folder: of the run; TensorBoard's files go to its tensorboard/.
        settings: of the run; `tensorboard` says whether to write those where it is installed.
        use_wandb: as --wandb. Without WANDB_MODE=online it writes files into wandb/ only.
        first_step: what TensorBoard has from there on, of a run that was killed, is left out.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], use_wandb: bool, first_step: int
    ) -> None:
        self._board = self._wandb = None
        if settings["tensorboard"] and importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        if use_wandb:
            self._wandb = _start_wandb(folder, settings)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """step: of training, counted from its start."""
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log({**values, "step": step})

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """image: (H, W, 3) uint8 RGB."""
        if self._board is not None:
            self._board.add_image(name, image, step, dataformats="HWC")
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Image(image), "step": step})

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _start_wandb(folder: Path, settings: Mapping[str, Any]) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise InputError(
            "--wandb: the package is not installed; `pip install wandb`, or leave the flag out"
        ) from error
    return wandb.init(
        project="grouppose",
        name=folder.name,
        id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
        resume="allow",
        dir=str(folder),
        config=dict(settings),
        notes=settings["note"] or None,
        mode=os.environ.get("WANDB_MODE", "offline"),
    )
