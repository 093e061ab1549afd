"""The command line of main.py. Imports nothing slow: --help answers at once."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> NoReturn:
        if int(os.environ.get("RANK", 0)) == 0:
            sys.stderr.write(f"error: {' '.join(message.splitlines())}\n")
        self.exit(2)


def build_parser(description: str | None) -> Parser:
    parser = Parser(
        prog="main.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-c", "--config_file", required=True, metavar="FILE", help="a file of config/")
    add(
        "--options",
        nargs="*",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings in place of the config's: batch_size=1 data_aug_scales=480,800",
    )
    add("--dataset_file", metavar="NAME", help="coco, crowdpose, custom, ...: docs/datasets.md")
    add("--coco_path", metavar="DIR", help="folder of the data set")
    add("--output_dir", metavar="DIR", help="for checkpoints, log.txt, config.py, pictures")
    add("--backbone", metavar="NAME", help="resnet18, 34, 50, 101, swin_T_224_1k, swin_L_384_22k")
    add("--swin_pretrain_path", metavar="DIR", help="folder of the Swin ImageNet files")
    add("--resume", metavar="FILE", help="go on from a checkpoint, or evaluate it with --eval")
    add(
        "--auto_resume",
        action="store_true",
        help="go on from the newest whole checkpoint in --output_dir, if there is one",
    )
    add("--eval", action="store_true", help="evaluate only: AP, results.json, predictions.png")
    add(
        "--evaluator",
        choices=("faster", "pycocotools"),
        default="faster",
        help="package that scores: faster-coco-eval (default) or pycocotools; same numbers",
    )
    add("--bootstrap", type=_count, default=0, metavar="N", help="--eval: 95 %% intervals of AP")
    add("--train_rescore", action="store_true", help="train rescore.pth for the model of --resume")
    add("--predict", metavar="SOURCE", help="draw poses: a picture, video, folder or pattern")
    add("--save_predictions", type=_count, default=16, metavar="N", help="pictures drawn by --eval")
    add("--pretrain_model_path", metavar="FILE", help="start from these weights")
    add(
        "--finetune_ignore",
        nargs="+",
        default=[],
        metavar="NAME",
        help="leave out pretrained weights with this in their name",
    )
    _add_run_flags(add)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


def _device(name: str) -> str | None:
    if name not in ("auto", "cpu", "cuda"):
        raise argparse.ArgumentTypeError(
            f"no device {name!r}; expected auto, cpu or cuda (several GPUs: start with torchrun)"
        )
    return None if name == "auto" else name


def _add_run_flags(add: Callable[..., object]) -> None:
    """How the run goes about it."""
    add("--device", type=_device, metavar="NAME", help="auto (cuda if there is one), cpu or cuda")
    add("--amp", action="store_true", help="compute in bfloat16 (float16 on older GPUs)")
    add("--num_workers", type=_count, metavar="N", help="processes that read pictures, per process")
    add("--seed", type=int, metavar="N", help="of weights, order and augmentation")
    add("--note", metavar="TEXT", help="kept in the log and the written config")
    add("--save_log", action="store_true", help="also write the console's lines to info.txt")
    add("--wandb", action="store_true", help="also log to Weights & Biases; WANDB_MODE: offline")
    add("--find_unused_params", action="store_true", help="passed to DistributedDataParallel")
    add(
        "--local-rank",
        "--local_rank",
        dest="local_rank",
        type=int,
        default=int(os.environ.get("LOCAL_RANK", 0)),
        help=argparse.SUPPRESS,
    )


def parse_arguments(
    argv: Sequence[str] | None = None, description: str | None = None
) -> argparse.Namespace:
    """Reads a command line (default: this process's); ends the process where it is wrong."""
    parser = build_parser(description)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        flag = unknown[0].partition("=")[0]
        flags = [name for action in parser._actions for name in action.option_strings]
        close = difflib.get_close_matches(flag, flags, n=1)
        setting = f"--options {flag.lstrip('-')}=VALUE"
        hint = f"did you mean {close[0]!r}?" if close else f"a config's setting is set by {setting}"
        parser.error(f"no flag {flag!r}; {hint}")
    for flag in ("predict", "resume", "pretrain_model_path"):
        if getattr(args, flag) == "":  # of a shell's variable that nobody set; it would train anew
            parser.error(f"--{flag} is empty; say which, or leave the flag out")
    for flag in ("eval", "predict", "train_rescore"):
        if getattr(args, flag) and not (args.resume or args.pretrain_model_path):
            parser.error(f"--{flag} without weights; give --resume FILE")
    asked = [flag for flag in ("eval", "train_rescore", "predict") if getattr(args, flag)]
    if len(asked) > 1:
        parser.error(f"--{asked[0]} and --{asked[1]}; give one of them")
    if not args.eval and not args.output_dir:
        parser.error("no folder for checkpoints or pictures; give --output_dir DIR")
    if args.finetune_ignore and not args.pretrain_model_path:
        parser.error("--finetune_ignore without --pretrain_model_path FILE")
    return args
