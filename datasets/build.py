"""Data sets by name: where their files are, and what differs between them in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from datasets.annotations import (
    Annotations,
    flat_annotations,
    part_of,
    read_annotations,
    skeleton_in,
)
from datasets.keypoints import KeypointDataset
from datasets.transforms import Sizes
from datasets.validation import report_problems
from grouppose.batch import batch_images
from grouppose.errors import InputError, MissingFileError
from grouppose.skeleton import CROWDPOSE, skeleton_of


@dataclass(frozen=True)
class Layout:
    """Folders of pictures and annotation files by split, and the protocol of evaluation."""

    images: Mapping[str, str]
    annotations: Mapping[str, str]
    protocol: str


COCO_LAYOUT = Layout(
    {"train": "images/train2017", "val": "images/val2017"},
    {
        "train": "annotations/person_keypoints_train2017.json",
        "val": "annotations/person_keypoints_val2017.json",
    },
    "coco",
)

LAYOUTS = {
    "coco": COCO_LAYOUT,
    "synthetic": COCO_LAYOUT,
    "crowdpose": Layout(
        {"train": "images", "val": "images"},
        {"train": "json/crowdpose_trainval.json", "val": "json/crowdpose_test.json"},
        "crowdpose",
    ),
    "ochuman": Layout(
        {"train": "images", "val": "images"},
        {
            "train": "annotations/ochuman_coco_format_val_range_0.00_1.00.json",
            "val": "annotations/ochuman_coco_format_test_range_0.00_1.00.json",
        },
        "ochuman",
    ),
}


def build_dataset(split: str, cfg: Mapping) -> KeypointDataset:
    """The training or evaluation set that the settings name.

    Training leaves out pictures without a labelled person. With `subset` = n > 0, both splits hold
    the first n training pictures: the check that a model can learn them by heart.

    Args:
        split: "train" or "val".
        cfg: dataset_file, coco_path, num_body_points, seed, subset, data_aug_scales,
            data_aug_max_size, data_aug_scales2_resize, data_aug_scales2_crop,
            data_aug_scale_overlap; for "synthetic" also synthetic_train, synthetic_val,
            synthetic_seed and synthetic_size.
    """
    if cfg.dataset_file not in LAYOUTS:
        raise InputError(
            f"dataset_file is {cfg.dataset_file!r}, expected one of {', '.join(sorted(LAYOUTS))}"
        )
    layout = LAYOUTS[cfg.dataset_file]
    if cfg.dataset_file == "synthetic" and skeleton_of(cfg.num_body_points) == CROWDPOSE:
        layout = LAYOUTS["crowdpose"]  # drawn people with its keypoints come in its layout
    sizes = Sizes.from_settings(
        cfg.data_aug_scales,
        cfg.data_aug_max_size,
        cfg.data_aug_scales2_resize,
        cfg.data_aug_scales2_crop,
        cfg.data_aug_scale_overlap,
    )
    folder = _folder(cfg)
    source = "train" if cfg.subset else split
    annotation_file = folder / layout.annotations[source]
    image_folder = folder / layout.images[source]
    if not image_folder.is_dir():
        raise MissingFileError(
            f"no folder {image_folder}; a {cfg.dataset_file} set has its pictures there: "
            "complete it or set --coco_path"
        )
    contents = read_annotations(annotation_file)
    report_problems(annotation_file, image_folder, contents)
    data = flat_annotations(contents, cfg.num_body_points, layout.protocol == "crowdpose")
    if source == "train":
        data = _with_people(data, cfg.subset, annotation_file)
    return KeypointDataset(
        data,
        image_folder=image_folder,
        annotation_file=part_of(contents, data.image_ids) if cfg.subset else annotation_file,
        protocol=layout.protocol,
        skeleton=skeleton_in(contents, cfg.num_body_points),
        split=split,
        sizes=sizes,
        seed=cfg.seed,
    )


def _with_people(data: Annotations, subset: int, annotation_file: Path) -> Annotations:
    """Pictures with a labelled person; the first `subset` of them unless it is 0."""
    rows = np.flatnonzero(np.diff(data.first))
    if not 0 <= subset <= len(rows):
        raise InputError(
            f"subset is {subset}, but {annotation_file} has {len(rows)} pictures with labelled "
            f"people; choose 1 to {len(rows)}, or 0 for all"
        )
    if not len(rows):
        raise InputError(
            f"no picture in {annotation_file} has a person with labelled keypoints; "
            "expected at least one to train on"
        )
    return data.take(rows[:subset] if subset else rows)


def _folder(cfg: Mapping) -> Path:
    """The folder of the data set; a synthetic one is written first if it is missing."""
    if not cfg.coco_path:
        raise MissingFileError("no folder of the data set is given; set --coco_path")
    folder = Path(cfg.coco_path)
    if cfg.dataset_file == "synthetic":
        from datasets.synthetic import write_dataset  # only this set needs its drawing code

        write_dataset(
            folder,
            train=cfg.synthetic_train,
            val=cfg.synthetic_val,
            seed=cfg.synthetic_seed,
            size=cfg.synthetic_size,
            skeleton=skeleton_of(cfg.num_body_points),
        )
    if not folder.is_dir():
        raise MissingFileError(f"no folder {folder}; set --coco_path to the data set's")
    return folder


def collate(
    samples: Sequence[tuple[Tensor, dict[str, Tensor]]],
) -> tuple[Tensor, Tensor, list[dict[str, Tensor]]]:
    """B samples as images (B, 3, H, W) uint8, padding (B, H, W) bool and a list of B targets."""
    images, targets = zip(*samples, strict=True)
    images, padding = batch_images(images)
    return images, padding, list(targets)
