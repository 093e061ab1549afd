"""ResNet backbones: the usual ones with frozen batch norm, and a small one to train from scratch.

Parameters are named as in torchvision, whose ImageNet weights load. The networks are written out
here as importing torchvision or timm takes a second and 150 MB, a large part of what the first
picture needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.checkpoint import checkpoint

_DEPTHS = {  # blocks of each stage; whether they are bottlenecks
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet18s": ((2, 2, 2, 2), False),
}
SMALL_RESNETS = ("resnet18s",)
RESNETS = tuple(name for name in _DEPTHS if name not in SMALL_RESNETS)
_BY_SIZE = {  # blocks of the third stage, channels out of it: name
    (2, 256): "resnet18",
    (6, 256): "resnet34",
    (6, 1024): "resnet50",
    (23, 1024): "resnet101",
    (2, 96): "resnet18s",
}
_THIRD_STAGE = re.compile(r"(?:body\.)?layer3\.(\d+)\.conv\d\.weight$")


class FrozenBatchNorm2d(nn.Module):
    """Batch norm in evaluation mode; its four vectors are buffers, which nothing trains."""

    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            self.register_buffer(name, torch.full((channels,), float(value)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        shift, scale = (v[:, None, None].to(x.dtype) for v in (shift, scale))
        return torch.addcmul(shift, x, scale)


class Block(nn.Module):
    """Convolutions beside a shortcut (He et al. 2015): 3x3 twice, or 1x1, 3x3, 1x1 (a bottleneck).

    The first 3x3 has the stride, as in torchvision's networks; `dilations` are of the first 3x3 and
    of the second.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        stride: int,
        dilations: tuple[int, int],
        bottleneck: bool,
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        first, second = dilations
        if bottleneck:
            conv1 = _convolution(channels, width, 1)
            conv2 = _convolution(width, width, 3, stride, first)
        else:
            conv1 = _convolution(channels, width, 3, stride, first)
            conv2 = _convolution(width, width, 3, 1, second)
        self.conv1, self.bn1 = conv1, norm(width)
        self.conv2, self.bn2 = conv2, norm(width)
        if bottleneck:
            self.conv3 = _convolution(width, out, 1)
            self.bn3 = norm(out)
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(_convolution(channels, out, 1, stride), norm(out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu_()))
        if hasattr(self, "conv3"):
            out = self.bn3(self.conv3(out.relu_()))
        out += x if self.downsample is None else self.downsample(x)
        return out.relu_()


class ResNet(nn.Module):
    """Stages 2 to 4 of a ResNet: strides 8, 16, 32.

    The usual ones carry frozen batch norm and a frozen stem and first stage, as they are fine-tuned
    from ImageNet. `resnet18s` (widths 32 to 160) trains everything; its stem is 3x3 convolutions
    only, as pooling takes longer on CPUs.

    Args:
        name: one of `RESNETS` or `SMALL_RESNETS`.
        dilation: the last stage has dilation 2 instead of its stride.
        use_checkpoint: recompute stages in the backward pass, to save memory.
    """

    def __init__(self, name: str, dilation: bool = False, use_checkpoint: bool = False) -> None:
        super().__init__()
        self.use_checkpoint = use_checkpoint
        depths, bottleneck = _DEPTHS[name]
        small = name in SMALL_RESNETS
        widths = (32, 64, 96, 160) if small else (64, 128, 256, 512)
        norm = nn.BatchNorm2d if small else FrozenBatchNorm2d
        self.body = _small_stem(widths[0]) if small else _stem()
        channels = widths[0]
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
            dilated = dilation and i == 4
            blocks = []
            for j in range(depth):
                stride = 2 if i > 1 and j == 0 and not dilated else 1
                dilations = (2 if dilated and j else 1, 2 if dilated else 1)
                blocks.append(Block(channels, width, stride, dilations, bottleneck, norm))
                channels = 4 * width if bottleneck else width
            self.body[f"layer{i}"] = nn.Sequential(*blocks)
        self.num_channels = tuple(4 * w if bottleneck else w for w in widths[1:])
        nn.Linear(channels, 1000)  # draws a classifier's weights: seeds give torchvision's networks
        self._reset_parameters()
        if not small:
            self.body["conv1"].requires_grad_(False)
            self.body["layer1"].requires_grad_(False)

    def _reset_parameters(self) -> None:
        """Variances are kept backwards (He et al. 2015); a trained block starts as its shortcut."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Block) and isinstance(module.bn2, nn.BatchNorm2d):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> three maps (B, C_l, H / s, W / s), s = 8, 16, 32."""
        body = self.body
        x = body["maxpool"](body["bn1"](body["conv1"](x)).relu_())
        x = body["layer1"](x)
        features = []
        for stage in (body["layer2"], body["layer3"], body["layer4"]):
            if self.use_checkpoint and self.training:
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
            features.append(x)
        return features


def _convolution(
    channels: int, out: int, size: int, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    padding = size // 2 * dilation
    return nn.Conv2d(channels, out, size, stride, padding, dilation, bias=False)


def _stem() -> nn.ModuleDict:
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    parts = {"conv1": _convolution(3, 64, 7, 2), "bn1": FrozenBatchNorm2d(64), "maxpool": pool}
    return nn.ModuleDict(parts)


def _small_stem(width: int) -> nn.ModuleDict:
    def normalised(channels: int, out: int, stride: int) -> list[nn.Module]:
        parts = [_convolution(channels, out, 3, stride), nn.BatchNorm2d(out)]
        return [*parts, nn.ReLU(inplace=True)]

    half = width // 2
    first = [*normalised(3, half, 2), *normalised(half, half, 1), _convolution(half, width, 3)]
    parts = {
        "conv1": nn.Sequential(*first),
        "bn1": nn.BatchNorm2d(width),
        "maxpool": nn.Sequential(*normalised(width, width, 2)),
    }
    return nn.ModuleDict(parts)


def find_name(state: Mapping[str, Tensor]) -> str | None:
    """The ResNet that weights are of, by the blocks and channels of the third stage."""
    blocks = {name: int(m[1]) for name in state if (m := _THIRD_STAGE.match(name))}
    first = [name for name, number in blocks.items() if number == 0]
    channels = state[max(first)].shape[:1] if first else ()
    return _BY_SIZE.get((1 + max(blocks.values(), default=-1), *channels))


def fold_batch_norm(module: nn.Module) -> None:
    """Puts every batch norm of evaluation mode into the convolution before it.

    Each must follow its convolution in the order in which the modules were made.
    """
    leaves = [(name, m) for name, m in module.named_modules() if not any(m.children())]
    for (_, before), (name, norm) in pairwise(leaves):
        if isinstance(norm, nn.BatchNorm2d | FrozenBatchNorm2d):
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight,
                before.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            module.set_submodule(name, nn.Identity())
