"""What all families are tried with: how each is found, made small and run."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

import grouppose
import grouppose.models
from grouppose.skeleton import COCO

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SIZE = 64  # sides of the pictures
PEOPLE = 2

if str(HERE) not in grouppose.models.__path__:
    grouppose.models.__path__.append(str(HERE))  # the toy is a family, too

FAMILIES = grouppose.families()


def tiny(name):
    """The module that knows how to make a family small: the one file of it that tests share."""
    place = "families" if (HERE / name).is_dir() else "models"
    return importlib.import_module(f"tests.{place}.{name}.tiny")


def config(name):
    own = HERE / name / "config.py"
    return own if own.exists() else ROOT / "config" / f"{name}.py"


def small_model(name, **settings):
    torch.manual_seed(0)
    return grouppose.build_model(name, **{**tiny(name).SETTINGS, **settings})


def people(skeleton=COCO, count=PEOPLE, seed=0):
    """In pixels of a picture of SIZE x SIZE."""
    rng = torch.Generator().manual_seed(seed)
    keypoints = 8 + (SIZE - 16) * torch.rand(count, skeleton.num_keypoints, 2, generator=rng)
    corners = [keypoints.amin(1), keypoints.amax(1)] if count else [torch.zeros(0, 2)] * 2
    return {
        "keypoints": keypoints,
        "visible": torch.rand(count, skeleton.num_keypoints, generator=rng) < 0.9,
        "boxes": torch.cat(corners, 1),
        "area": (corners[1] - corners[0]).prod(1),
        "labels": torch.ones(count, dtype=torch.int64),
        "small": torch.zeros(count, dtype=torch.bool),
        "original_area": (corners[1] - corners[0]).prod(1),
        "mirrored": torch.tensor(False),
    }


def pictures(count=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=rng)
