"""Trains and evaluates models.

python main.py -c config/grouppose.py --coco_path DIR --output_dir DIR
torchrun --nproc_per_node=8 main.py -c config/grouppose.py --coco_path DIR --output_dir DIR
python main.py -c config/grouppose.py --coco_path DIR --resume FILE --eval
python main.py -c config/grouppose.py --coco_path DIR --resume FILE --train_rescore --output_dir DIR
python main.py -c config/grouppose.py --resume FILE --predict SOURCE --output_dir DIR
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from util.arguments import parse_arguments

if TYPE_CHECKING:  # imported inside functions, so that --help answers at once
    import torch
    from addict import Dict
    from torch.utils.data import DataLoader

    from util.state import TrainingState

TEST_PREFIX = {"regular": "test", "ema": "ema_test"}  # in log.txt
PREDICTION_THRESHOLD = 0.3  # score from which people are drawn


def read_settings(args: argparse.Namespace) -> Dict:
    """The config with the flags and options of the command line."""
    from grouppose.backbones import SWINS, pretrained_file
    from grouppose.errors import InputError
    from util.config import load_config

    names = ("dataset_file", "coco_path", "backbone", "seed", "note")
    flags = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    settings = load_config(args.config_file, args.options, flags, args.resume)
    if args.resume or args.pretrain_model_path:
        return settings  # that file holds the backbone too
    if args.swin_pretrain_path:
        file = pretrained_file(settings.backbone, args.swin_pretrain_path)
        settings.pretrained_backbone = str(file)
    elif settings.backbone in SWINS and settings.pretrained_backbone == "imagenet":
        raise InputError(
            f"{settings.backbone} starts from ImageNet weights; give their folder with "
            "--swin_pretrain_path, or --options pretrained_backbone=none"
        )
    return settings


@dataclass
class Run:
    """What a command line stands for, built.

    Attributes:
        train_batches: None when evaluating only.
        precision: of autocast; None: float32.
    """

    args: argparse.Namespace
    settings: Dict
    device: torch.device
    precision: torch.dtype | None
    model: torch.nn.Module
    criterion: torch.nn.Module
    postprocess: Callable
    train_batches: DataLoader | None
    val_batches: DataLoader


def build_run(args: argparse.Namespace, settings: Dict, device: torch.device) -> Run:
    """Data first: what is wrong with it shows before anything slow."""
    import torch

    from datasets.build import build_sets, collate
    from grouppose.models import build
    from util import distributed, engine, loading

    workers = loading.default_workers() if args.num_workers is None else args.num_workers
    splits = ("val",) if args.eval else ("train", "val")
    sets, settings = distributed.main_first(lambda: build_sets(splits, settings))
    batches = {
        "val": lambda: loading.EvalBatches(len(sets["val"]), settings.eval_batch_size),
        "train": lambda: loading.train_batches(sets["train"], settings),
    }
    loaders = {
        name: loading.make_loader(sets[name], batches[name](), collate, workers, device)
        for name in splits
    }
    torch.manual_seed(settings.seed)
    network = settings
    if args.resume or args.pretrain_model_path:
        network = settings | {"pretrained_backbone": None}
    model, criterion, postprocess = distributed.main_first(lambda: build(network))
    torch.manual_seed(settings.seed + distributed.rank())
    return Run(
        args=args,
        settings=settings,
        device=device,
        precision=engine.choose_precision(device, args.amp),
        model=model.to(device),
        criterion=criterion,
        postprocess=postprocess,
        train_batches=loaders.get("train"),
        val_batches=loaders["val"],
    )


def build_state(run: Run) -> TrainingState:
    """The state that training starts from: new, from --pretrain_model_path or from --resume."""
    import torch

    from grouppose.checkpoints import read_checkpoint
    from util.ema import ModelEma
    from util.optim import build_optimizer
    from util.state import TrainingState, load_pretrained

    args, settings = run.args, run.settings
    if args.pretrain_model_path:
        load_pretrained(run.model, args.pretrain_model_path, args.finetune_ignore)
    state = TrainingState(
        model=run.model,
        optimizer=build_optimizer(run.model, settings),
        scaler=torch.amp.GradScaler(run.device.type, enabled=run.precision is torch.float16),
        ema=ModelEma(run.model, settings.ema_decay) if settings.use_ema else None,
    )
    if args.resume:
        state.load_state_dict(read_checkpoint(args.resume), args.resume)
    return state


def evaluate(run: Run, model: torch.nn.Module) -> tuple[dict[str, float], list[dict], Any]:
    """Scores a model on the evaluation set; every rank must call it.

    Returns:
        Statistics and results in COCO's format, both empty except on rank 0, and the people of
        each picture.
    """
    from util import distributed
    from util.evaluation import find_people, score

    found = find_people(
        model, run.postprocess, run.val_batches, run.settings, run.device, run.precision
    )
    if not distributed.is_main():
        return {}, [], found[1]
    stats, results = score(run.val_batches.dataset, found, run.args.evaluator)
    return stats, results, found[1]


def evaluate_only(run: Run) -> None:
    """--eval: prints the tables; writes results.json and pictures if there is a folder."""
    from util import distributed
    from util.evaluation import report
    from util.state import load_pretrained

    load_pretrained(run.model, run.args.resume or run.args.pretrain_model_path, [])
    stats, results, people = evaluate(run, run.model)
    if distributed.is_main():
        folder = make_folder(run.args.output_dir) if run.args.output_dir else None
        drawn, samples = run.args.save_predictions, run.args.bootstrap
        report(run.val_batches.dataset, stats, results, people, folder, samples, drawn)


def train_rescore(run: Run) -> None:
    """--train_rescore: writes rescore.pth, for --options rescore=FILE."""
    from util.evaluation import train_rescorer
    from util.state import load_pretrained

    load_pretrained(run.model, run.args.resume or run.args.pretrain_model_path, [])
    batches = (run.train_batches, run.val_batches)
    folder = make_folder(run.args.output_dir)
    train_rescorer(
        run.model, run.postprocess, batches, run.settings, run.device, run.precision, folder
    )


def predict(args: argparse.Namespace) -> int:
    """--predict: draws the people of pictures and videos into the folder."""
    from grouppose.inference.cli import predict_into
    from grouppose.inference.predictor import Predictor

    predictor = Predictor(
        args.resume or args.pretrain_model_path,
        device=args.device or "auto",
        dtype="bfloat16" if args.amp else "float32",
        threshold=PREDICTION_THRESHOLD,
    )
    return predict_into(predictor, args.predict, make_folder(args.output_dir), with_json=True)


def make_folder(path: str) -> Path:
    """The output folder; called once everything that can be wrong has been looked at."""
    from grouppose.errors import InputError

    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {folder} ({error.strerror}); change --output_dir"
        ) from error
    return folder


def train(run: Run) -> None:
    """Trains from the state's epoch to the last; a checkpoint and a line of log.txt each."""
    from util import distributed, engine
    from util.log import logger
    from util.optim import Schedule
    from util.plots import plot_curves

    settings = run.settings
    state = build_state(run)
    folder = distributed.main_first(lambda: make_folder(run.args.output_dir))
    if distributed.is_main():
        start_files(run, folder, state.epoch)
    schedule = Schedule(settings, len(run.train_batches) // settings.accumulate)
    model = parallel(run)
    for epoch in range(state.epoch, settings.epochs):
        began = time.monotonic()
        run.train_batches.batch_sampler.epoch = epoch
        run.train_batches.dataset.set_epoch(epoch)
        losses = engine.train_one_epoch(
            model,
            run.criterion,
            run.train_batches,
            state.optimizer,
            schedule,
            state.scaler,
            epoch=epoch,
            device=run.device,
            precision=run.precision,
            clip_max_norm=settings.clip_max_norm,
            accumulate=settings.accumulate,
            ema=state.ema if epoch >= settings.ema_epoch else None,
        )
        finish_epoch(run, state, folder, losses, began)
    if distributed.is_main() and (folder / "log.txt").exists():
        plot_curves([folder / "log.txt"], folder / "curves.png")
    logger.info(f"{state.epoch} epochs in {state.minutes:.1f} minutes; see {folder}")


def start_files(run: Run, folder: Path, first_epoch: int) -> None:
    """Writes config.py, cuts log.txt back to the epochs before this one, starts info.txt."""
    from util import distributed, log
    from util.config import format_config
    from util.loading import effective_batch
    from util.optim import count_parameters

    settings = run.settings
    log.set_up(folder / "info.txt" if run.args.save_log else None)
    title = (
        f"Settings of a run, merged from {Path(run.args.config_file).name} and its command line."
    )
    log.write_text(folder / "config.py", format_config(settings, title))
    log.start_log(folder / "log.txt", first_epoch)
    if settings.note:
        log.logger.info(f"note: {settings.note}")
    log.logger.info(
        f"{count_parameters(run.model) / 1e6:.1f} M parameters on {run.device.type}, "
        f"{'float32' if run.precision is None else run.precision}; "
        f"{len(run.train_batches.dataset)} training pictures; effective batch "
        f"{effective_batch(settings)} ({distributed.world_size()} processes x "
        f"{settings.batch_size} pictures x accumulate {settings.accumulate})"
    )
    log.logger.info(str(run.train_batches.dataset.poses))


def parallel(run: Run) -> torch.nn.Module:
    """The model, averaging gradients over ranks where there are several."""
    from torch.nn.parallel import DistributedDataParallel

    from util import distributed

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


def finish_epoch(
    run: Run, state: TrainingState, folder: Path, losses: dict[str, float], began: float
) -> None:
    """Evaluates if it is time to, then writes checkpoints and the line of log.txt."""
    from util import distributed
    from util.loading import effective_batch
    from util.log import append_log
    from util.optim import count_parameters
    from util.state import save_checkpoints

    settings = run.settings
    epoch, state.epoch = state.epoch, state.epoch + 1
    models = {"regular": state.model}
    if state.ema is not None and state.ema.started:
        models["ema"] = state.ema.module
    for model in models.values():
        distributed.copy_buffers(model)
    scores, improved = {}, {}
    if state.epoch % settings.eval_every == 0 or state.epoch == settings.epochs:
        for name, model in models.items():
            stats, _, _ = evaluate(run, model)
            scores |= {f"{TEST_PREFIX[name]}_{key}": value for key, value in stats.items()}
            improved[name] = stats.get("AP", -1.0) > state.best.get(name, -1.0)
            state.best[name] = max(stats.get("AP", -1.0), state.best.get(name, -1.0))
    state.minutes += (time.monotonic() - began) / 60
    save_checkpoints(folder, state, settings, improved)
    if distributed.is_main():
        entry = {
            "epoch": epoch,
            **{f"train_{name}": value for name, value in losses.items()},
            "train_lr": state.optimizer.param_groups[0]["lr"],
            **scores,
            "minutes": round(state.minutes, 3),
            "num_parameters": count_parameters(state.model),
            "effective_batch": effective_batch(settings),
        }
        append_log(folder / "log.txt", entry)
        report_epoch(entry)


def report_epoch(entry: dict[str, float]) -> None:
    """One line on the console."""
    from util.log import logger

    shown = {"loss": entry["train_loss"]}
    for prefix in TEST_PREFIX.values():
        for name in ("AP", "AP50", "swap_rate"):
            if f"{prefix}_{name}" in entry:
                shown[f"{prefix} {name}"] = entry[f"{prefix}_{name}"]
    line = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
    logger.info(f"epoch {entry['epoch']}  {line}  {entry['minutes']:.1f} minutes")


def run_command(args: argparse.Namespace) -> int:
    """Everything between the command line and the exit status, which it returns."""
    from util import distributed, engine, log

    engine.keep_memory()
    if args.predict:
        return predict(args)
    device = distributed.start(args.device, args.local_rank)
    log.set_up()
    run = build_run(args, read_settings(args), device)
    if args.eval:
        evaluate_only(run)
    elif args.train_rescore:
        train_rescore(run)
    else:
        train(run)
    distributed.stop()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv, __doc__)
    from grouppose.errors import UserError
    from util import distributed

    try:
        return run_command(args)
    except UserError as error:
        if not isinstance(error, distributed.OtherRankError) and distributed.first_to_fail():
            print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except RuntimeError:
        if distributed.another_failed():
            return 1
        raise


def one_line(error: Exception) -> str:
    """The message; an error from a data worker brings that worker's trace, which ends in it."""
    text = str(error)
    if "Original Traceback" in text:
        text = re.sub(r"^[\w.]+: ", "", text.strip().splitlines()[-1])
    return text


if __name__ == "__main__":
    sys.exit(main())
