"""Backbones: a normalised picture in, maps of strides 8, 16 and 32 out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from grouppose.backbones import resnet, swin
from grouppose.backbones.pretrained import load_imagenet
from grouppose.backbones.resnet import RESNETS, SMALL_RESNETS, ResNet
from grouppose.backbones.swin import SWINS, Swin
from grouppose.errors import InputError, MissingFileError, SettingNameError, nearest

BACKBONES = (*RESNETS, *SMALL_RESNETS, *SWINS)


def build_backbone(
    name: str,
    pretrained: str | Path | None = None,
    dilation: bool = False,
    use_checkpoint: bool = False,
) -> nn.Module:
    """Builds a backbone by its published name.

    Args:
        name: one of `BACKBONES`.
        pretrained: a file of ImageNet weights, "imagenet" (torchvision's download, ResNets only)
            or None.
        dilation: stride 16 with dilation in the last stage (ResNets only).
        use_checkpoint: recompute blocks in the backward pass, to save memory.

    Returns:
        A module with `num_channels`, the channels of its three maps.
    """
    if name not in BACKBONES:
        raise SettingNameError(f"no backbone {name!r}; {nearest(name, BACKBONES)}")
    if name in SWINS:
        backbone: nn.Module = Swin(name, use_checkpoint)
    else:
        backbone = ResNet(name, dilation, use_checkpoint)
    if pretrained is not None:
        load_imagenet(backbone, name, pretrained)
    return backbone


def imagenet_source(
    name: str, given: str | None, folder: str | Path | None = None
) -> str | Path | None:
    """Where a backbone's ImageNet weights come from, as `build_backbone` takes it.

    Args:
        name: of the backbone.
        given: a file, "imagenet" or None.
        folder: of the Swin Transformer release's files, before what is given.
    """
    if folder:
        return str(pretrained_file(name, folder))
    if name in SWINS and given == "imagenet":
        raise InputError(
            f"{name} starts from ImageNet weights; give their folder with "
            "--swin_pretrain_path, or --options pretrained_backbone=none"
        )
    return given


def pretrained_file(name: str, folder: str | Path) -> Path:
    """The file of ImageNet weights that a Swin backbone starts from, in `folder`."""
    if name not in SWINS:
        raise SettingNameError(f"{name!r} is no Swin backbone; {nearest(name, SWINS)}")
    path = Path(folder) / SWINS[name][1]
    if not path.is_file():
        raise MissingFileError(
            f"no file {path}, expected the ImageNet weights of {name}; download it from the Swin "
            "Transformer release and give its folder with --swin_pretrain_path"
        )
    return path


def find_backbone(state: Mapping[str, Tensor]) -> str | None:
    """The name of the backbone that weights are of, by their names and shapes.

    Args:
        state: names as in the backbone, or as in a file of its ImageNet weights.
    """
    return resnet.find_name(state) or swin.find_name(state)
