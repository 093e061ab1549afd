"""What a network does first with pictures: check their shape and normalise them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from grouppose.errors import InputError

MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB in [0, 1]
STD = (0.229, 0.224, 0.225)


class ImageNormalisation(nn.Module):
    """RGB pictures, uint8 or float in [0, 1], as ImageNet's networks expect them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, padding: Tensor | None = None) -> Tensor:
        """images (B, 3, H, W) -> the same shape, float; where padding (B, H, W) is True: 0."""
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images
        scaled = (scaled - self.mean) / self.std
        return scaled if padding is None else torch.where(padding[:, None], 0, scaled)


def check_images(images: Tensor, multiple: int) -> None:
    """Raises InputError unless images are (B, 3, H, W) with sides that are such multiples."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"images have shape {tuple(images.shape)}, expected (B, 3, H, W)")
    height, width = images.shape[-2:]
    if height % multiple or width % multiple or not height * width:
        raise InputError(
            f"pictures are {width} x {height} pixels in the network, expected multiples of "
            f"{multiple}; choose a size and scales that give such sides"
        )
