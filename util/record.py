"""What a run was: its command, the versions it ran with and the state of the code.

Nothing of the environment is kept: it holds passwords.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from util import distributed

ROOT = Path(__file__).parent.parent
PACKAGES = ("grouppose", "torch", "torchvision", "timm", "numpy", "pillow", "faster-coco-eval")


def append_record(path: Path, resumed: str | None) -> None:
    """Adds a JSON line, so that every start of a run has one."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record(resumed)) + "\n")


def record(resumed: str | None) -> dict[str, Any]:
    """Of this process.

    Args:
        resumed: the checkpoint it went on from.
    """
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "resumed": resumed,
        "processes": distributed.world_size(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "git": git_state(ROOT),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit, and files that differ from it; None outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no") or ""
    return {"commit": commit.strip(), "changed": [line[3:] for line in changed.splitlines()]}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):  # no git
        return None
    return done.stdout if done.returncode == 0 else None
