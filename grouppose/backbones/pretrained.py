"""ImageNet weights for backbones: torchvision's ResNet files and the Swin authors' release."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch.nn.functional as F
from torch import Tensor, nn

from grouppose.backbones.resnet import RESNETS
from grouppose.backbones.swin import SWINS
from grouppose.checkpoints import read_checkpoint
from grouppose.errors import InputError


def load_imagenet(backbone: nn.Module, name: str, source: str | Path) -> None:
    """Loads ImageNet weights into a backbone; only the classifier and output norms may differ.

    Args:
        source: a local file, or "imagenet" for torchvision's download (ResNets only).
    """
    state = _download(name) if source == "imagenet" else read_checkpoint(source)["model"]
    ignored = ("fc.", "head.", "norm.")
    state = {
        key: value
        for key, value in state.items()
        if not key.startswith(ignored)
        and not key.endswith(("num_batches_tracked", "relative_position_index", "attn_mask"))
    }
    body = backbone.body if hasattr(backbone, "body") else backbone
    if name in SWINS:
        state = _fit_position_tables(state, body.state_dict())
    _load(body, state, name, source)


def _load(body: nn.Module, state: dict[str, Tensor], name: str, source: str | Path) -> None:
    own = body.state_dict()
    output_norms = {key for key in own if key.startswith(("norm1.", "norm2.", "norm3."))}
    missing = sorted(
        key for key in own.keys() - state.keys() - output_norms if "num_batches" not in key
    )
    wrong = sorted(key for key in state if key not in own or state[key].shape != own[key].shape)
    if missing or wrong:
        raise InputError(
            f"{source} does not hold ImageNet weights of {name}: {len(missing)} names are missing"
            f" (first: {missing[:1]}), {len(wrong)} do not fit (first: {wrong[:1]}); "
            "change --backbone or the file"
        )
    body.load_state_dict(state, strict=False)


def _fit_position_tables(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Resamples relative position tables ((2w - 1)^2, heads) to the window of this network."""
    fitted = dict(state)
    for key, table in state.items():
        if not key.endswith("relative_position_bias_table") or key not in own:
            continue
        if table.shape != own[key].shape and table.shape[1] == own[key].shape[1]:
            old, new = (round(t.shape[0] ** 0.5) for t in (table, own[key]))
            grid = table.T.view(1, -1, old, old)
            grid = F.interpolate(grid, size=(new, new), mode="bicubic")
            fitted[key] = grid.view(-1, new * new).T.contiguous()
    return fitted


def _download(name: str) -> dict[str, Tensor]:
    if name not in RESNETS:
        raise InputError(
            f"pretrained_backbone='imagenet' is for {', '.join(RESNETS)}, not for {name}; "
            "give a file, or None to start from random weights"
        )
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).IMAGENET1K_V1
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError) as error:
        raise InputError(
            f"could not download the ImageNet weights of {name} from {weights.url} ({error}); "
            "fetch that file elsewhere and give it as pretrained_backbone=FILE, "
            "or None to start from random weights"
        ) from error
