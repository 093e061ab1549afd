"""Group Pose as it is, and in the form in which the published code computes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import grouppose
from grouppose.layers.deformable import MSDeformAttn
from grouppose.layers.mlp import in_float32
from grouppose.models.grouppose.decoder import Memory
from grouppose.models.grouppose.model import Transformer
from grouppose.models.grouppose.proposals import Selected, centre_logits, gather


class SelectEverywhere(Transformer):
    """The proposal head runs on every position before the best are taken."""

    def select(self, memory: Memory) -> Selected:
        centre, valid = centre_logits(memory)
        features = memory.tokens.masked_fill(~valid[..., None], 0)
        features = self.enc_output_norm(self.enc_output(features))
        scores = in_float32(self.enc_out_class_embed, features)
        offsets = in_float32(self.enc_pose_embed, features).unflatten(-1, (-1, 2))
        keypoints = (centre[:, :, None] + offsets).flatten(2)
        indices = scores.amax(-1).topk(self.num_queries, dim=1).indices
        chosen = gather(keypoints, indices).unflatten(-1, (-1, 2)).sigmoid()
        return Selected(gather(scores, indices), gather(features, indices), chosen, indices)


class PublishedForm(nn.Module):
    """The same outputs at the published code's cost.

    Deformable attention by grid_sample in three steps, proposals at every position, a padding mask
    for every picture, batch norm as a step of its own.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.model = grouppose.build_model("grouppose", **settings)
        self.model.transformer.__class__ = SelectEverywhere
        for module in self.model.modules():
            if isinstance(module, MSDeformAttn):
                module.backend = "reference"

    def forward(self, images: Tensor, padding: Tensor | None = None) -> dict[str, object]:
        if padding is None:
            padding = images.new_zeros(len(images), *images.shape[-2:], dtype=torch.bool)
        return self.model(images, padding)
