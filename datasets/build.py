"""Builds the data sets that settings name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from addict import Dict
from torch import Tensor

from datasets.annotations import (
    Annotations,
    file_names,
    flat_annotations,
    part_of,
    read_labels,
    skeleton_in,
)
from datasets.cleaning import SHOWN, Finding
from datasets.custom import GIVEN, Poses, completed, poses_of
from datasets.ignored import ignored_regions, nothing_to_learn
from datasets.keypoints import KeypointDataset
from datasets.labelled import AREAS, Labelled
from datasets.lists import listed_rows, read_list
from datasets.naming import check_count, in_order, keypoint_order, names_in, reordered
from datasets.places import (
    CUSTOM,
    UNSCORED,
    check_packed,
    find_images,
    known_layout,
    located,
    place_of,
    some_pictures,
)
from datasets.recipes import augmentation_of, sizes_of
from datasets.validation import report_problems
from grouppose.batch import batch_images
from grouppose.errors import InputError, MissingFileError, nearest
from grouppose.exif import EXIF
from grouppose.models import targets_of
from grouppose.skeleton import CROWDPOSE, places_of, skeleton_of

logger = logging.getLogger("grouppose.train.data")


def build_sets(
    splits: Sequence[str], cfg: Dict, start: Mapping | None = None
) -> tuple[dict[str, KeypointDataset], Dict]:
    """The sets that the settings name, and the settings completed by what the data say.

    Args:
        splits: "train" before "val", which is read with the classes of the former.
        cfg: as for `build_dataset`.
        start: settings of the network whose weights training starts from; the same keypoints and
            classes get the places that they have there.

    Returns:
        The sets by split; the settings with num_body_points, num_classes, skeleton and categories
        of the data, as checkpoints keep them.
    """
    sets, like = {}, None
    for split in splits:
        sets[split] = build_dataset(split, cfg, like)
        if like is None and start and (order := order_of(start, sets[split].poses, cfg)):
            logger.info(f"{' and '.join(order)}: in the order of the weights that are started from")
            cfg = type(cfg)({**cfg, **order})
            sets[split] = build_dataset(split, cfg)
        like = sets[split].poses
        cfg = type(cfg)({**cfg, **sets[split].network_settings()})
    cfg.freeze()
    return sets, cfg


def order_of(start: Mapping, poses: Poses, cfg: Mapping) -> dict[str, object]:
    """The settings skeleton and categories of a set whose names weights have in another order."""
    changes: dict[str, object] = {}
    count = poses.skeleton.num_keypoints
    known = (
        skeleton_of(count, start.get("skeleton")) if start.get("num_body_points") == count else None
    )
    places = places_of(poses.skeleton.names, known.names) if known else None
    if cfg.skeleton is None and places not in (None, tuple(range(count))):
        changes["skeleton"] = poses.skeleton.in_order(places).to_dict()
    classes = in_order(poses.categories, start.get("categories", ()))
    if not cfg.categories and classes != poses.categories:
        changes["categories"] = classes
    return changes


def build_dataset(split: str, cfg: Mapping, like: Poses | None = None) -> KeypointDataset:
    """The training or evaluation set that the settings name.

    Training leaves out pictures without a labelled person. With `subset` = n > 0, both splits hold
    the first n training pictures: the check that a model can learn them by heart.

    Args:
        split: "train" or "val".
        cfg: modelname, dataset_file, coco_path, num_body_points, num_classes, skeleton, categories,
            seed, subset, exif, data_aug_flip, data_aug_scales, data_aug_max_size,
            data_aug_scales2_resize, data_aug_scales2_crop, data_aug_scale_overlap and what
            `place_of` reads; for "synthetic" also synthetic_train, synthetic_val, synthetic_seed
            and synthetic_size.
        like: what the training set has: this one is read with its keypoints and classes.
    """
    for name, choices in (("exif", EXIF), ("person_area", AREAS)):
        if cfg[name] not in choices:
            raise InputError(f"{name} is {cfg[name]!r}; {nearest(str(cfg[name]), choices)}")
    custom = cfg.dataset_file == CUSTOM
    layout = None if custom else known_layout(cfg.dataset_file)
    if cfg.dataset_file == "synthetic" and skeleton_of(cfg.num_body_points) == CROWDPOSE:
        layout = known_layout("crowdpose")  # drawn people with its keypoints come in its layout
    sizes = sizes_of(cfg)
    folder = _folder(cfg)
    source = "train" if cfg.subset else split
    place = place_of(source, cfg, layout)
    contents, findings = read_labels(place.annotations, labelled=place.protocol != UNSCORED)
    if source != "train" and like is None and cfg.skeleton is None and cfg.num_body_points:
        cfg = with_published_order(contents, cfg)  # of weights that keep no names
    unlabelled = split == "train" and cfg.unlabelled_people
    contents, poses, data = labels_of(contents, cfg, place.protocol, like, unlabelled)
    images = place.images
    if custom and not cfg[f"{source}_images"] and contents["images"]:
        images = find_images(folder, source, some_pictures(contents), place.annotations)
    contents = _located(contents, images, place.annotations, findings)
    data = replace(data, file_names=file_names(contents))
    if place.listed:
        data = _listed(data, place.listed)
    if source == "train":
        data = with_people(data, cfg.subset, place.annotations, contents, cfg.unlabelled_people)
    elif not len(data.image_ids):
        raise InputError(
            f"{place.annotations} lists no pictures; expected at least one to evaluate on"
        )
    elif not len(data.area) and place.protocol != UNSCORED:
        logger.warning(f"{place.annotations} has nobody with labelled keypoints: there is no AP")
    changed = custom or cfg.subset or place.listed
    facts = {"num_body_points": poses.skeleton.num_keypoints, "skeleton": poses.skeleton.to_dict()}
    return KeypointDataset(
        _labelled(data, images, contents, place.protocol, cfg),
        annotation_file=part_of(contents, data.image_ids) if changed else place.annotations,
        protocol=place.protocol,
        poses=poses,
        split=split,
        sizes=sizes,
        augmentation=augmentation_of(cfg, poses.skeleton) if split == "train" else None,
        encode=targets_of({**cfg, **facts}),
    )


def _located(
    contents: Mapping, images: Path, annotations: Path, findings: Sequence[Finding]
) -> Mapping:
    """Contents with the names under which pictures lie; the log says what is wrong with them."""
    contents, moved = located(contents, images)
    check_packed(contents, images)
    report_problems(annotations, images, contents, [*findings, *moved])
    return contents


def labels_of(
    contents: Mapping,
    cfg: Mapping,
    protocol: str,
    like: Poses | None = None,
    unlabelled: bool = False,
) -> tuple[Mapping, Poses, Annotations]:
    """The contents of a label file as training and evaluation use them.

    Args:
        contents: from `read_labels`.
        cfg: dataset_file, num_body_points, num_classes, skeleton, categories.
        protocol: of the set.
        like: as for `build_dataset`.
        unlabelled: keep people without a labelled keypoint too.

    Returns:
        Contents in which everybody has a box and an area if any keypoints will do; what is on the
        pictures; the same as arrays.

    Raises:
        InputError: names what a run could not go on with.
    """
    custom = cfg.dataset_file == CUSTOM
    if custom or len(cfg.categories) > 1:
        poses = poses_of(contents, cfg, like)
    else:
        poses = _published_poses(contents, cfg, like)
    if custom:
        contents = completed(contents)
    data = flat_annotations(
        contents,
        poses.skeleton.num_keypoints,
        protocol == "crowdpose",
        poses.file_ids if poses.categories else (),
        poses.order,
        unlabelled,
    )
    return contents, poses, data


def with_published_order(contents: Mapping, cfg: Mapping) -> Mapping:
    """Settings with the published skeleton if the file lists its keypoints in another order."""
    skeleton = reordered(contents, cfg.num_body_points)
    return cfg if skeleton is None else type(cfg)({**cfg, "skeleton": skeleton.to_dict()})


def _published_poses(contents: Mapping, cfg: Mapping, like: Poses | None) -> Poses:
    """A person of one class, whose skeleton goes by the file's names, unless one is set."""
    count, given = cfg.num_body_points, cfg.skeleton
    if like is not None:
        skeleton, source = like.skeleton, like.sigmas_from
    elif given is None:
        skeleton = reordered(contents, count) or skeleton_in(contents, count)
        source = "the published ones"
    else:
        skeleton, source = skeleton_of(count, given), GIVEN
    if isinstance(given, Mapping):
        check_count(contents, skeleton.names)
    chosen = given is not None and not isinstance(given, Mapping)
    order = keypoint_order(contents, skeleton, like.training_names if like else (), chosen)
    ids = [c["id"] for c in contents["categories"] if c.get("keypoints")]
    names = names_in(contents, count)
    ids = tuple(ids) if len(ids) == 1 else ()
    return Poses(skeleton, [], cfg.num_classes, source, order, ids, names)


def _listed(data: Annotations, path: Path) -> Annotations:
    """The pictures that a list names."""
    names = read_list(path)
    file_names = [name.decode() for name in data.file_names]
    rows, unknown = listed_rows(names, file_names, data.image_ids)
    if not rows:
        raise InputError(
            f"{path} names {len(names)} pictures, none of which is annotated; expected file names "
            "or ids of this set"
        )
    if unknown:
        logger.warning(
            f"{path}: {len(unknown)} of {len(names)} pictures are not annotated: "
            + ", ".join(unknown[:SHOWN])
        )
    return data.take(np.array(rows))


def _labelled(
    data: Annotations, images: Path, contents: Mapping, protocol: str, cfg: Mapping
) -> Labelled:
    segments, wanted = protocol != "crowdpose", cfg.ignore_regions
    if wanted == "auto":
        wanted = cfg.augmentation == "affine" and segments
    ignored = None
    if wanted or cfg.augmentation == "affine":  # whose black borders are ignored in any case
        ignored = ignored_regions(nothing_to_learn(contents) if wanted else (), data)
    return Labelled(data, images, cfg.exif, cfg.person_area, segments, ignored)


def with_people(
    data: Annotations,
    subset: int,
    annotation_file: Path,
    contents: Mapping,
    unlabelled: bool = False,
) -> Annotations:
    """Pictures with a labelled person, or `unlabelled`: with anybody, also in a crowd; the first
    `subset` of them unless it is 0."""
    wanted = np.diff(data.first) > 0
    if unlabelled:
        others = [entry["image_id"] for entry in nothing_to_learn(contents)]
        wanted |= np.isin(data.image_ids, others)
    rows = np.flatnonzero(wanted)
    if not 0 <= subset <= len(rows):
        raise InputError(
            f"subset is {subset}, but {annotation_file} has {len(rows)} pictures with labelled "
            f"people; choose 1 to {len(rows)}, or 0 for all"
        )
    if not len(rows):
        crowds = sum(bool(entry.get("iscrowd")) for entry in contents["annotations"])
        raise InputError(
            f"no picture in {annotation_file} has a person with labelled keypoints; "
            "expected at least one to train on"
            + (f" ({crowds} of the annotations have iscrowd 1: those are crowds)" * bool(crowds))
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
