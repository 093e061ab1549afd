"""The family's maps as standard operators, for `grouppose.inference.export`.

A file gives maps; a small function beside it, which needs numpy only, makes people of them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from grouppose.backbones.hrnet import STRIDE
from grouppose.layers.adaptive import DeformableConvolution
from grouppose.maps.peaks import find_peaks
from grouppose.models import decode_of
from grouppose.models.hrnet_bottomup import standalone
from grouppose.models.hrnet_bottomup.decode import PEAK_WINDOW
from grouppose.people import People

NEEDED = ("heatmaps", "offsets", "fine_heatmaps")  # by `standalone.decode`, in its order
SETTINGS = (
    "max_people", "match_heatmaps", "keypoint_threshold", "nms_distance", "nms_keypoints",
    "max_absorb_distance", "adjust_threshold", "gaussian_kernel", "gaussian_sigma",
    "exchanged_heat",
)  # fmt: skip


class Exportable(nn.Module):
    """A model as standard operators, from plain pictures to maps.

    Args:
        model: to copy.
        attention: not read; there is one way of writing it.
        max_people: not read, as people are made outside.
    """

    def __init__(self, model: nn.Module, attention: str, max_people: int) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        fine = getattr(model, "higher", False)
        self.outputs = NEEDED if fine else NEEDED[:2]
        for module in self.model.modules():
            if isinstance(module, DeformableConvolution):
                module.standard = True

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images (B, 3, H, W) uint8 RGB -> heatmaps, offsets and fine_heatmaps, if there are."""
        outputs = self.model(images)
        return {name: outputs[name] for name in self.outputs}


def free_axes(model: nn.Module, dynamic: bool) -> dict[int, torch.export.Dim]:
    """The axes of pictures (B, 3, H, W) that a file is to leave open: their number alone."""
    return {0: torch.export.Dim("batch", min=1)} if dynamic else {}


def fitting_size(size: tuple[int, int]) -> tuple[int, int]:
    """The next height and width that the network takes."""
    return tuple(-(-side // STRIDE) * STRIDE for side in size)


@torch.inference_mode()
def everybody(model: nn.Module, images: Tensor) -> tuple[dict[str, list[Tensor]], Tensor]:
    """The people of each picture, and `selection_margin` of each, (B,)."""
    decode = decode_of(model.settings)
    view = decode.view(model(images))
    people, margins = [], []
    for b in range(len(images)):
        views = [{"scale": 1, **{name: maps[b] for name, maps in view.items()}}]
        people.append(decode(views, images.shape[2:]))
        margins.append(selection_margin(decode.fuse(views, images.shape[2:]), decode.max_people))
    return _columns(people), torch.tensor(margins)


def selection_margin(maps: Tensor, count: int) -> float:
    """By how much the last peak of a map that is kept exceeds the next; the least of all maps.

    Where it is no more than rounding, two correct programs may keep different ones, as of the equal
    peaks in the repeated rows at a border.
    """
    values = find_peaks(maps, PEAK_WINDOW, count + 1).values
    more = values[:, -1] > 0
    return (values[more, -2] - values[more, -1]).amin().item() if more.any() else float("inf")


def people(model: nn.Module, maps: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """The people of each picture, by the function that lies beside the file."""
    settings = settings_of(model)
    arrays = [maps[name].numpy() for name in NEEDED if name in maps]
    found = [standalone.decode(*of_picture, settings=settings) for of_picture in zip(*arrays)]  # noqa: B905
    return _columns([{k: torch.from_numpy(v).float() for k, v in p.items()} for p in found])


def _columns(people: list[People]) -> dict[str, list[Tensor]]:
    columns = {name: [p[name] for p in people] for name in ("scores", "keypoints")}
    return {**columns, "labels": [torch.ones(len(s)) for s in columns["scores"]]}


def settings_of(model: nn.Module) -> dict:
    """How `standalone.decode` is to work for this model."""
    decode = decode_of(model.settings)
    return {**{name: getattr(decode, name) for name in SETTINGS}, "relative": decode.relative}


def beside(model: nn.Module, path: Path) -> Path:
    """Writes the function for a file of that path, and says where."""
    text = Path(standalone.__file__).read_text(encoding="utf-8")
    settings = repr(json.loads(json.dumps(settings_of(model))))
    text = text.replace("SETTINGS: dict = {}", f"SETTINGS: dict = {settings}", 1)
    decoder = path.with_name(f"{path.stem}_decode.py")
    decoder.write_text(text, encoding="utf-8")
    return decoder
