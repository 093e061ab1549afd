"""Files of weights: our own and the published ones, read without running code from them.

    python -m grouppose.checkpoints convert IN OUT [--to published] [--dtype float16]

Names inside the library are those of the published checkpoints, less the second copy of the heads
under `transformer.decoder.` and the index tables of Swin, which follow from the window size.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from grouppose.commands import Parser, exit_status
from grouppose.errors import InputError, MissingFileError
from grouppose.files import write_whole

_SECOND_COPY = re.compile(r"^transformer\.decoder\.(class_embed|pose_embed)\.")
_HEADS = re.compile(r"^(class_embed|pose_embed)\.")
_INDEX_TABLE = "relative_position_index"
_SETTINGS = "settings"  # where a file keeps what built its model
_ALLOWED = [argparse.Namespace]  # published files keep their command line in one
_UNREADABLE = (  # what the readers of damaged files raise
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a file of weights.

    Args:
        path: safetensors, or a PyTorch file that holds a state dict or a dict of "model",
            "ema_model", "args", ...

    Returns:
        A dict with at least "model", a state dict under the library's names, and "settings", what
        the file says of the model it belongs to ({} if nothing); further entries as they are.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no file {path}, expected a checkpoint; check the path")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        damaged = _damaged_part(path)
        with torch.serialization.safe_globals(_ALLOWED):
            content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(_refusal(path, str(error))) from error
    except _UNREADABLE as error:
        first = str(error).splitlines()[:1]
        raise InputError(
            f"{path} is no readable checkpoint ({first[0] if first else type(error).__name__}); "
            "it may be truncated, fetch it again"
        ) from error
    if damaged:
        raise InputError(
            f"{path} is damaged: the checksum of {damaged} in it does not fit; fetch it again or "
            "use an earlier checkpoint"
        )
    return _arrange(path, content)


def _damaged_part(path: Path) -> str | None:
    """The first part of a PyTorch file whose CRC-32 differs: torch.load does not look at them."""
    if not zipfile.is_zipfile(path):  # the old format has no checksums
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def _refusal(path: Path, message: str) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", message)
    if found:
        return (
            f"{path} is refused: it holds {found[1]!r}, which would run code when loaded; "
            "a checkpoint may hold tensors, numbers, strings, lists and dicts only"
        )
    return f"{path} is no readable checkpoint; it may be truncated, fetch it again"


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = json.loads(metadata.get(_SETTINGS, "{}"))
    except (SafetensorError, ValueError) as error:
        raise InputError(
            f"{path} is no readable safetensors file ({error}); fetch it again"
        ) from error
    return {"model": library_names(state), _SETTINGS: settings}


def _arrange(path: Path, content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds a {type(content).__name__}, expected a dict of weights; "
            "is it a checkpoint?"
        )
    content = dict(content)
    if not isinstance(content.get("model"), dict):
        if isinstance(content.get("ema_model"), dict):
            content["model"] = content["ema_model"]
        elif content and all(isinstance(value, Tensor) for value in content.values()):
            content = {"model": content}
        else:
            raise InputError(
                f"{path} holds {sorted(map(str, content))[:5]}, expected 'model', a dict of "
                "tensors; is it a checkpoint?"
            )
    for key in ("model", "ema_model"):
        if isinstance(content.get(key), dict):
            content[key] = library_names(content[key])
    args = content.get("args")
    settings = content.get(_SETTINGS, vars(args) if isinstance(args, argparse.Namespace) else {})
    content[_SETTINGS] = dict(settings) if isinstance(settings, Mapping) else {}
    return content


def library_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of any published spelling under the names this library uses."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise InputError(
                f"the weights hold {name!r} of type {type(value).__name__}, expected tensors only"
            )
        name = name.removeprefix("module.")
        if name.endswith(_INDEX_TABLE):
            continue
        name = _SECOND_COPY.sub(r"\1.", name)
        if name in renamed and not torch.equal(renamed[name], value):
            raise InputError(
                f"the weights hold two different tensors for {name!r}, expected one head stored "
                "twice; the file is not a Group Pose checkpoint"
            )
        renamed[name] = value
    return renamed


def published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the published names: the heads twice, Swin's index tables included."""
    published = {}
    for name, value in state.items():
        published[name] = value
        if _HEADS.match(name):
            published[f"transformer.decoder.{name}"] = value
        if name.endswith("relative_position_bias_table"):
            table = name.replace("relative_position_bias_table", _INDEX_TABLE)
            published[table] = _index_table(round(value.shape[0] ** 0.5 + 1) // 2)
    return published


def _index_table(window: int) -> Tensor:
    """(window^2, window^2): which row of the bias table belongs to each pair of positions."""
    axis = torch.arange(window)
    y, x = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing="ij"))
    offset = window - 1
    return (y[:, None] - y + offset) * (2 * window - 1) + (x[:, None] - x + offset)


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Any]) -> None:
    """Loads weights into a model, strictly: every name must fit, none may be missing.

    Args:
        source: a file, a state dict, or a dict with "model"; our own or the published names.
    """
    where = "the state dict"
    if isinstance(source, str | Path):
        where = str(source)
        state = read_checkpoint(source)["model"]
    else:
        nested = source.get("model")
        state = library_names(nested if isinstance(nested, Mapping) else source)
    own = model.state_dict()
    missing = sorted(own.keys() - state.keys())
    extra = sorted(state.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or extra or shapes:
        raise InputError(f"{where} does not fit the model: " + _misfit(own, state, missing, extra))
    model.load_state_dict(state)


def _misfit(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], missing: list[str], extra: list[str]
) -> str:
    """Says which setting to change; else which names differ."""
    mine, theirs = infer_settings(own), infer_settings(state)
    different = [k for k in mine if k in theirs and mine[k] != theirs[k]]
    if different:
        found = ", ".join(
            f"{key} is {theirs[key]!r} there, {mine[key]!r} here" for key in different
        )
        change = ", ".join(
            f"--backbone {theirs[k]}" if k == "backbone" else f"{k}={theirs[k]}" for k in different
        )
        return f"{found}; set {change}"
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    wrong = [f"{k} is {tuple(state[k].shape)}, not {tuple(own[k].shape)}" for k in shapes[:1]]
    return (
        f"{len(missing)} names are missing (first: {missing[:1]}), {len(extra)} are unknown "
        f"(first: {extra[:1]}), {len(shapes)} have another shape (first: {wrong}); "
        "is it a Group Pose checkpoint, and the config the one it was trained with?"
    )


_SWIN_BY_SIZE = {  # channels of the first stage, rows of the position table: published name
    (96, 169): "swin_T_224_1k",
    (128, 169): "swin_B_224_22k",
    (128, 529): "swin_B_384_22k",
    (192, 169): "swin_L_224_22k",
    (192, 529): "swin_L_384_22k",
}
_RESNET_BY_SIZE = {  # blocks of the third stage, channels out of it: name
    (2, 256): "resnet18",
    (6, 256): "resnet34",
    (6, 1024): "resnet50",
    (23, 1024): "resnet101",
    (2, 96): "resnet18s",
}


def infer_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that can be read off the shapes of weights (library names)."""
    found: dict[str, Any] = {}
    keypoints = _matrix(state, "transformer.keypoint_embedding.weight")
    if keypoints is not None:
        found["num_body_points"], found["hidden_dim"] = keypoints.shape
    feedforward = _matrix(state, "transformer.encoder.layers.0.linear1.weight")
    if feedforward is not None:
        found["dim_feedforward"] = feedforward.shape[0]
    levels = _matrix(state, "transformer.level_embed")
    if levels is not None:
        found["num_feature_levels"] = levels.shape[0]
    for key, part in (("enc_layers", "encoder"), ("dec_layers", "decoder")):
        found[key] = _count(state, rf"transformer\.{part}\.layers\.(\d+)\.")
    backbone = _infer_backbone(state)
    if backbone:
        found["backbone"] = backbone
    return found


def _matrix(state: Mapping[str, Tensor], name: str) -> Tensor | None:
    value = state.get(name)
    return value if value is not None and value.ndim == 2 else None


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max((int(m[1]) for name in state if (m := re.match(pattern, name))), default=-1)


def _infer_backbone(state: Mapping[str, Tensor]) -> str | None:
    patches = state.get("backbone.0.patch_embed.proj.weight")
    table = _matrix(state, "backbone.0.layers.0.blocks.0.attn.relative_position_bias_table")
    if patches is not None and patches.ndim and table is not None:
        return _SWIN_BY_SIZE.get((patches.shape[0], table.shape[0]))
    blocks = _count(state, r"backbone\.0\.body\.layer3\.(\d+)\.")
    last = [n for n in state if re.match(r"backbone\.0\.body\.layer3\.0\.conv\d\.weight", n)]
    out = state[max(last)].shape[:1] if last else ()
    return _RESNET_BY_SIZE.get((blocks, *out))


def write_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes tensors and plain containers; the old file stays until the new one is whole."""
    write_whole(Path(path), lambda temporary: torch.save(dict(content), temporary))


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Writes weights and settings as safetensors, for `load_model` and `load_weights`."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    _save_safetensors(state, getattr(model, "settings", {}), Path(path))


def _save_safetensors(state: dict[str, Tensor], settings: Mapping[str, Any], path: Path) -> None:
    metadata = {"format": "pt", _SETTINGS: json.dumps(dict(settings), default=str)}
    write_whole(path, lambda temporary: safetensors.torch.save_file(state, temporary, metadata))


def convert(source: Path, target: Path, to: str = "own", dtype: str | None = None) -> str:
    """Rewrites a file of weights as ours (safetensors) or as published.

    Args:
        source: ours or published.
        target: to write.
        to: "own" or "published".
        dtype: "float16", "bfloat16" or "float32" for all weights; None: tensors stay as they are.

    Returns:
        A line that says what was written.
    """
    content = read_checkpoint(source)
    state, settings = content["model"], content[_SETTINGS]
    if dtype is not None:
        kind = getattr(torch, dtype)
        state = {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}
    settings = {**settings, **infer_settings(state)}
    if to == "published":
        if target.suffix == ".safetensors":
            raise InputError(
                f"{target} ends in .safetensors, but published checkpoints are PyTorch files; "
                "choose a name that ends in .pth"
            )
        args = argparse.Namespace(**settings)
        write_checkpoint(target, {"model": published_names(state), "args": args})
    else:
        if target.suffix != ".safetensors":
            raise InputError(f"{target}: our own files end in .safetensors; choose such a name")
        plain = {k: v for k, v in settings.items() if _is_plain(v)}
        _save_safetensors({k: v.contiguous() for k, v in state.items()}, plain, target)
    return f"{target}: {len(state)} tensors, {to} names"


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def main(argv: list[str] | None = None) -> int:
    """The command line of `python -m grouppose.checkpoints`."""
    parser = Parser(prog="python -m grouppose.checkpoints")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("convert", help="rewrite a file of weights")
    command.add_argument("source", type=Path, metavar="IN")
    command.add_argument("target", type=Path, metavar="OUT")
    command.add_argument("--to", choices=("own", "published"), default="own")
    command.add_argument("--dtype", choices=("float16", "bfloat16", "float32"))
    args = parser.parse_args(argv)
    return exit_status(lambda: _convert(args))


def _convert(args: argparse.Namespace) -> None:
    line = convert(args.source, args.target, args.to, args.dtype)
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
