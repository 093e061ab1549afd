"""Group Pose as standard operators, for `grouppose.inference.export`."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from grouppose.backbones.swin import Swin
from grouppose.layers.deformable import MSDeformAttn
from grouppose.models.grouppose.postprocess import best_people

ATTENTION = {"grid_sample": "reference", "gather": "gather"}  # form: backend of the operator

People = dict[str, Tensor]


class Exportable(nn.Module):
    """A model as standard operators, from plain pictures to people.

    Args:
        model: to copy.
        attention: a key of `ATTENTION`.
        max_people: the best so many of a picture are given.
    """

    outputs = ("scores", "labels", "keypoints")  # of people, that a file gives

    def __init__(self, model: nn.Module, attention: str, max_people: int) -> None:
        super().__init__()
        # plain memory order: torch.export.save warns of every weight in another one
        self.model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
        self.max_people = max_people
        for module in self.model.modules():
            if isinstance(module, MSDeformAttn):
                module.backend = ATTENTION[attention]

    def forward(self, images: Tensor) -> People:
        """Finds people.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            Best first: scores (B, n), labels (B, n) int64 (1 = person), keypoints (B, n, K, 2) x, y
            in pixels of `images`.
        """
        people = best_people(self.model(images), _sizes(images), self.max_people)
        return {name: people[name] for name in self.outputs}


def _sizes(images: Tensor) -> Tensor:
    """(B, 2) height, width."""
    size = [images.new_full((), side, dtype=torch.int64) for side in images.shape[-2:]]
    return torch.stack(size).expand(images.shape[0], -1)


def free_axes(model: nn.Module, dynamic: bool) -> dict[int, torch.export.Dim]:
    """The axes of pictures (B, 3, H, W) that a file is to leave open.

    A last level of one row or column would be a special case, so sides begin above its stride.
    Swin's windows make sizes that torch.export does not finish to reason about: only B is free.
    """
    if not dynamic:
        return {}
    batch = {0: torch.export.Dim("batch", min=1)}
    if isinstance(model.backbone[0], Swin):
        return batch
    least = 8 * 2 ** (len(model.input_proj) - 1) + 1
    sides = {2: "height", 3: "width"}
    return batch | {axis: torch.export.Dim(name, min=least) for axis, name in sides.items()}


@torch.inference_mode()
def everybody(model: nn.Module, images: Tensor) -> tuple[People, Tensor]:
    """All candidates of a model, best first; and `selection_margin` of each picture, (B,)."""
    logits = []
    head = model.transformer.enc_out_class_embed
    hook = head.register_forward_hook(lambda module, inputs, output: logits.append(output))
    outputs = model(images)
    hook.remove()
    margin = selection_margin(logits[0].amax(-1), model.transformer.num_queries)
    return best_people(outputs, _sizes(images), outputs["pred_logits"][0].numel()), margin


def selection_margin(logits: Tensor, num_queries: int) -> Tensor:
    """By how much the last position that becomes a query beats the next: (B, S) -> (B,).

    Where it is no more than rounding, two correct programs may start from different people.
    """
    if logits.shape[1] == num_queries:
        return torch.full_like(logits[:, 0], torch.inf)
    ranked = logits.topk(num_queries + 1, dim=1).values
    return ranked[:, -2] - ranked[:, -1]
