"""Swin Transformer backbones (https://arxiv.org/abs/2103.14030) for pictures of any size.

Blocks, patch merging and attention are timm's; only the window step is written here: the published
network pads a map to whole windows before it shifts, timm after.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

SWINS = {  # published name: (timm's name, the file of ImageNet weights of the Swin authors)
    "swin_T_224_1k": ("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7_224.pth"),
    "swin_B_224_22k": ("swin_base_patch4_window7_224", "swin_base_patch4_window7_224_22k.pth"),
    "swin_B_384_22k": ("swin_base_patch4_window12_384", "swin_base_patch4_window12_384.pth"),
    "swin_L_224_22k": ("swin_large_patch4_window7_224", "swin_large_patch4_window7_224_22k.pth"),
    "swin_L_384_22k": ("swin_large_patch4_window12_384", "swin_large_patch4_window12_384_22k.pth"),
}
_BY_SIZE = {  # channels of the first stage, rows of its position table: name
    (96, 169): "swin_T_224_1k",
    (128, 169): "swin_B_224_22k",
    (128, 529): "swin_B_384_22k",
    (192, 169): "swin_L_224_22k",
    (192, 529): "swin_L_384_22k",
}
INDEX_TABLE = "relative_position_index"  # in published files only: it follows from the window
_TABLE = "relative_position_bias_table"
_PATCH = 4
_DROP_PATH = 0.2


def _to_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) with H, W multiples of the window -> (B * windows, window ** 2, C)."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def _from_windows(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of `_to_windows`."""
    x = windows.view(-1, height // window, width // window, window, window, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def _shift_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """(windows, window ** 2, window ** 2): -100 between parts that only the shift brought together.

    Height and width are those of the padded map.
    """

    def region(size: int) -> Tensor:
        index = torch.arange(size, device=device)
        return (index >= size - window).long() + (index >= size - shift).long()

    regions = 3 * region(height)[:, None] + region(width)
    regions = _to_windows(regions[None, :, :, None], window)[..., 0]
    different = regions[:, None, :] != regions[:, :, None]
    return torch.where(different, -100.0, 0.0)


class _Block(nn.Module):
    """A Swin block around timm's parts; odd blocks of a stage shift their windows by half."""

    def __init__(self, block: nn.Module, shifted: bool) -> None:
        super().__init__()
        self.norm1, self.attn, self.drop_path = block.norm1, block.attn, block.drop_path1
        self.norm2, self.mlp = block.norm2, block.mlp
        self.window = block.attn.window_size[0]
        self.shift = self.window // 2 if shifted else 0

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        _, height, width, _ = x.shape
        window, shift = self.window, self.shift
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
        padded = x.shape[1:3]
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
        windows = self.attn(_to_windows(x, window), mask=mask if shift else None)
        x = _from_windows(windows, window, *padded)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.drop_path(self._attend(self.norm1(x), mask))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class _Stage(nn.Module):
    """The blocks of one resolution, and the patch merging that follows them."""

    def __init__(self, blocks: nn.Module, downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(block, i % 2 == 1) for i, block in enumerate(blocks))
        if downsample is not None:
            self.downsample = downsample

    def forward(self, x: Tensor, recompute: bool) -> Tensor:
        window = self.blocks[0].window
        height, width = (size + -size % window for size in x.shape[1:3])
        mask = _shift_mask(height, width, window, window // 2, x.device)
        for block in self.blocks:
            if recompute:
                x = checkpoint(block, x, mask, use_reentrant=False)
            else:
                x = block(x, mask)
        return x


class Swin(nn.Module):
    """Stages 2 to 4 of a Swin Transformer, a LayerNorm on each output: strides 8, 16, 32."""

    def __init__(self, name: str, use_checkpoint: bool = False) -> None:
        super().__init__()
        import timm  # takes longer to import than torch

        self.use_checkpoint = use_checkpoint
        swin = timm.create_model(
            SWINS[name][0],
            pretrained=False,
            num_classes=0,
            strict_img_size=False,
            always_partition=True,
            drop_path_rate=_DROP_PATH,
        )
        self.patch_embed = swin.patch_embed
        stages = list(swin.layers)
        merges = [stage.downsample for stage in stages[1:]] + [None]
        self.layers = nn.ModuleList(
            _Stage(stage.blocks, merge) for stage, merge in zip(stages, merges, strict=True)
        )
        self.num_channels = tuple(swin.embed_dim * 2**i for i in (1, 2, 3))
        for i, channels in enumerate(self.num_channels, start=1):
            self.add_module(f"norm{i}", nn.LayerNorm(channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> three maps (B, C_l, H / s, W / s), s = 8, 16, 32."""
        height, width = x.shape[-2:]
        x = self.patch_embed(F.pad(x, (0, -width % _PATCH, 0, -height % _PATCH)))
        features = []
        for i, stage in enumerate(self.layers):
            x = stage(x, self.use_checkpoint and self.training)
            if i > 0:
                features.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2).contiguous())
            if i + 1 < len(self.layers):
                x = stage.downsample(x)
        return features


def find_name(state: Mapping[str, Tensor]) -> str | None:
    """The Swin Transformer that weights are of, by its channels and window."""
    patches = state.get("patch_embed.proj.weight")
    table = state.get(f"layers.0.blocks.0.attn.{_TABLE}")
    if patches is None or table is None or not patches.ndim or table.ndim != 2:
        return None
    return _BY_SIZE.get((patches.shape[0], table.shape[0]))


def index_tables(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tables that published files also have, one beside each table of position biases."""
    tables = {name: value for name, value in state.items() if name.endswith(_TABLE)}
    return {
        name.replace(_TABLE, INDEX_TABLE): _index_table(round(value.shape[0] ** 0.5 + 1) // 2)
        for name, value in tables.items()
    }


def _index_table(window: int) -> Tensor:
    """(window^2, window^2): which row of the bias table belongs to each pair of positions."""
    axis = torch.arange(window)
    y, x = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing="ij"))
    offset = window - 1
    return (y[:, None] - y + offset) * (2 * window - 1) + (x[:, None] - x + offset)
