"""DEKR: each keypoint's offsets come from features and adaptive convolutions of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grouppose.backbones.hrnet import STRIDE, HRNet, stacked
from grouppose.layers.adaptive import AdaptiveBlock
from grouppose.layers.images import ImageNormalisation, check_images
from grouppose.models.hrnet_bottomup.model import BasicBlock, project

KEYPOINT_CHANNELS = 15


class DEKR(HRNet):
    """Heatmaps, and per keypoint a branch of 15 channels for its offsets.

    The trunk's children stand at the top level, as in the published files.

    Args:
        backbone: a name of `grouppose.backbones.hrnet.HRNETS`.
        num_keypoints: K.
    """

    def __init__(self, *, backbone: str, num_keypoints: int) -> None:
        super().__init__(backbone)
        channels, features = self.num_channels[0], sum(self.num_channels)
        self.normalise = ImageNormalisation()
        self.transition_heatmap = project(features, channels)
        self.transition_offset = project(features, num_keypoints * KEYPOINT_CHANNELS)
        self.head_heatmap = nn.Sequential(
            nn.Sequential(BasicBlock(channels)), nn.Conv2d(channels, num_keypoints + 1, 1)
        )
        self.offset_feature_layers = nn.ModuleList(
            nn.Sequential(AdaptiveBlock(KEYPOINT_CHANNELS), AdaptiveBlock(KEYPOINT_CHANNELS))
            for _ in range(num_keypoints)
        )
        self.offset_final_layer = nn.ModuleList(
            nn.Conv2d(KEYPOINT_CHANNELS, 2, 1) for _ in range(num_keypoints)
        )

    def forward(self, images: Tensor, padding: Tensor | None = None) -> dict[str, Tensor]:
        """Computes the maps of keypoints and people's centres.

        Args:
            images: (B, 3, H, W) RGB, uint8, or float in [0, 1]; normalised here. Sides are
                multiples of 32.
            padding: (B, H, W) bool, True = the mean colour; None: nowhere.

        Returns:
            float32, h = H / 4, w = W / 4: heatmaps (B, K + 1, h, w), the centre's last; offsets
            (B, 2K, h, w), cell - keypoint in cells, x and y of each.
        """
        check_images(images, STRIDE)
        x = stacked(self.maps(self.normalise(images, padding)))
        heatmaps = self.head_heatmap(self.transition_heatmap(x))
        parts = self.transition_offset(x).split(KEYPOINT_CHANNELS, 1)
        branches = zip(self.offset_final_layer, self.offset_feature_layers, parts, strict=True)
        offsets = torch.cat([head(layers(part)) for head, layers, part in branches], 1)
        return {"heatmaps": heatmaps.float(), "offsets": offsets.float()}
