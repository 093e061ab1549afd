"""Files of weights, read without running code from them. What names mean, a family knows."""

from __future__ import annotations

import argparse
import importlib
import json
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from grouppose.errors import InputError, MissingFileError
from grouppose.files import write_whole
from grouppose.hub import local

_WRAPPED = re.compile(  # what parallel and compiled models put into names
    r"^(?:module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.|_fsdp_wrapped_module\.|"
    r"_checkpoint_wrapped_module\."
)
_WEIGHTS = ("model", "ema_model", "state_dict", "model_state_dict")  # where weights may lie
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
        path: safetensors, or a PyTorch file that holds a state dict, or a dict with one as "model",
            "ema_model", "state_dict" or "model_state_dict"; or one of `grouppose.hub`'s names.

    Returns:
        A dict with at least "model", a state dict under the names that the file has, and
        "settings", what it says of the model it belongs to ({} if nothing); further entries as
        they are.
    """
    path = local(path)
    if not path.is_file():
        if path.is_dir():
            raise InputError(f"{path} is a folder, expected a checkpoint; name a file in it")
        raise MissingFileError(f"no file {path}, expected a checkpoint; check the path")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        damaged = _damaged_part(path)
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of odd pickles, which are refused
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
    settings = settings if isinstance(settings, dict) else {}
    return {"model": plain_names(state, f"the weights of {path}"), _SETTINGS: settings}


def _arrange(path: Path, content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds a {type(content).__name__}, expected a dict of weights; "
            "is it a checkpoint?"
        )
    weights = weights_in(content)
    if weights is None:
        raise InputError(
            f"{path} holds {sorted(map(str, content))[:5]}, expected 'model', a dict of "
            f"tensors (or {', '.join(map(repr, _WEIGHTS[1:]))}); is it a checkpoint?"
        )
    content = {} if weights is content else dict(content)
    content["model"] = plain_names(weights, f"the weights of {path}")
    if isinstance(content.get("ema_model"), Mapping):
        content["ema_model"] = plain_names(content["ema_model"], f"the weights of {path}")
    args = content.get("args")
    settings = content.get(_SETTINGS, vars(args) if isinstance(args, argparse.Namespace) else {})
    content[_SETTINGS] = dict(settings) if isinstance(settings, Mapping) else {}
    return content


def weights_in(content: Mapping[str, Any]) -> Mapping[str, Tensor] | None:
    """The state dict of a file's content: one of its entries, or all of it; None if there is none.

    An entry of such a name that is no dict is something else, as the name of a model.
    """
    for key in _WEIGHTS:
        if isinstance(content.get(key), Mapping):
            return content[key]
    is_state = content and all(isinstance(value, Tensor) for value in content.values())
    return content if is_state else None


def plain_names(state: Mapping[str, Tensor], where: str = "the weights") -> dict[str, Tensor]:
    """A state dict without what parallel and compiled models put into its names.

    Args:
        where: what error messages call the weights.
    """
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise InputError(
                f"{where} hold {name!r} of type {type(value).__name__}, expected tensors only"
            )
        name = _WRAPPED.sub("", name)
        if name in plain and not same_tensor(plain[name], value):
            raise InputError(f"{where} hold two different tensors for {name!r}, expected one")
        plain[name] = value
    return plain


def same_tensor(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same type, shape and numbers."""
    return a.dtype == b.dtype and torch.equal(a, b)


def write_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes tensors and plain containers; the old file stays until the new one is whole."""
    write_whole(Path(path), lambda temporary: torch.save(dict(content), temporary))


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Writes weights and settings as safetensors, for `load_model` and `load_weights`."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_safetensors(path, state, getattr(model, "settings", {}))


def write_safetensors(
    path: str | Path, state: dict[str, Tensor], settings: Mapping[str, Any]
) -> None:
    """Writes a state dict with settings, which are kept as JSON; tied weights are written apart."""
    seen: set[int] = set()
    for name, value in state.items():
        place = value.untyped_storage().data_ptr()
        if place in seen:
            state = {**state, name: value.clone()}
        seen.add(place)
    metadata = {"format": "pt", _SETTINGS: json.dumps(dict(settings), default=str)}
    write_whole(
        Path(path), lambda temporary: safetensors.torch.save_file(state, temporary, metadata)
    )


def __getattr__(name: str) -> Any:
    """`published_names`, which a family knows now, under the address that it had."""
    if name == "published_names":
        return importlib.import_module("grouppose.models").published_names
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
