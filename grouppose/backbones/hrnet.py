"""HRNet trunks (https://arxiv.org/abs/1908.07919), timm's: four maps of strides 4, 8, 16 and 32.

timm's network has the published names and shapes, entry by entry, and the same outputs to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grouppose.checkpoints import read_checkpoint
from grouppose.errors import InputError, SettingNameError, nearest

HRNETS = ("hrnet_w32", "hrnet_w48", "hrnet_w18", "hrnet_w18_small_v2", "hrnet_w18_small")
IMAGENET_FILES = {  # what their authors call the files of ImageNet weights
    "hrnet_w32": "hrnet_w32-36af842e.pth",
    "hrnet_w48": "hrnetv2_w48_imagenet_pretrained.pth",
}
_BY_SIZE = {  # channels of the finest map, modules of the third stage: name
    (32, 4): "hrnet_w32",
    (48, 4): "hrnet_w48",
    (18, 4): "hrnet_w18",
    (18, 3): "hrnet_w18_small_v2",
    (16, 1): "hrnet_w18_small",
}
STRIDE = 32  # what sides of pictures must be multiples of
_CLASSIFIER = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.", "last_layer.")


class HRNet(nn.Module):
    """The trunk; its children have the published names, from conv1 to stage4.

    Args:
        name: one of `HRNETS`.

    Attributes:
        num_channels: of the four maps.
    """

    def __init__(self, name: str) -> None:
        import timm  # takes longer to import than torch

        super().__init__()
        if name not in HRNETS:
            raise SettingNameError(f"no backbone {name!r}; {nearest(name, HRNETS)}")
        trunk = timm.create_model(
            name, features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
        )
        self.num_channels = tuple(trunk.feature_info.channels())
        for child in ("conv1", "bn1", "conv2", "bn2", "layer1"):
            self.add_module(child, getattr(trunk, child))
        for i in (1, 2, 3):
            self.add_module(f"transition{i}", getattr(trunk, f"transition{i}"))
            self.add_module(f"stage{i + 1}", getattr(trunk, f"stage{i + 1}"))

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised, sides multiples of 32 -> four maps (B, C_l, H / s, W / s)."""
        x = F.relu(self.bn1(self.conv1(images)))
        x = F.relu(self.bn2(self.conv2(x)))
        maps = [self.layer1(x)]
        for i in (1, 2, 3):
            transitions, stage = getattr(self, f"transition{i}"), getattr(self, f"stage{i + 1}")
            branches = [
                maps[j] if isinstance(step, nn.Identity) else step(maps[-1])
                for j, step in enumerate(transitions)
            ]
            maps = stage(branches)
        return maps

    forward = maps

    def optimize_for_inference(self) -> HRNet:
        """Makes this model ready for inference and gives it back; nothing trains any more."""
        return self.eval().requires_grad_(False)


def stacked(maps: Sequence[Tensor]) -> Tensor:
    """The maps at the size of the first, bilinearly, behind one another: (B, sum C_l, h, w)."""
    size = maps[0].shape[-2:]
    others = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in maps[1:]]
    return torch.cat([maps[0], *others], 1)


def find_name(state: Mapping[str, Tensor]) -> str | None:
    """The trunk that weights are of, by names and shapes; None: of none that is known here."""
    first = state.get("transition1.0.0.weight")
    modules = {name.split(".")[1] for name in state if name.startswith("stage3.")}
    return None if first is None else _BY_SIZE.get((first.shape[0], len(modules)))


def load_imagenet(trunk: nn.Module, name: str, source: str | Path) -> None:
    """Loads ImageNet weights by name into a trunk; what belongs to the classifier is left out.

    Args:
        trunk: an `HRNet`, or a network that has its children.
        name: of the backbone.
        source: a file of the published names, or "imagenet": timm's download.
    """
    state = _download(name) if source == "imagenet" else read_checkpoint(source)["model"]
    own = HRNet(name).state_dict()
    state = {key: value for key, value in state.items() if not key.startswith(_CLASSIFIER)}
    missing = sorted(k for k in own.keys() - state.keys() if "num_batches" not in k)
    wrong = sorted(k for k in state if k not in own or own[k].shape != state[k].shape)
    if missing or wrong:
        raise InputError(
            f"{source} does not hold ImageNet weights of {name}: {len(missing)} names are missing"
            f" (first: {missing[:1]}), {len(wrong)} do not fit (first: {wrong[:1]}); "
            "change --backbone or the file"
        )
    trunk.load_state_dict(state, strict=False)


def _download(name: str) -> Mapping[str, Tensor]:
    import timm

    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:  # no network, no such file
        file = IMAGENET_FILES.get(name, "its file")
        raise InputError(
            f"could not download timm's ImageNet weights of {name} ({error}); fetch {file} "
            "elsewhere and give it as pretrained_backbone=FILE, or start from random weights (None)"
        ) from error
