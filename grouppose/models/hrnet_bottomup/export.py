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
from grouppose.errors import UserError
from grouppose.layers.adaptive import DeformableConvolution
from grouppose.maps.peaks import find_peaks
from grouppose.models import decode_of
from grouppose.models.hrnet_bottomup import standalone
from grouppose.models.hrnet_bottomup.decode import PEAK_WINDOW
from grouppose.people import People

Columns = dict[str, list[Tensor]]  # of people, a list of B
MAPS = 1e-4  # difference from the model's maps that a file's may have, of their largest value

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
def everybody(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The model's maps, which those of the file are compared with."""
    return model(images)


@torch.inference_mode()
def people(
    model: nn.Module, maps: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[Columns, tuple[Columns, Tensor]]:
    """The people of a file's maps: by the function beside it, and by the model's own decoding.

    Args:
        maps: of the file.
        expected: of the model.

    Returns:
        Columns of the first; columns of the second and `selection_margin` of each picture, (B,).

    Raises:
        UserError: the maps differ by more than `MAPS`.
    """
    for name, values in maps.items():
        difference = (values - expected[name]).abs().max() / expected[name].abs().max()
        if not difference <= MAPS:
            raise UserError(
                f"the file is wrong and not kept: its {name} differ from the model's by "
                f"{difference:.2g} of the largest (allowed {MAPS:g})"
            )
    arrays = [maps[name].numpy() for name in NEEDED if name in maps]
    settings, count = settings_of(model), len(arrays[0])
    found = [standalone.decode(*(a[b] for a in arrays), settings=settings) for b in range(count)]
    found = [{name: torch.from_numpy(v).float() for name, v in each.items()} for each in found]
    decode = decode_of(model.settings)
    view, size = decode.view(maps), [4 * side for side in maps["offsets"].shape[2:]]
    own, margins = [], []
    for b in range(count):
        views = [{"scale": 1, **{name: values[b] for name, values in view.items()}}]
        own.append(decode(views, size))
        margins.append(selection_margin(decode.fuse(views, size), decode.max_people))
    return _columns(found), (_columns(own), torch.tensor(margins))


def selection_margin(maps: Tensor, count: int) -> float:
    """By how much the last peak of a map that is kept exceeds the next; the least of all maps.

    Where it is no more than rounding, two correct programs may keep different ones, as of the equal
    peaks in the repeated rows at a border.
    """
    values = find_peaks(maps, PEAK_WINDOW, count + 1).values
    more = values[:, -1] > 0
    return (values[more, -2] - values[more, -1]).amin().item() if more.any() else float("inf")


def _columns(people: list[People]) -> Columns:
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
