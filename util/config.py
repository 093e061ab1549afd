"""The settings of a run: read from config files and the command line, checked, frozen."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from addict import Dict
from yapf.yapflib.yapf_api import FormatCode

from datasets.settings import AUTO, FROM_DATA, frozen, read_settings
from grouppose import models
from grouppose.errors import InputError, nearest
from util import optim

POSITIVE = (
    "batch_size",
    "accumulate",
    "eval_batch_size",
    "epochs",
    "eval_every",
    "save_checkpoint_interval",
    "keep_checkpoints",
    "max_bad_steps",
)
NOT_NEGATIVE = (
    "lr",
    "lr_backbone",
    "weight_decay",
    "clip_max_norm",
    "recipe_batch",
    "warmup_steps",
    "warmup_epochs",
    "ema_epoch",
    "save_steps",
    "early_stop",
    "draw_pictures",
    "max_rollbacks",
    "max_unreadable",
    "seed",
)
SEEDS = 2**63  # what generators of random numbers take
SHARDINGS = ("none", "full")


def load_config(
    path: str | Path,
    options: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    resumed: str | None = None,
) -> Dict:
    """What `read_settings` reads of a config file, flags, `--options` and a checkpoint, checked.

    Returns:
        All settings, frozen: a misspelt attribute raises instead of answering {}.
    """
    config = read_settings(path, options, flags, resumed)
    check_values(config)
    return frozen(config)


def check_values(config: Mapping[str, Any]) -> None:
    """Refuses values that cannot work, before anything is built."""
    from_data = 0 if config["dataset_file"] == "custom" else 1
    for names, least in ((POSITIVE, 1), (NOT_NEGATIVE, 0), (FROM_DATA, from_data)):
        for name in names:
            given = name in config and config[name] not in (None, AUTO)
            if given and config[name] < least:
                raise InputError(f"{name} is {config[name]}, expected at least {least}")
    if config["seed"] >= SEEDS:
        raise InputError(f"seed is {config['seed']}, expected less than {SEEDS}")
    if config["sharding"] not in SHARDINGS:
        raise InputError(
            f"sharding is {config['sharding']!r}; {nearest(config['sharding'], SHARDINGS)}"
        )
    if config["sharding"] == "full" and config["use_ema"]:
        raise InputError(
            "sharding is 'full', which keeps no moving average of the weights; set use_ema=False"
        )
    pairs = config["categories"]
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise InputError(
            f"categories is {pairs!r}, expected pairs [id, name], or [] for the data's"
        )
    if not 0 < config["ema_decay"] < 1:
        raise InputError(f"ema_decay is {config['ema_decay']}, expected between 0 and 1")
    optim.check(config)
    models.check_settings(config)


def format_config(config: Mapping[str, Any], title: str) -> str:
    """The text of a config file that `load_config` reads back to the same settings."""
    plain = config.to_dict() if isinstance(config, Dict) else dict(config)
    lines = [_formatted(f"{name} = {value!r}\n") for name, value in plain.items()]
    return f'"""{title}"""\n\n' + "".join(lines)


@functools.cache  # a skeleton takes a second
def _formatted(line: str) -> str:
    return FormatCode(line, style_config="pep8")[0]
