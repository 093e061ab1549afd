"""Group Pose in the form in which the published code computes it, to be compared with.

Written from what github.com/Michel-liu/GroupPose does, with the fallback of its operator in plain
PyTorch (Deformable DETR's): the operator itself needs CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import grouppose
from grouppose.layers.deformable import MSDeformAttn
from grouppose.layers.group_attention import SelfAttention
from grouppose.layers.mlp import in_float32
from grouppose.models.grouppose.decoder import Memory
from grouppose.models.grouppose.encoder import EncoderLayer
from grouppose.models.grouppose.model import GroupPose, Transformer
from grouppose.models.grouppose.proposals import Selected, centre_logits, gather
from grouppose.ops.reference import sampling_points


class SamplesOfAllLevels(MSDeformAttn):
    """Places and weights first; then grid_sample for each level, all kept until they are summed."""

    def forward(self, query, reference, value, level_shapes, padding):
        shape = (*query.shape[:2], self.heads, self.levels, self.points)
        value = self.value_proj(value).masked_fill(padding[..., None], 0)
        value = value.unflatten(-1, (self.heads, -1)).float()
        offsets = self.sampling_offsets(query).view(*shape, 2)
        logits = self.attention_weights(query).view(shape)
        places, weights = sampling_points(level_shapes, reference, offsets, logits)
        grids = 2 * places - 1
        samples = []
        maps = value.split([h * w for h, w in level_shapes], 1)
        for level, ((h, w), flat) in enumerate(zip(level_shapes, maps, strict=True)):
            picture = flat.permute(0, 2, 3, 1).reshape(-1, value.shape[-1], h, w)
            grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
            samples.append(F.grid_sample(picture, grid, align_corners=False))  # (B*H, D, Q, P)
        weights = weights.transpose(1, 2).flatten(3).flatten(0, 1)[:, None]  # (B*H, 1, Q, L*P)
        sampled = (torch.stack(samples, -2).flatten(-2) * weights).sum(-1)
        sampled = sampled.view(len(query), -1, query.shape[1]).transpose(1, 2).contiguous()
        return self.output_proj(sampled.to(query.dtype))


class FeedForwardAtOnce(EncoderLayer):
    """All tokens go through the feed-forward block together."""

    def forward(self, tokens: Tensor, *rest: object) -> Tensor:
        tokens = self._attend(tokens, *rest[:-1])
        return self.norm2(tokens + self.linear2(self.linear1(tokens).relu()))


class WeightsOfAttention(SelfAttention):
    """Attention that also gives its weights, as nn.MultiheadAttention does when not told."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1)
        out, _ = F.multi_head_attention_forward(
            x,
            x,
            x,
            x.shape[-1],
            self.heads,
            self.in_proj_weight,
            self.in_proj_bias,
            None,
            None,
            False,
            0.0,
            self.out_proj.weight,
            self.out_proj.bias,
        )
        return out.transpose(0, 1)


class SelectEverywhere(Transformer):
    """The proposal head runs on every position before the best are taken."""

    def select(self, memory: Memory) -> Selected:
        centre, valid = centre_logits(memory)
        features = memory.tokens.masked_fill(~valid[..., None], 0)
        features = self.enc_output_norm(self.enc_output(features))
        scores = in_float32(self.enc_out_class_embed, features)
        offsets = in_float32(self.enc_pose_embed, features).unflatten(-1, (-1, 2))
        keypoints = (centre[:, :, None] + offsets).sigmoid().flatten(2)
        indices = scores.amax(-1).topk(self.num_queries, dim=1).indices
        chosen = gather(keypoints, indices).unflatten(-1, (-1, 2))
        return Selected(gather(scores, indices), gather(features, indices), chosen, indices)


class HeadsOfAllLayers(GroupPose):
    """Every decoder layer's heads run, whoever asks; pictures are laid out channel by channel."""

    def _one_by_one(self, images: Tensor) -> bool:
        return False

    def normalise(self, images: Tensor, padding: Tensor | None) -> Tensor:
        return super().normalise(images, padding).contiguous()

    def _outputs(
        self, instances: Sequence[Tensor], keypoints: Sequence[Tensor], selected: Selected
    ) -> dict[str, object]:
        for head, queries in zip(self.class_embed, instances, strict=True):
            in_float32(head, queries)
        return super()._outputs(instances, keypoints, selected)


_AS_PUBLISHED = {
    kind.__base__: kind
    for kind in (
        SamplesOfAllLevels,
        FeedForwardAtOnce,
        WeightsOfAttention,
        SelectEverywhere,
        HeadsOfAllLayers,
    )
}


class PublishedForm(nn.Module):
    """The same outputs at the published code's cost, a padding mask for every picture included."""

    def __init__(self, **settings: object) -> None:
        import torchvision  # noqa: F401 - the published code has it in memory, for its backbone

        super().__init__()
        self.model = grouppose.build_model("grouppose", **settings)
        for module in self.model.modules():
            module.__class__ = _AS_PUBLISHED.get(type(module), type(module))

    def forward(self, images: Tensor, padding: Tensor | None = None) -> dict[str, object]:
        if padding is None:
            padding = images.new_zeros(len(images), *images.shape[-2:], dtype=torch.bool)
        return self.model(images, padding)
