"""The one loop over views: what a model finds on pictures, for evaluation and prediction alike."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from grouppose.inference.rescore import LinkRescorer, Rescorer
from grouppose.people import People, chosen
from grouppose.views import View


@dataclass(frozen=True)
class Finder:
    """A model and what turns its outputs into people.

    Attributes:
        model: in evaluation mode, on `device`.
        decode: of its family, see `grouppose.build_decode`.
        precision: of autocast; None: float32.
        rescorer: gives people new scores; None: nobody does.
    """

    model: nn.Module
    decode: Any
    device: torch.device
    precision: torch.dtype | None = None
    rescorer: Rescorer | LinkRescorer | None = None

    @torch.inference_mode()
    def people(
        self,
        inputs: Sequence[tuple[Tensor, Tensor]],
        views: Sequence[Sequence[View]],
    ) -> list[People]:
        """The people of B pictures, best first, on the CPU.

        Args:
            inputs: images (B, 3, H, W) and padding (B, H, W) of each of the V views, as
                `grouppose.views.batch_views` gives them.
            views: the V views of each of the B pictures.
        """
        outputs = [
            forward(self.model, images, padding, self.device, self.precision)
            for images, padding in inputs
        ]
        found: list[People] = []
        for rows in _runs([of_picture[0].picture for of_picture in views]):
            part = outputs  # of pictures of different sizes, each stretch on its own
            if rows != slice(0, len(views)):
                part = [{name: value[rows] for name, value in output.items()} for output in outputs]
            found += self.decode.people(part, views[rows.start])
        if self.rescorer is not None:
            found = [self.rescorer.rescored(people) for people in found]
        return [chosen(people, slice(self.decode.max_people)) for people in found]


def _runs(sizes: Sequence[tuple[int, int]]) -> list[slice]:
    """Stretches of pictures of one size."""
    ends = [i for i in range(1, len(sizes)) if sizes[i] != sizes[i - 1]]
    return [slice(*pair) for pair in zip([0, *ends], [*ends, len(sizes)], strict=True)]


def forward(
    model: nn.Module,
    images: Tensor,
    padding: Tensor,
    device: torch.device,
    precision: torch.dtype | None,
    **further: Tensor,
) -> dict[str, Any]:
    """A model's outputs in float32, whatever it computes in.

    Args:
        images, padding: on the CPU.
        precision: of autocast; None: float32.
        further: what else the model is to be given, by keyword.
    """
    images = images.to(device, non_blocking=True)
    padding = padding.to(device, non_blocking=True) if padding.any() else None
    context = contextlib.nullcontext()
    if precision is not None:
        context = torch.autocast(device.type, dtype=precision)
    with context:
        return in_float32(model(images, padding, **further))


def in_float32(outputs: Any) -> Any:
    """Tensors of floating-point numbers, in dicts and lists, as float32."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    if isinstance(outputs, Mapping):
        return {name: in_float32(value) for name, value in outputs.items()}
    return [in_float32(value) for value in outputs]
