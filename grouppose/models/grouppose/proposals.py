"""Query selection: the encoder's best positions become the people the decoder starts from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grouppose.models.grouppose.decoder import Memory


@dataclass(frozen=True)
class Selected:
    """The N chosen positions.

    Attributes:
        logits: (B, N, classes).
        features: (B, N, C) after `enc_output`.
        keypoints: (B, N, K, 2) in [0, 1] of the unpadded picture.
        indices: (B, N) positions among the S.
    """

    logits: Tensor
    features: Tensor
    keypoints: Tensor
    indices: Tensor


def centre_logits(memory: Memory) -> tuple[Tensor, Tensor]:
    """Where each position would put a person's centre, and whether it may.

    A box of side 0.05 * 2^level around the centre and the centre itself must lie in (0.01, 0.99).

    Returns:
        (B, S, 2) x, y in logit space, +inf where not valid; and valid (B, S) bool.
    """
    centres, sides = [], []
    for level, (height, width) in enumerate(memory.level_shapes):
        ratio = memory.valid_ratios[:, level]
        columns, rows = (ratio[:, 0] * width).round(), (ratio[:, 1] * height).round()  # unpadded
        y = torch.arange(height, dtype=torch.float32, device=rows.device) + 0.5
        x = torch.arange(width, dtype=torch.float32, device=rows.device) + 0.5
        y = (y / rows[:, None])[:, :, None].expand(-1, height, width)
        x = (x / columns[:, None])[:, None, :].expand(-1, height, width)
        centres.append(torch.stack((x, y), -1).flatten(1, 2))
        sides.append(torch.full_like(centres[-1][..., 0], 0.05 * 2**level))
    centre, side = torch.cat(centres, 1), torch.cat(sides, 1)
    valid = ((centre > 0.01) & (centre < 0.99)).all(-1) & (side > 0.01) & (side < 0.99)
    if memory.padding is not None:
        valid = valid & ~memory.padding
    logits = torch.log(centre / (1 - centre))
    return logits.masked_fill(~valid[..., None], torch.inf), valid


def gather(tokens: Tensor, indices: Tensor) -> Tensor:
    """tokens (B, S, C) at indices (B, N) -> (B, N, C)."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
