"""Evaluation: finds the people of a set, from several views if asked to, scores and reports."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.annotations import read_annotations
from datasets.errors import format_errors, keypoint_errors, save_errors
from datasets.evaluate import format_stats, keypoint_stats, swap_rate, to_results
from datasets.intervals import bootstrap
from datasets.keypoints import KeypointDataset
from datasets.matching import PERSON, matching
from datasets.places import UNSCORED
from grouppose.errors import InputError
from grouppose.inference.rescore import Rescorer, fit
from grouppose.people import People, merge, somebody, unflip
from grouppose.skeleton import UNPAIRED, Skeleton, mirrors
from util import distributed, engine, mishaps
from util.loading import EvalBatches, make_loader
from util.log import logger, write_text
from util.plots import drawn_samples, save_prediction_grid

Found = tuple[list[int], list[People]]
FEW = 500  # pictures; the demo's rescoring networks gained from 2,000
SUBMITTED = 20  # best people of a picture that COCO's evaluation looks at
THRESHOLD = 0.3  # score from which people are drawn


def find_people(
    model: nn.Module,
    postprocess: Callable,
    batches: DataLoader,
    settings: Mapping[str, Any],
    device: torch.device,
    precision: torch.dtype | None,
    folder: Path | None = None,
) -> Found:
    """Finds the people of every picture, on all ranks together.

    Args:
        model: without DistributedDataParallel.
        postprocess: from its outputs to people.
        batches: of the evaluation set.
        settings: flip_test, test_scales, num_select, rescore, eval_batch_size.
        folder: of the run, for the list of pictures that cannot be read.

    Returns:
        Image ids and people in the order of the set, the same on all ranks.
    """
    skeleton = batches.dataset.skeleton
    rescorer = Rescorer.load(settings["rescore"], skeleton) if settings["rescore"] else None
    found, seconds = [], []
    for shorter, mirrored in _views(settings, skeleton):
        began = time.monotonic()
        loader, step = batches, postprocess
        if mirrored or shorter is not None:
            loader = _with_dataset(batches, batches.dataset.view(shorter, mirrored), settings)
        if mirrored:
            step = partial(_unflipped, postprocess, skeleton.flip_order)
        image_ids, people, unreadable = engine.predict(model, step, loader, device, precision)
        if not found:
            mishaps.note_unseen(unreadable, len(image_ids), folder, settings["max_unreadable"])
        found.append(people)
        seconds.append(time.monotonic() - began)
    if len(found) > 1:
        logger.info(
            f"test time: {len(found)} views of each picture, {sum(seconds):.1f} s, "
            f"{sum(seconds) / seconds[0]:.1f} times the first alone"
        )
        found = [[somebody(p) for p in people] for people in found]
        sigmas = torch.tensor(skeleton.sigmas)
        people = [merge(of_picture, sigmas) for of_picture in zip(*found, strict=True)]
    if rescorer is not None:
        people = [rescorer.rescored(of_picture) for of_picture in people]
    most = settings["num_select"]
    return image_ids, [{name: value[:most] for name, value in p.items()} for p in people]


def _views(settings: Mapping[str, Any], skeleton: Skeleton) -> list[tuple[int | None, bool]]:
    """Shorter side (None: that of evaluation) and whether mirrored, of each view."""
    scales = settings["test_scales"] or [None]
    if min(side or 1 for side in scales) < 1:
        raise InputError(f"test_scales is {scales}, expected sides in pixels")
    if settings["flip_test"] is True and not skeleton.flip_pairs:
        logger.warning(
            f"flip_test=True, but {UNPAIRED}; flip_test=auto looks at mirrored pictures "
            "only where one has"
        )
    sides = (False, True) if mirrors(settings["flip_test"], skeleton) else (False,)
    return [(shorter, mirrored) for shorter in scales for mirrored in sides]


def _unflipped(
    postprocess: Callable, flip_order: Sequence[int], outputs: dict, sizes: Tensor
) -> list[People]:
    found = postprocess(outputs, sizes)
    widths = sizes[:, 1].tolist()
    return [unflip(p, width, flip_order) for p, width in zip(found, widths, strict=True)]


def _with_dataset(
    batches: DataLoader, dataset: KeypointDataset, settings: Mapping[str, Any]
) -> DataLoader:
    """A loader like the evaluation's, of another set."""
    device = torch.device("cuda" if batches.pin_memory else "cpu")
    order = EvalBatches(len(dataset), settings["eval_batch_size"])
    return make_loader(dataset, order, batches.collate_fn, batches.num_workers, device)


def score(
    dataset: KeypointDataset, found: Found, evaluator: str = "faster"
) -> tuple[dict[str, float], list[dict]]:
    """Statistics, empty where the labels are not public, and results in COCO's format."""
    poses = dataset.poses
    results = to_results(*found, poses.file_ids or [PERSON], poses.file_order)
    if dataset.protocol == UNSCORED:
        return {}, results
    labels, skeleton = dataset.annotation_file, poses.file_skeleton
    stats = keypoint_stats(
        labels, results, dataset.protocol, evaluator, skeleton, by_category=bool(poses.categories)
    )
    return {**stats, "swap_rate": swap_rate(labels, results, skeleton)}, results


def report(
    dataset: KeypointDataset,
    stats: Mapping[str, float],
    results: list[dict],
    people: list[People],
    folder: Path | None,
    samples: int,
    pictures: int,
) -> None:
    """Prints the tables of --eval and writes its files.

    Args:
        dataset: that was evaluated.
        stats, results: of `score`.
        people: of `find_people`.
        folder: for results.json, errors.png and predictions.png; None: none are written.
        samples: of the bootstrap; 0: no intervals.
        pictures: that are drawn.
    """
    write = sys.stdout.write
    write(
        f"{dataset.protocol}: {len(dataset)} pictures, {dataset.people} people; {dataset.poses}\n"
    )
    if dataset.protocol == UNSCORED:
        _write_submission(dataset, results, folder)
        return
    stats = dict(stats)
    swaps = stats.pop("swap_rate")
    write(format_stats(stats) + "\n")
    if samples:
        categories = bool(dataset.poses.categories)
        intervals = bootstrap(
            dataset.annotation_file,
            results,
            samples,
            dataset.protocol,
            dataset.poses.file_skeleton,
            categories,
        )
        for name, (low, high) in intervals.items():
            ends = f"{100 * low:.1f} to {100 * high:.1f}"
            write(f"{name} {100 * stats[name]:.1f}, 95 % interval {ends}\n")
        write(f"(bootstrap over pictures, {samples} samples)\n")
    write(f"left-right swaps among matched people: {100 * swaps:.1f} %\n")
    skeleton = dataset.poses.file_skeleton
    errors = keypoint_errors(dataset.annotation_file, results, skeleton)
    write(format_errors(errors, skeleton) + "\n")
    if folder is None:
        return
    write_text(folder / "results.json", json.dumps(results))
    save_errors(folder / "errors.png", errors, skeleton)
    if pictures > 0:
        save_prediction_grid(
            folder / "predictions.png",
            drawn_samples(dataset, people[:pictures]),
            dataset.skeleton,
            columns=4,
            threshold=THRESHOLD,
        )


def _write_submission(dataset: KeypointDataset, results: list[dict], folder: Path | None) -> None:
    """The file that COCO's server takes: the best people of each picture, rounded."""
    if folder is None:
        raise InputError(
            "this set's labels are not public, so nothing can be scored here; give --output_dir "
            "for the file to submit"
        )
    taken: dict[int, int] = {}
    kept = []
    for result in results:  # the people of a picture are best first
        taken[result["image_id"]] = taken.get(result["image_id"], 0) + 1
        if taken[result["image_id"]] <= SUBMITTED:
            keypoints = np.round(result["keypoints"], 2).tolist()
            kept.append({**result, "keypoints": keypoints, "score": round(result["score"], 5)})
    path = folder / "person_keypoints_test-dev2017_grouppose_results.json"
    write_text(path, json.dumps(kept))
    sys.stdout.write(
        f"its labels are not public: {path} has {len(kept)} people; zip and upload it to COCO's "
        "server\n"
    )


def train_rescorer(
    model: nn.Module,
    postprocess: Callable,
    batches: tuple[DataLoader, DataLoader],
    settings: Mapping[str, Any],
    device: torch.device,
    precision: torch.dtype | None,
    folder: Path,
) -> None:
    """--train_rescore: trains on the training pictures, compares on the others, writes the file.

    Args:
        model, postprocess, settings, device, precision: as for `find_people`.
        batches: of the training and of the evaluation set.
        folder: receives rescore.pth.
    """
    train, val = (loader.dataset for loader in batches)
    looked = _with_dataset(batches[1], train.view(), settings)
    image_ids, people, unreadable = engine.predict(model, postprocess, looked, device, precision)
    mishaps.note_unseen(unreadable, len(image_ids), folder, settings["max_unreadable"])
    plain = {**settings, "rescore": ""}
    val_ids, val_people = find_people(model, postprocess, batches[1], plain, device, precision)
    if not distributed.is_main():
        return
    network = fit(train.skeleton, *_examples(train, image_ids, people), settings["seed"])
    path = folder / "rescore.pth"
    network.save(path)
    before, _ = score(val, (val_ids, val_people))
    after, _ = score(val, (val_ids, [network.rescored(p) for p in val_people]))
    sys.stdout.write(
        f"trained on what the model finds on {len(train)} pictures; on the {len(val)} pictures of "
        f"the evaluation set:\nbefore\n{format_stats(before)}\nafter\n{format_stats(after)}\n"
        f"{path} written; use it with --options rescore={path}\n"
    )
    for doubt in doubts(len(train), before.get("AP", 0.0), after.get("AP", 0.0)):
        logger.warning(doubt)


def doubts(pictures: int, before: float, after: float) -> list[str]:
    """What speaks against a rescoring network; AP of the evaluation set without and with it."""
    found = []
    if pictures < FEW:
        found.append(
            f"the rescoring network has seen {pictures} pictures, of which it may know the people "
            f"by heart; train it on {FEW} or more"
        )
    if after < before:
        found.append(
            f"the rescoring network lowers AP from {100 * before:.1f} to {100 * after:.1f} %; go "
            "on without it, or train it on other pictures than the model"
        )
    return found


def _examples(
    dataset: KeypointDataset, image_ids: list[int], people: list[People]
) -> tuple[Tensor, Tensor]:
    """Features (n, F) of everybody who was found, and the OKS (n,) with the person that is theirs.

    People are given to predictions as for AP, best score first; who gets nobody has 0.
    """
    people = [somebody(p) for p in people]
    network = Rescorer(dataset.skeleton)
    features = torch.cat([network.features(p) for p in people])
    persons = [{**p, "labels": torch.ones_like(p["labels"])} for p in people]
    contents = read_annotations(dataset.annotation_file)
    results = to_results(image_ids, persons, order=dataset.poses.file_order)
    found = matching(contents, results, dataset.poses.file_skeleton, 0.0)
    target = torch.zeros(len(features))
    target[found.source[found.rows]] = torch.from_numpy(found.similarity).float()
    return features, target
