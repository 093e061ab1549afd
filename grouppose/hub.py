"""Weights from the Hugging Face Hub: "hf:owner/name", "hf:owner/name/file", "hf:owner/name@v1"."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grouppose.errors import InputError, UserError

PREFIX = "hf:"
USUAL = "model.safetensors"
_NAME = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?")
_ENDINGS = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".bin")


def local(path: str | Path) -> Path:
    """The file of this name; one of the Hub is downloaded, unless it was before."""
    return fetch(str(path)) if str(path).startswith(PREFIX) else Path(path)


def fetch(name: str) -> Path:
    """Downloads a file of weights into huggingface_hub's own cache.

    Args:
        name: of a repository or of a file in it; the address of the Hub is HF_ENDPOINT's.

    Raises:
        InputError: one line, for whatever went wrong.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise InputError(f"{name}: expected hf:owner/name, hf:owner/name/file or hf:owner/name@v1")
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise InputError(
            f"{name} needs huggingface_hub; pip install huggingface_hub, or fetch the file by hand"
        ) from error
    repository, revision, file = match.groups()
    place: dict[str, Any] = {"revision": revision}
    try:
        if file is None:
            file = weights_among(_files(huggingface_hub, repository, place), name)
        place["endpoint"] = os.environ.get("HF_ENDPOINT")
        return Path(huggingface_hub.hf_hub_download(repository, file, **place))
    except UserError:
        raise
    except (OSError, ValueError, errors.HTTPError) as error:
        raise InputError(f"{name} cannot be fetched: {_reason(errors, error)}") from error


def _files(huggingface_hub: Any, repository: str, place: dict[str, Any]) -> list[str]:
    """Names of a repository's files; without a connection, of those fetched before."""
    api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        return [file.rfilename for file in api.model_info(repository, **place).siblings or ()]
    except huggingface_hub.errors.HfHubHTTPError:  # a mirror may list nothing
        return [USUAL]
    except (OSError, huggingface_hub.errors.HTTPError):
        folder = Path(huggingface_hub.snapshot_download(repository, **place, local_files_only=True))
        return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def weights_among(files: Sequence[str], name: str) -> str:
    """The one file of weights of a repository: safetensors before others."""
    found = [file for file in files if file.endswith(_ENDINGS)]
    best = [file for file in found if file.endswith(".safetensors")] or found
    if len(best) == 1:
        return best[0]
    if USUAL in best:
        return USUAL
    what = f"{len(best)} files of weights ({', '.join(sorted(best)[:5])})" if best else "none"
    raise InputError(
        f"{name} has {what}, expected one; add a file's name: {name}/{sorted(best or ['FILE'])[0]}"
    )


def _reason(errors: Any, error: Exception) -> str:
    if isinstance(error, errors.GatedRepoError):
        return "its page asks for an agreement first; give it there and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository, or a private one; check the name, or log in (`hf auth login`)"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision; check what stands after @"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "no connection, and it was not fetched before; try later, or give a local file"
    if isinstance(error, errors.EntryNotFoundError):
        return "no such file in that repository; check the name"
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return f"{first}; check the connection, or fetch the file by hand"
