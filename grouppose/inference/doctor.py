"""What is installed here, and what to do about what is missing."""

from __future__ import annotations

import platform
import re
from importlib import metadata

import torch

from grouppose.ops import backends
from grouppose.version import __version__

EXTRAS = {  # package: what it is for
    "supervision": "Result.to_supervision",
    "gradio": "grouppose serve",
    "pycocotools": "training and evaluation",
    "faster-coco-eval": "training and evaluation",
    "addict": "config files",
    "matplotlib": "curves.png",
    "huggingface-hub": "weights hf:owner/name",
    "onnx": "grouppose export",
    "onnxscript": "grouppose export",
    "onnxruntime": "grouppose export",
}


def examine() -> tuple[list[str], list[str]]:
    """Looks at versions, devices and kernels.

    Returns:
        Lines of facts, and problems, each with what to do about it.
    """
    lines = [
        f"grouppose {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"torch {torch.__version__}, {torch.get_num_threads()} threads",
    ]
    problems = []
    for name, asked in sorted(_requirements().items()):
        version = _version(name)
        if version is None:
            problems.append(f"{name} is missing; pip install '{name}{asked}'")
        elif _older(version, asked):
            problems.append(f"{name} {version} is too old; pip install '{name}{asked}'")
        elif name != "torch":
            lines.append(f"{name} {version}")
    for name, purpose in EXTRAS.items():
        version = _version(name)
        lines.append(f"{name} {version}" if version else f"{name}: not installed ({purpose})")
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        name, reason = backends.backend(device, torch.float32)
        lines.append(f"deformable attention on {device}: {name} ({reason})")
        if name == "reference":
            problems.append(f"deformable attention is slow on {device}: {reason}")
    if torch.version.cuda and not torch.cuda.is_available():
        lines.append(f"torch is built for CUDA {torch.version.cuda}, but sees no GPU")
    return lines, problems


def _requirements() -> dict[str, str]:
    """Names and least versions (">=1.2") of what this package needs."""
    try:
        found = metadata.requires("grouppose") or []
    except metadata.PackageNotFoundError:  # run from a folder without being installed
        return {}
    pairs = (re.match(r"([\w.-]+)\s*(.*)", r).groups() for r in found if "extra ==" not in r)
    return dict(pairs)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _older(version: str, asked: str) -> bool:
    least = re.match(r">=([\d.]+)", asked)
    if not least:
        return False

    def numbers(text: str) -> list[int]:
        return [int(n) for n in re.findall(r"\d+", text.partition("+")[0])[:3]]

    return numbers(version) < numbers(least[1])
