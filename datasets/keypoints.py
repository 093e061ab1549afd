"""One data set class for every COCO-format set of keypoints."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.custom import Poses
from datasets.labelled import Labelled
from datasets.recipes import Augmentation
from datasets.transforms import People, Sizes, eval_transform, flip
from grouppose.archives import is_file
from grouppose.errors import InputError, MissingFileError, UserError
from grouppose.pictures import naming, open_picture, planar

TRIES = 20  # pictures in a row that may be unreadable


class KeypointDataset(Dataset):
    """Pictures with the poses of the people on them.

    Augmentation draws from a generator that depends on the seed, the epoch and the index alone, so
    a training run repeats exactly whatever the number of workers and wherever it was resumed.

    Attributes:
        annotation_file: path, or the contents where the set is a part of a file; for evaluation.
        protocol: how to score it: "coco", "crowdpose" or "ochuman".
        image_ids: (I,) int64, in the order of the set.
        poses: what is on the pictures.
        skeleton: of its people.
        split: "train" (augmented) or "val".
    """

    def __init__(
        self,
        labelled: Labelled,
        *,
        annotation_file: Path | Mapping,
        protocol: str,
        poses: Poses,
        split: str,
        sizes: Sizes,
        augmentation: Augmentation | None,
        encode: Callable,
    ):
        self.annotation_file = annotation_file
        self.protocol = protocol
        self.image_ids = labelled.annotations.image_ids
        self.poses = poses
        self.skeleton = poses.skeleton
        self.split = split
        self._labelled = labelled
        self._sizes = sizes
        self._mirrored = False
        self._augmentation = augmentation
        self._encode = encode
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers see it change

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def aspects(self) -> np.ndarray:
        """(I,) width / height as annotated; 1 where the annotations do not say."""
        height, width = self._labelled.annotations.sizes.T
        return np.where(height > 0, width / np.maximum(height, 1), 1.0)

    @property
    def people(self) -> int:
        """How many have a labelled keypoint."""
        return int((self._labelled.annotations.keypoints[..., 2] > 0).any(1).sum())

    @property
    def mirrors(self) -> bool:
        """Whether training mirrors every second picture."""
        return self._augmentation is not None and self._augmentation.mirrors

    def network_settings(self) -> dict[str, Any]:
        """What the data say of the network: settings, in plain values."""
        return {
            "num_body_points": self.skeleton.num_keypoints,
            "num_classes": self.poses.num_classes,
            "skeleton": self.skeleton.to_dict(),
            "categories": self.poses.categories,
        }

    def view(self, shorter: int | None = None, mirrored: bool = False) -> KeypointDataset:
        """The same pictures as evaluation looks at them: not augmented.

        Args:
            shorter: the side in pixels that they are resized to; None: that of evaluation.
            mirrored: turn left and right of the picture, and of its labels.
        """
        other = copy.copy(self)
        other.split, other._mirrored = "val", mirrored
        if shorter is not None:
            other._sizes = self._sizes.at(shorter)
        return other

    def set_epoch(self, epoch: int) -> None:
        """Chooses the augmentation of an epoch, also in workers that are running already."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """One picture as the network gets it, and what its losses compare with.

        Returns:
            image (3, h, w) uint8 RGB; target: what the family's `encode` gives of its people, with
            image_id () int64 and orig_size (2,) int64 height and width of the file's picture. When
            training, a picture that cannot be read is replaced by the next one, else by a black
            one; the target then also has unreadable, a list of (image id, why).
        """
        index, (image, people), unreadable = self._next_readable(range(len(self))[index])
        orig_size = torch.tensor(image.shape[-2:])
        image, people = self._seen(index, image, people)  # the file's picture is freed
        size = tuple(image.shape[-2:])
        ignore = people.pop("ignore", None)
        if ignore is None:
            ignore = torch.zeros(size, dtype=torch.bool)
        target = self._encode(people, size, ignore)
        target["image_id"] = torch.tensor(int(self.image_ids[index]))
        target["orig_size"] = orig_size
        if unreadable:
            target["unreadable"] = unreadable
        return planar(image), target

    def sample(self, index: int) -> tuple[Tensor, People]:
        """One picture as the network gets it, and the people on it in its pixels.

        Returns:
            image (3, h, w) uint8 RGB; people: keypoints (T, K, 2) float32, visible (T, K) bool,
            boxes (T, 4) x0, y0, x1, y1, area (T,), labels (T,) int64, 1 for a person, small (T,)
            bool and original_area (T,), both of the file's picture. T may be 0. In training also
            mirrored, a bool; and ignore (h, w) bool, True where nothing is to be learnt, if the
            recipe or a setting asks for it.
        """
        index, picture, _ = self._next_readable(range(len(self))[index])
        return self._seen(index, *picture)

    def picture(self, index: int) -> tuple[Tensor, str | None]:
        """One picture as its file has it, (3, h, w) uint8 RGB, and None.

        If it cannot be read: a black one of the size that is annotated, and why.
        """
        (image, _), why = self._original(index)
        return image, why

    def original(self, index: int) -> tuple[Tensor, People]:
        """One picture as its file has it, and the people on it in its pixels; see `sample`."""
        return self._original(index)[0]

    def _original(self, index: int) -> tuple[tuple[Tensor, People], str | None]:
        try:
            return self._labelled.read(index), None
        except (InputError, MissingFileError) as error:
            return self._labelled.black(index), str(error)

    def _seen(self, index: int, image: Tensor, people: People) -> tuple[Tensor, People]:
        """What is read, augmented when training and brought to the size of evaluation else."""
        if self.split == "train":
            return self._augmented(index, image, people)
        if self._mirrored:
            image, people = flip(image, people, self.skeleton.flip_order)
        return eval_transform(image, people, self._sizes)

    def _augmented(self, index: int, image: Tensor, people: People) -> tuple[Tensor, People]:
        picture, ignored = tuple(image.shape[-2:]), self._labelled.ignored
        plan = self._augmentation.draw(*picture, int(self._epoch), index)
        image, people = plan.apply(image, people, self.skeleton.flip_order)
        people = {**people, "mirrored": plan.mirrored}
        if ignored is not None:
            seen = ignored.seen(index, picture, plan.matrix, plan.size, plan.outside)
            seen = torch.from_numpy(seen)
            people["ignore"] = seen.flip(-1) if plan.mirrored else seen
        return image, people

    def _next_readable(
        self, index: int
    ) -> tuple[int, tuple[Tensor, People], list[tuple[int, str]]]:
        """Index, picture and people of the first that can be read, and what is wrong before it.

        In evaluation it is always the picture asked for, if need be in black.
        """
        unreadable: list[tuple[int, str]] = []
        for i in range(index, index + min(TRIES, len(self))):
            i %= len(self)
            picture, why = self._original(i)
            if why is not None:
                unreadable.append((int(self.image_ids[i]), why))
            if why is None or self.split != "train":
                return i, picture, unreadable
        raise InputError(
            f"{len(unreadable)} pictures in a row cannot be read, the first: {unreadable[0][1]}"
        )

    def missing(self) -> list[tuple[int, Path]]:
        """Ids and paths of pictures that have no file."""
        paths = map(self._labelled.path, range(len(self)))
        pairs = zip(self.image_ids.tolist(), paths, strict=True)
        return [(image_id, path) for image_id, path in pairs if not is_file(path)]

    def unopened(self) -> list[tuple[int, str]]:
        """Ids of pictures whose file is there, but is no picture by its first bytes, and why."""
        found = []
        for i in range(len(self)):
            path = self._labelled.path(i)
            try:
                if is_file(path):
                    with naming(path), open_picture(path):
                        pass
            except UserError as error:
                found.append((int(self.image_ids[i]), str(error)))
        return found
