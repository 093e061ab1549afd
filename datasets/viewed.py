"""Pictures as evaluation looks at them: all views of a picture from one decoded file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from datasets.keypoints import KeypointDataset
from grouppose.views import Input, View, batch_views, look


class Looked(NamedTuple):
    """One picture: its id, V inputs and views; why it cannot be read, if it is black instead."""

    image_id: int
    inputs: list[Input]
    views: list[View]
    unreadable: str | None


class ViewBatch(NamedTuple):
    """B pictures.

    Attributes:
        image_ids: B.
        inputs: V pairs of images (B, 3, H, W) uint8 and padding (B, H, W) bool.
        views: B lists of V.
        unreadable: ids of pictures that are black, as they cannot be read, and why.
    """

    image_ids: list[int]
    inputs: list[tuple[Tensor, Tensor]]
    views: list[list[View]]
    unreadable: dict[int, str]


class ViewedPictures(Dataset):
    """The views of each picture of a set.

    Attributes:
        pictures: the set.

    Args:
        pictures: of any split; nothing is augmented.
        decode: says which views, see `grouppose.build_decode`.
    """

    def __init__(self, pictures: KeypointDataset, decode: Any) -> None:
        self.pictures = pictures
        self._decode = decode

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Looked:
        image, why = self.pictures.picture(index)
        views = self._decode.views(*image.shape[-2:])
        return Looked(int(self.pictures.image_ids[index]), look(image, views), views, why)


def collate_views(samples: Sequence[Looked]) -> ViewBatch:
    """B pictures as one batch of each view."""
    return ViewBatch(
        [sample.image_id for sample in samples],
        batch_views([sample.inputs for sample in samples]),
        [sample.views for sample in samples],
        {sample.image_id: sample.unreadable for sample in samples if sample.unreadable},
    )
