"""Trains and evaluates models.

python main.py -c config/grouppose.py --coco_path DIR --output_dir DIR
torchrun --nproc_per_node=8 main.py -c config/grouppose.py --coco_path DIR --output_dir DIR
python main.py -c config/grouppose.py --coco_path DIR --resume FILE --eval
python main.py -c config/grouppose.py --coco_path DIR --resume FILE --train_rescore --output_dir DIR
python main.py -c config/grouppose.py --resume FILE --predict SOURCE --output_dir DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from util.arguments import parse_arguments

if TYPE_CHECKING:  # imported inside functions, so that --help answers at once
    import torch
    from addict import Dict
    from torch.utils.data import DataLoader

    from util.session import Run


def read_settings(args: argparse.Namespace) -> Dict:
    """The config with the flags and options of the command line."""
    from grouppose.backbones import imagenet_source
    from util.config import load_config

    names = ("dataset_file", "coco_path", "backbone", "seed", "note")
    flags = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    told = args.pretrain_model_path if args.eval or args.train_rescore else None
    settings = load_config(args.config_file, args.options, flags, args.resume or told)
    if args.resume or args.pretrain_model_path or "backbone" not in settings:
        return settings  # that file holds the backbone too
    settings.pretrained_backbone = imagenet_source(
        settings.backbone, settings.pretrained_backbone, args.swin_pretrain_path
    )
    return settings


def build_run(args: argparse.Namespace, settings: Dict, device: torch.device) -> Run:
    """Data first: what is wrong with it shows before anything slow."""
    import torch

    from datasets.build import build_sets, collate
    from datasets.settings import start_of
    from datasets.viewed import ViewedPictures, collate_views
    from grouppose.models import build
    from util import config, distributed, loading, memory, mishaps
    from util.precision import choose_precision
    from util.session import Run

    workers = loading.default_workers() if args.num_workers is None else args.num_workers
    splits = ("val",) if args.eval else ("train", "val")
    start = {} if args.resume or len(splits) == 1 else start_of(args.pretrain_model_path)
    sets, settings = distributed.main_first(lambda: build_sets(splits, settings, start))
    distributed.main_first(lambda: mishaps.require_pictures(sets["val"], settings.max_unreadable))

    def train_loader() -> DataLoader:
        batches = loading.train_batches(sets["train"], settings)
        return loading.make_loader(sets["train"], batches, collate, workers, device)

    train_batches = None
    if not args.eval and settings.batch_size != memory.AUTO:
        train_batches = train_loader()
    torch.manual_seed(settings.seed)
    network = settings
    if args.resume or args.pretrain_model_path:
        network = settings | {"pretrained_backbone": None}
    model, criterion, decode = distributed.main_first(lambda: build(network))
    model = model.to(device)
    precision = choose_precision(device, args.amp)
    if not args.eval and train_batches is None:
        fitting = memory.fitting_batch(model, criterion, settings, device, precision)
        settings = config.frozen(settings | {"batch_size": fitting})
        train_batches = train_loader()
    looked = ViewedPictures(sets["val"], decode)
    order = loading.EvalBatches(len(looked), settings.eval_batch_size)
    torch.manual_seed(settings.seed + distributed.rank())
    return Run(
        args=args,
        settings=settings,
        device=device,
        precision=precision,
        model=model,
        criterion=criterion,
        decode=decode,
        train_batches=train_batches,
        val_batches=loading.make_loader(looked, order, collate_views, workers, device),
    )


def predict(args: argparse.Namespace) -> int:
    """--predict: draws the people of pictures and videos into the folder."""
    from grouppose.inference.predicting import Job, predict_into
    from grouppose.inference.predictor import Predictor
    from grouppose.inference.reading import silence
    from grouppose.inference.sources import camera_or_path

    silence()
    note = "--options do not count for --predict; grouppose predict has its own"
    source = camera_or_path(args.predict)
    return predict_into(
        Job(
            source,
            Path(args.output_dir),
            flag="--output_dir",
            json=True,
            note=note if args.options else "",
        ),
        lambda: Predictor(
            args.resume or args.pretrain_model_path,
            device=args.device or "auto",
            dtype="bfloat16" if args.amp else "float32",
        ),
    )


def run_command(args: argparse.Namespace) -> int:
    """Everything between the command line and the exit status, which it returns."""
    from util import distributed, log, session

    if args.predict:
        return predict(args)
    device = distributed.start(args.device, args.local_rank)
    log.set_up()
    with session.output_folder(args):
        train_or_evaluate(args, device)
    distributed.stop()
    return 0


def train_or_evaluate(args: argparse.Namespace, device: torch.device) -> None:
    """Whatever needs a data set."""
    from util import evaluation, malloc, rescoring, session, training

    args.resume = session.resumed_from(args)
    settings = read_settings(args)
    malloc.keep_memory(sparing=args.eval or settings.get("use_checkpoint", False))
    run = build_run(args, settings, device)
    if args.eval:
        evaluation.evaluate_only(run)
    elif args.train_rescore:
        rescoring.train_rescore(run)
    else:
        training.train(run)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv, __doc__)
    from grouppose.commands import exit_status
    from util import distributed

    return exit_status(lambda: distributed.told_once(lambda: run_command(args)))


if __name__ == "__main__":
    sys.exit(main())
