"""Files of weights rewritten: `grouppose convert IN OUT [--to published] [--dtype float16]`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from grouppose import models
from grouppose.checkpoints import read_checkpoint, write_checkpoint, write_safetensors
from grouppose.errors import InputError


def convert(source: str | Path, target: Path, to: str = "own", dtype: str | None = None) -> str:
    """Rewrites a file of weights as ours (safetensors) or as published.

    Args:
        source: ours or published.
        target: to write.
        to: "own" or "published".
        dtype: "float16", "bfloat16" or "float32" for all weights; None: tensors stay as they are.

    Returns:
        A line that says what was written.
    """
    ending = ".safetensors"
    if (target.suffix == ending) != (to == "own"):
        raise InputError(
            f"{target}: our own files end in {ending}; choose such a name, or --to published"
            if to == "own"
            else f"{target} ends in {ending}, but published checkpoints are PyTorch files; "
            "choose a name that ends in .pth"
        )
    content = read_checkpoint(source)
    name = _family(content, source, needed=to == "published")
    state = models.library_names(name, content["model"])
    if dtype is not None:
        kind = getattr(torch, dtype)
        state = {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}
    settings = {**content["settings"], **models.infer_settings(name, state)}
    if name is not None:
        settings["modelname"] = name
    if to == "published":
        content = {"model": models.published_names(state), "args": argparse.Namespace(**settings)}
        write_checkpoint(target, content)
    else:
        plain = {k: v for k, v in settings.items() if _is_plain(v)}
        write_safetensors(target, {k: v.contiguous() for k, v in state.items()}, plain)
    return f"{target}: {len(state)} tensors, {to} names"


def _family(content: dict, source: str | Path, needed: bool) -> str | None:
    """The family of a file; weights of none (a backbone's, a rescoring network's) stay as named."""
    try:
        return models.family_of(content)
    except InputError as error:
        if needed:
            raise InputError(models.named(str(error), source)) from None
        return None


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
