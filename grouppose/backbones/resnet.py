"""ResNet backbones: torchvision's with frozen batch norm, and a small one to train from scratch.

torchvision and timm are imported where they are used: they take longer to import than torch.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.checkpoint import checkpoint

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
SMALL_RESNETS = ("resnet18s",)


class ResNet(nn.Module):
    """Stages 2 to 4 of a ResNet: strides 8, 16, 32.

    torchvision's ResNets carry frozen batch norm and a frozen stem and first stage, as they are
    fine-tuned from ImageNet; `resnet18s` (widths 32 to 160) trains everything.
    """

    def __init__(self, name: str, dilation: bool = False, use_checkpoint: bool = False) -> None:
        super().__init__()
        self.use_checkpoint = use_checkpoint
        if name in SMALL_RESNETS:
            from timm.models.resnet import BasicBlock
            from timm.models.resnet import ResNet as TimmResNet

            widths = (32, 64, 96, 160)
            self.body = TimmResNet(
                BasicBlock,
                [2, 2, 2, 2],
                channels=widths,
                stem_type="deep",
                stem_width=16,
                replace_stem_pool=True,  # a convolution; pooling takes longer on CPUs
            )
            self.body.relu = self.body.act1
            self.num_channels = widths[1:]
        else:
            from torchvision import models
            from torchvision.ops import FrozenBatchNorm2d

            self.body = getattr(models, name)(
                replace_stride_with_dilation=[False, False, dilation] if dilation else None,
                norm_layer=FrozenBatchNorm2d,
            )
            self._freeze_first_stage()
            last = 512 if name in ("resnet18", "resnet34") else 2048
            self.num_channels = (last // 4, last // 2, last)
        del self.body.fc

    def _freeze_first_stage(self) -> None:
        for part in (self.body.conv1, self.body.layer1):
            part.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> three maps (B, C_l, H / s, W / s), s = 8, 16, 32."""
        body = self.body
        x = body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(x)))))
        features = []
        for stage in (body.layer2, body.layer3, body.layer4):
            if self.use_checkpoint and self.training:
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
            features.append(x)
        return features


def fold_batch_norm(module: nn.Module) -> None:
    """Puts every batch norm of evaluation mode into the convolution before it.

    Each must follow its convolution in the order in which the modules were made.
    """
    from torchvision.ops import FrozenBatchNorm2d

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
