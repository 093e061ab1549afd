"""A run and what it stands on: built from a command line, gone on from a checkpoint."""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from addict import Dict
from torch import nn
from torch.utils.data import DataLoader

from datasets.keypoints import KeypointDataset
from grouppose.checkpoints import read_checkpoint
from grouppose.files import folder_for_results
from util import distributed, log, norms, sharding
from util.ema import ModelEma
from util.loading import effective_batch
from util.lock import locked
from util.log import logger
from util.optim import Schedule, build_optimizer, count_parameters
from util.saving import NEWEST, CheckpointWriter, find_checkpoint, remove_partial
from util.state import TrainingState, fine_tune
from util.trackers import Trackers


@dataclass
class Run:
    """What a command line stands for, built.

    Attributes:
        precision: of autocast; None: float32.
        decode: of the model's family, see `grouppose.build_decode`.
        train_batches: None when evaluating only.
        val_batches: of all views of the evaluation pictures (`datasets.viewed`).
    """

    args: argparse.Namespace
    settings: Dict
    device: torch.device
    precision: torch.dtype | None
    model: nn.Module
    criterion: nn.Module
    decode: Any
    train_batches: DataLoader | None
    val_batches: DataLoader

    @property
    def val_set(self) -> KeypointDataset:
        """The evaluation pictures and their people."""
        return self.val_batches.dataset.pictures

    @property
    def folder(self) -> Path | None:
        """--output_dir; None: none is given."""
        return Path(self.args.output_dir) if self.args.output_dir else None

    @property
    def sharded(self) -> bool:
        """Whether each rank has a part of the weights."""
        return self.settings.sharding == "full" and distributed.world_size() > 1


@dataclass
class Session:
    """A run on its way.

    Attributes:
        model: what trains: `run.model`, or what shares its gradients or weights among ranks.
        writer, trackers: None except on rank 0.
        checkpoint: where to go back to if training diverges; None: nowhere yet.
        saved: the step of that checkpoint.
        clock: when the run would have begun if it had never been interrupted, in seconds.
    """

    run: Run
    state: TrainingState
    model: nn.Module
    folder: Path
    schedule: Schedule
    writer: CheckpointWriter | None
    trackers: Trackers | None
    checkpoint: str | None
    saved: int | None
    clock: float

    @property
    def step(self) -> int:
        """Steps since the start of training."""
        return self.state.epoch * self.schedule.steps_per_epoch + self.state.step


@contextmanager
def output_folder(args: argparse.Namespace) -> Iterator[None]:
    """Around all work: --output_dir is there and can be written into; training has it alone."""
    with ExitStack() as stack:

        def enter() -> None:
            if args.output_dir and distributed.is_main():
                folder = Path(args.output_dir)
                stack.enter_context(folder_for_results(folder, "--output_dir"))
                if is_training(args):
                    stack.enter_context(locked(folder))

        distributed.main_first(enter)
        yield


def is_training(args: argparse.Namespace) -> bool:
    """Whether a command line asks for training, and not for something with its result."""
    return not (args.eval or args.train_rescore or args.predict)


def resumed_from(args: argparse.Namespace) -> str | None:
    """What to go on from: with --auto_resume, or where torchrun restarts, the run's own files."""
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    if not (is_training(args) and (args.auto_resume or restarted)):
        return args.resume
    found = str(find_checkpoint(Path(args.output_dir)) or "") if distributed.is_main() else ""
    found = distributed.from_main(found)
    if found:
        logger.info(f"going on from {found}")
    return found or args.resume


def start(run: Run) -> Session:
    """Builds the state and the files of a run."""
    args, settings = run.args, run.settings
    model, state = build_state(run)
    folder = Path(args.output_dir)
    session = Session(
        run=run,
        state=state,
        model=model,
        folder=folder,
        schedule=Schedule(settings, len(run.train_batches) // settings.accumulate),
        writer=None,
        trackers=None,
        checkpoint=args.resume,
        saved=None,
        clock=time.monotonic() - 60 * state.minutes,
    )
    if distributed.is_main():
        start_files(session)
        session.writer = CheckpointWriter(folder, settings.keep_checkpoints)
        session.trackers = Trackers(folder, settings, args.wandb, session.step)
    return session


def build_state(run: Run) -> tuple[nn.Module, TrainingState]:
    """What trains, and its state: new, from --pretrain_model_path or from --resume."""
    args, settings = run.args, run.settings
    if args.pretrain_model_path and not args.resume:
        fine_tune(run.model, args.pretrain_model_path, args.finetune_ignore)
    norms.prepare(run.model, settings, run.device)
    model = parallel(run)
    own = model if run.sharded else run.model
    state = TrainingState(
        model=own,
        optimizer=build_optimizer(own, settings),
        scaler=torch.amp.GradScaler(run.device.type, enabled=run.precision is torch.float16),
        ema=ModelEma(run.model, settings.ema_decay) if settings.use_ema else None,
        step_size=effective_batch(settings),
    )
    if args.resume:
        state.load_state_dict(read_checkpoint(args.resume), args.resume)
    return model, state


def parallel(run: Run) -> nn.Module:
    """The model, averaging gradients over ranks where there are several; or spread over them."""
    from torch.nn.parallel import DistributedDataParallel

    if run.sharded:
        return sharding.shard(run.model, run.device)
    if distributed.world_size() == 1:
        return run.model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.14 has a second name for it
        return DistributedDataParallel(
            run.model,
            device_ids=[run.device.index] if run.device.type == "cuda" else None,
            find_unused_parameters=run.args.find_unused_params,
            broadcast_buffers=False,  # finish_epoch copies them, once an epoch
        )


def start_files(session: Session) -> None:
    """Writes config.py and record.txt, cuts log.txt back to the epochs before this one."""
    from util.config import format_config
    from util.record import append_record

    run, settings, folder = session.run, session.run.settings, session.folder
    log.set_up(folder / "info.txt" if run.args.save_log else None)
    remove_partial(folder)
    if not run.args.resume and (folder / NEWEST).exists():
        logger.warning(f"{folder} holds an earlier run, which this one replaces")
    title = (
        f"Settings of a run, merged from {Path(run.args.config_file).name} and its command line."
    )
    log.write_text(folder / "config.py", format_config(settings, title))
    log.start_log(folder / log.LOG, session.state.epoch)
    append_record(folder / "record.txt", run.args.resume)
    if settings.note:
        logger.info(f"note: {settings.note}")
    logger.info(
        f"{count_parameters(session.state.model) / 1e6:.1f} M parameters on {run.device.type}, "
        f"{'float32' if run.precision is None else run.precision}; "
        f"{len(run.train_batches.dataset)} training pictures; effective batch "
        f"{effective_batch(settings)} ({distributed.world_size()} processes x "
        f"{settings.batch_size} pictures x accumulate {settings.accumulate})"
    )
    logger.info(str(run.train_batches.dataset.poses))
    _compare_batch(settings)


def _compare_batch(settings: Mapping[str, Any]) -> None:
    """Warns if a step has another number of pictures than the recipe's."""
    found, wanted = effective_batch(settings), settings["recipe_batch"]
    if wanted in (0, found):
        return
    pictures = found // settings["accumulate"]
    keep = f"accumulate={wanted // pictures}, or " if wanted % pictures == 0 else ""
    rates = " ".join(
        f"{name}={settings[name] * found / wanted:.3g}"
        for name in ("lr", "lr_backbone")
        if settings[name] is not None
    )
    logger.warning(
        f"the effective batch is {found}, the recipe's {wanted}: set {keep}learning rates in "
        f"proportion (from the config's: {rates}), and recipe_batch={found} when done"
    )
