"""What a file holds, for `grouppose info`: checkpoints, other networks, exported models."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from grouppose import models
from grouppose.backbones import find_backbone
from grouppose.checkpoints import read_checkpoint
from grouppose.errors import InputError, MissingFileError
from grouppose.hub import local
from grouppose.inference import links
from grouppose.skeleton import skeleton_of

_BEGINNINGS = (b"PK", b"\x80")  # PyTorch's files: zip, pickle


def describe(name: str | Path) -> list[str]:
    """Lines about a file of any weights that this project reads or writes.

    Raises:
        InputError: it is none of them, or damaged.
    """
    path = local(name)
    if path.is_dir():
        raise InputError(f"{name} is a folder, expected a file of weights; name one in it")
    if not path.is_file():
        raise MissingFileError(f"no file {name}, expected a file of weights; check the path")
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    if path.suffix == ".onnx":
        return [f"{name}: an ONNX model, {size}", *_onnx(path)]
    if _is_program(path):
        return [
            f"{name}: a program of torch.export, {size}",
            "run it with torch.export.load(FILE).module(): docs/export.md",
        ]
    if path.suffix != ".safetensors" and not _may_be_weights(path):
        raise InputError(
            f"{name} is no file of weights, expected a checkpoint (.pth, .safetensors), a "
            "rescoring or backbone network, or an exported model; give one"
        )
    content = read_checkpoint(path)
    state = content["model"]
    count = sum(value.numel() for value in state.values())
    lines = [f"{name}: {count / 1e6:.2f} M numbers in {len(state)} tensors, {size}"]
    others = sorted(str(key) for key in content if key not in ("model", "settings"))
    if others:
        lines.append(f"beside the weights: {', '.join(others)}")
    return lines + _progress(content) + _network(content)


def _may_be_weights(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(512)
    return start.startswith(_BEGINNINGS) or start[257:262] == b"ustar"  # the oldest are tar


def _is_program(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(entry.endswith("archive_format") for entry in archive.namelist())


def _onnx(path: Path) -> list[str]:
    """Inputs and outputs of an ONNX file, where that package is installed."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        return ["pip install onnx, and this command tells its inputs and outputs"]
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except (DecodeError, ValueError, OSError) as error:
        raise InputError(f"{path} is no readable ONNX file ({error}); export it again") from error
    lines = []
    for what, values in (("takes", graph.input), ("gives", graph.output)):
        for value in values:
            tensor = value.type.tensor_type
            axes = [str(axis.dim_param or axis.dim_value) for axis in tensor.shape.dim]
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
            lines.append(f"{what} {value.name}: {kind} ({', '.join(axes)})")
    return lines


def _progress(content: Mapping[str, Any]) -> list[str]:
    """How far the run had come that wrote a checkpoint."""
    lines = []
    if isinstance(content.get("epoch"), int):
        lines.append(f"epoch: {content['epoch']}")
    best = content.get("best")
    if isinstance(best, Mapping):
        numbers = {name: value for name, value in best.items() if isinstance(value, float)}
        lines += [f"best AP so far ({name}): {value:.3f}" for name, value in numbers.items()]
    return lines


def _network(content: Mapping[str, Any]) -> list[str]:
    published = links.published_skeleton(content["model"])
    if content["settings"].get("kind") == "rescore" or published is not None:
        skeleton = content["settings"].get("skeleton") or {}
        names = skeleton.get("names", []) if isinstance(skeleton, Mapping) else []
        names = names or (published.names if published else [])
        return [
            f"a rescoring network for people of {len(names)} keypoints: {', '.join(names)}",
            "use it with rescore=FILE beside a model of the same keypoints",
        ]
    try:
        models.family_of(content)
    except InputError:
        return _of_no_family(content["model"])
    stored = models.stored_settings(content)
    lines = [f"family: {models.title(stored['modelname'])}"]
    skeleton, categories = stored.pop("skeleton", None), stored.pop("categories", [])
    lines += [f"{key} = {value!r}" for key, value in stored.items()]
    if "num_body_points" in stored:
        lines += _keypoints(skeleton_of(stored["num_body_points"], skeleton))
    return lines + [f"class {i}: {entry[1]}" for i, entry in enumerate(categories, start=1)]


def _keypoints(skeleton: Any) -> list[str]:
    pairs = [f"{skeleton.names[a]} - {skeleton.names[b]}" for a, b in skeleton.flip_pairs]
    return [
        f"keypoints: {', '.join(skeleton.names)}",
        f"sigmas: {list(skeleton.sigmas)}",
        f"mirroring exchanges: {', '.join(pairs) or 'nothing'}",
    ]


def _of_no_family(state: Mapping[str, Tensor]) -> list[str]:
    backbone = find_backbone(state)
    if backbone:
        return [
            f"weights of the backbone {backbone}, to train from: --backbone {backbone} "
            "--options pretrained_backbone=FILE"
        ]
    first = ", ".join(f"{name} {tuple(value.shape)}" for name, value in list(state.items())[:3])
    known = ", ".join(models.families())
    return [f"of no model that is known here ({known}); first weights: {first or 'none'}"]
