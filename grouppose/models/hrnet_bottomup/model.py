"""The bottom-up HRNet that ranks heatmap-guided poses (https://arxiv.org/abs/2006.15480)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grouppose.backbones.hrnet import STRIDE, HRNet, stacked
from grouppose.layers.adaptive import DeformableConvolution, regular_grid, still, tap_offsets
from grouppose.layers.images import ImageNormalisation, check_images

DILATIONS = (1, 2, 3)  # of the heatmap branches


class DoubleAdaptiveBlock(nn.Module):
    """Two adaptive convolutions beside a shortcut; both matrices come from the block's input."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.register_buffer("regular_matrix", regular_grid())
        for i in (1, 2):
            matrix = still(nn.Conv2d(channels, 4, 3, padding=1))
            self.add_module(f"transform_matrix_conv{i}", matrix)
            self.add_module(f"stn_conv{i}", DeformableConvolution(channels, dilation))
            self.add_module(f"bn{i}", nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        first = tap_offsets(self.transform_matrix_conv1(x), self.regular_matrix)
        second = tap_offsets(self.transform_matrix_conv2(x), self.regular_matrix)
        y = self.bn1(self.stn_conv1(x, first)).relu_()
        return (self.bn2(self.stn_conv2(y, second)) + x).relu_()

    def share_weights(self, other: DoubleAdaptiveBlock) -> None:
        """Takes the other block's four convolution weights; biases and norms stay its own."""
        for i in (1, 2):
            for name in (f"transform_matrix_conv{i}", f"stn_conv{i}"):
                getattr(self, name).weight = getattr(other, name).weight


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        y = self.bn1(self.conv1(x)).relu_()
        return (self.bn2(self.conv2(y)) + x).relu_()


class HRNetBottomUp(HRNet):
    """Heatmaps from three dilated branches, and offsets guided by them.

    The trunk's children stand at the top level, as in the published files.

    Args:
        backbone: a name of `grouppose.backbones.hrnet.HRNETS`.
        num_keypoints: K.
        higher: also give heatmaps of the keypoints at stride 2.
        width: channels of the features that offsets come from.
    """

    def __init__(
        self, *, backbone: str, num_keypoints: int, higher: bool = False, width: int = 256
    ) -> None:
        super().__init__(backbone)
        count, channels, features = num_keypoints, self.num_channels[0], sum(self.num_channels)
        self.normalise = ImageNormalisation()
        self.transition_cls = project(features, channels)
        self.transition_reg = project(features + count, width)
        branches = [DoubleAdaptiveBlock(channels, dilation) for dilation in DILATIONS]
        for branch in branches[1:]:
            branch.share_weights(branches[0])
        self.multi_level_layers_4x_heatmap = nn.ModuleList(nn.Sequential(b) for b in branches)
        regression = DoubleAdaptiveBlock(width)
        self.multi_level_layers_4x_regression = nn.ModuleList([nn.Sequential(regression)])
        heads = [nn.Conv2d(channels, count, 1), nn.Conv2d(width, 2 * count + 1, 1)]
        if higher:
            upsampling = nn.Sequential(
                nn.ConvTranspose2d(channels + count, channels, 4, 2, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            block = nn.Sequential(BasicBlock(channels))
            self.deconv_layers = nn.ModuleList([nn.Sequential(upsampling, block)])
            heads.append(nn.Conv2d(channels, count, 1))
        else:  # published: computed three times a step
            self.transition_cls[1].momentum = 1 - (1 - self.transition_cls[1].momentum) ** 3
        self.final_layers = nn.ModuleList(heads)
        self.higher = higher

    def forward(self, images: Tensor, padding: Tensor | None = None) -> dict[str, Tensor]:
        """Computes the maps of keypoints and people's centres.

        Args:
            images: (B, 3, H, W) RGB, uint8, or float in [0, 1]; normalised here. Sides are
                multiples of 32.
            padding: (B, H, W) bool, True = the mean colour; None: nowhere.

        Returns:
            float32, h = H / 4, w = W / 4: heatmaps (B, K + 1, h, w), the centre's last; offsets
            (B, 2K, h, w), cell - keypoint in cells, x and y of each. `higher` models also give
            branch_heatmaps (B, 3 (K + 1), h, w) of the three branches (heatmaps are then their
            maximum, else their mean) and fine_heatmaps (B, K, H / 2, W / 2).
        """
        check_images(images, STRIDE)
        x = stacked(self.maps(self.normalise(images, padding)))
        c = self.transition_cls(x)
        branches = [self.final_layers[0](b(c)) for b in self.multi_level_layers_4x_heatmap]
        mean = torch.stack(branches).mean(0)
        r = self.transition_reg(torch.cat([x, mean], 1))
        r = self.final_layers[1](self.multi_level_layers_4x_regression[0](r)).float()
        offsets, centre = r[:, :-1], r[:, -1:]
        if not self.higher:
            return {"heatmaps": torch.cat([mean.float(), centre], 1), "offsets": offsets}
        branches = [torch.cat([branch.float(), centre], 1) for branch in branches]
        fine = self.deconv_layers[0](torch.cat([c, mean], 1))
        return {
            "heatmaps": torch.stack(branches).amax(0),
            "offsets": offsets,
            "branch_heatmaps": torch.cat(branches, 1),
            "fine_heatmaps": self.final_layers[2](fine).float(),
        }


def project(channels: int, out: int) -> nn.Sequential:
    """A 1x1 convolution, its norm and ReLU."""
    convolution = nn.Conv2d(channels, out, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def start(model: nn.Module) -> None:
    """The published start: convolutions normal(0, 0.001), biases 0, norms 1 and 0.

    Those of the matrices and translations start at 0; deformable weights keep their own start.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if "transform_matrix" in name or "translation" in name:
                continue
            nn.init.normal_(module.weight, std=0.001)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
