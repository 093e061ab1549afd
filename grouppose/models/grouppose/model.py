"""Group Pose (https://arxiv.org/abs/2308.07313): the keypoints of every person in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from grouppose.backbones.resnet import fold_batch_norm
from grouppose.errors import InputError
from grouppose.layers.mlp import MLP, in_float32
from grouppose.layers.position import encode_full_grid, encode_grid
from grouppose.models.grouppose.decoder import Decoder, Memory
from grouppose.models.grouppose.encoder import Encoder
from grouppose.models.grouppose.proposals import Selected, centre_logits, gather

_MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB in [0, 1]
_STD = (0.229, 0.224, 0.225)
_BORDER = 1e4  # in logit space; stands for +inf
_PRIOR = 0.01  # share of queries that start as people (focal loss, section 4.1)
_LARGE = 400_000  # pixels of a picture that keeps all cores of a CPU busy alone


class Transformer(nn.Module):
    """Encoder, query selection and decoder with what they share."""

    def __init__(
        self,
        *,
        encoder: Encoder,
        decoder: Decoder,
        dim: int,
        num_levels: int,
        num_queries: int,
        num_keypoints: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.encoder = encoder
        self.decoder = decoder
        self.level_embed = nn.Parameter(torch.empty(num_levels, dim))
        self.keypoint_embedding = nn.Embedding(num_keypoints, dim)
        self.instance_embedding = nn.Embedding(1, dim)
        self.enc_output = nn.Linear(dim, dim)
        self.enc_output_norm = nn.LayerNorm(dim)
        self.enc_out_class_embed = class_head(dim, num_classes)
        self.enc_pose_embed = MLP(dim, 2 * dim, 2 * num_keypoints, 4).zero_last()
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Xavier for matrices; deformable attention and the heads keep their own start."""
        nn.init.normal_(self.level_embed)
        own = ("sampling_offsets", "attention_weights", "enc_out_class_embed", "enc_pose_embed")
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and not any(part in name for part in (*own, "level_embed")):
                nn.init.xavier_uniform_(parameter)

    def select(self, memory: Memory) -> Selected:
        """Scores every position and keeps the N best; only those go through the pose head."""
        centre, valid = centre_logits(memory)
        features = torch.where(valid[..., None], memory.tokens, 0)  # faster than masked_fill
        features = self.enc_output_norm(self.enc_output(features))
        scores = in_float32(self.enc_out_class_embed, features)
        positions = scores.shape[1]
        if positions < self.num_queries:
            raise InputError(
                f"the picture has {positions} positions on all levels, num_queries is "
                f"{self.num_queries}; give a larger picture or set num_queries lower"
            )
        indices = scores.amax(-1).topk(self.num_queries, dim=1).indices
        chosen = gather(features, indices)
        offsets = in_float32(self.enc_pose_embed, chosen).unflatten(-1, (-1, 2))
        # Positions that may not propose are at +inf; with an offset that overflowed to -inf their
        # sum would be no number. The sigmoid of _BORDER is 1 already.
        centres = gather(centre, indices).clamp(max=_BORDER)
        keypoints = (centres[:, :, None] + offsets).sigmoid()
        return Selected(gather(scores, indices), chosen, keypoints, indices)

    def queries(self, selected: Selected) -> Tensor:
        """(B, N, K+1, C): the instance query, then the keypoint queries of every person."""
        features = selected.features.detach()[:, :, None]
        keypoint = self.keypoint_embedding.weight.to(features.dtype) + features
        instance = self.instance_embedding.weight.to(features.dtype)
        return torch.cat((instance.expand_as(keypoint[:, :, :1]), keypoint), 2)


class GroupPose(nn.Module):
    """End-to-end multi-person pose estimation.

    Args:
        backbone: gives three maps and says their `num_channels`.
        transformer: encoder, query selection, decoder.
        dim: C, channels of all queries and values.
        num_levels: L; levels beyond the backbone's three come from stride-2 convolutions.
        num_classes: logits per person; class 1 is person.
        temperatures: of the position encoding, (y, x).
        aux_loss: give the outputs of all decoder layers in training.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        transformer: Transformer,
        dim: int,
        num_levels: int,
        num_classes: int,
        temperatures: tuple[float, float] = (20, 20),
        aux_loss: bool = True,
    ) -> None:
        super().__init__()
        num_layers = len(transformer.decoder.layers)
        self.backbone = nn.Sequential(backbone)  # the published names begin with "backbone.0"
        self.input_proj = input_projections(backbone.num_channels, dim, num_levels)
        self.transformer = transformer
        self.class_embed = nn.ModuleList(class_head(dim, num_classes) for _ in range(num_layers))
        self.pose_embed = nn.ModuleList(MLP(dim, dim, 2, 3).zero_last() for _ in range(num_layers))
        self.dim, self.temperatures, self.aux_loss = dim, temperatures, aux_loss
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, padding: Tensor | None = None) -> dict[str, object]:
        """Estimates the poses of all people.

        Args:
            images: (B, 3, H, W) RGB, uint8, or float in [0, 1]; normalised here.
            padding: (B, H, W) bool, True = padding; None: no padding.

        Returns:
            pred_logits (B, N, classes), pred_keypoints (B, N, K, 2) x, y in [0, 1] of the picture
            without its padding; previous_keypoints, the same of the layer before the last. When
            training also aux_outputs (the earlier decoder layers) and interm_outputs (the encoder's
            selection), of the first two keys.
        """
        check_images(images, padding)
        if self._one_by_one(images):
            paddings = [None] * len(images) if padding is None else padding.split(1)
            pairs = zip(images.split(1), paddings, strict=True)
            each = [self.forward(image, pad) for image, pad in pairs]
            return {name: torch.cat([found[name] for found in each]) for name in each[0]}
        memory, position = self._features(self.normalise(images, padding), padding)
        tokens = self.transformer.encoder(
            memory.tokens, position, memory.valid_ratios, memory.level_shapes, memory.padding
        )
        memory = Memory(tokens, memory.level_shapes, memory.padding, memory.valid_ratios)
        selected = self.transformer.select(memory)
        instances, keypoints = self.transformer.decoder(
            self.transformer.queries(selected),
            selected.keypoints.detach(),
            memory,
            self.pose_embed,
        )
        return self._outputs(instances, keypoints, selected)

    def optimize_for_inference(self) -> GroupPose:
        """Makes this model faster and gives it back: batch norm is folded into the convolutions.

        Outputs stay the same but for rounding. Its weights can be trained or saved no longer.
        """
        fold_batch_norm(self.backbone)
        return self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def _one_by_one(self, images: Tensor) -> bool:
        """Whether each picture goes through the network alone.

        Large ones do in inference on a CPU: together they are no faster, and need more memory.
        """
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        large = images.shape[-2] * images.shape[-1] >= _LARGE
        return images.device.type == "cpu" and len(images) > 1 and large

    def normalise(self, images: Tensor, padding: Tensor | None) -> Tensor:
        """ImageNet normalisation; padding becomes 0 afterwards."""
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images
        scaled = scaled.contiguous(memory_format=torch.channels_last)  # convolutions are faster
        scaled = (scaled - self.mean) / self.std
        return scaled if padding is None else torch.where(padding[:, None], 0, scaled)

    def _features(self, images: Tensor, padding: Tensor | None) -> tuple[Memory, Tensor]:
        """All levels as one row of tokens (B, S, C), and the position of each."""
        maps = self.backbone(images)
        levels = [project(x) for project, x in zip(self.input_proj, maps, strict=False)]
        for project in self.input_proj[len(maps) :]:  # the first extra level sees the raw map
            levels.append(project(maps[-1] if len(levels) == len(maps) else levels[-1]))
        shapes = [(level.shape[-2], level.shape[-1]) for level in levels]
        encoding = (self.dim, *self.temperatures)
        if padding is None:
            flat = None
            shape = (images.shape[0], len(shapes), 2)
            valid_ratios = torch.ones(shape, device=images.device)
            position = [encode_full_grid(*shape, *encoding, images.device) for shape in shapes]
        else:
            masks = [
                F.interpolate(padding[:, None].float(), size=shape)[:, 0].bool() for shape in shapes
            ]
            flat = torch.cat([mask.flatten(1) for mask in masks], 1)
            valid_ratios = torch.stack([valid_ratio(mask) for mask in masks], 1)
            position = [encode_grid(mask, *encoding) for mask in masks]
        embed = self.transformer.level_embed
        position = [x.flatten(1, 2) + e for x, e in zip(position, embed, strict=True)]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        memory = Memory(tokens, shapes, flat, valid_ratios)
        return memory, torch.cat(position, 1).to(tokens.dtype)

    def _outputs(
        self, instances: Sequence[Tensor], keypoints: Sequence[Tensor], selected: Selected
    ) -> dict[str, object]:
        def layer(i: int) -> dict[str, Tensor]:
            logits = in_float32(self.class_embed[i], instances[i])
            return {"pred_logits": logits, "pred_keypoints": keypoints[i]}

        outputs: dict[str, object] = layer(len(instances) - 1)
        outputs["previous_keypoints"] = [selected.keypoints, *keypoints][-2]
        if self.training:
            if self.aux_loss:
                outputs["aux_outputs"] = [layer(i) for i in range(len(instances) - 1)]
            outputs["interm_outputs"] = {
                "pred_logits": selected.logits,
                "pred_keypoints": selected.keypoints,
            }
        return outputs


def check_images(images: Tensor, padding: Tensor | None) -> None:
    """Raises InputError unless the shapes are those of `GroupPose.forward`."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"images have shape {tuple(images.shape)}, expected (B, 3, H, W)")
    if padding is not None and padding.shape != (images.shape[0], *images.shape[-2:]):
        raise InputError(
            f"padding has shape {tuple(padding.shape)}, expected (B, H, W) of the images, "
            f"{(images.shape[0], *images.shape[-2:])}"
        )


def class_head(dim: int, num_classes: int) -> nn.Linear:
    """Starts with a score of `_PRIOR` for every class (focal loss, section 4.1)."""
    head = nn.Linear(dim, num_classes)
    nn.init.constant_(head.bias, -math.log((1 - _PRIOR) / _PRIOR))
    return head


def input_projections(num_channels: Sequence[int], dim: int, num_levels: int) -> nn.ModuleList:
    """Per level a convolution to `dim` channels and a group norm."""
    if num_levels < len(num_channels):
        raise InputError(
            f"num_feature_levels is {num_levels}, expected at least {len(num_channels)}, "
            "one for each map of the backbone"
        )
    convolutions = [nn.Conv2d(channels, dim, 1) for channels in num_channels]
    channels = num_channels[-1]
    for _ in range(num_levels - len(num_channels)):
        convolutions.append(nn.Conv2d(channels, dim, 3, stride=2, padding=1))
        channels = dim
    for convolution in convolutions:
        nn.init.xavier_uniform_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    return nn.ModuleList(nn.Sequential(c, nn.GroupNorm(32, dim)) for c in convolutions)


def valid_ratio(padding: Tensor) -> Tensor:
    """The unpadded share (x, y) of a level: padding (B, h, w) -> (B, 2)."""
    height, width = padding.shape[-2:]
    y = (~padding[:, :, 0]).sum(1).float() / height
    x = (~padding[:, 0, :]).sum(1).float() / width
    return torch.stack((x, y), -1)
