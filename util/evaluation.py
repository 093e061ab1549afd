"""Evaluation: finds the people of a set, scores and reports."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from datasets.evaluate import format_stats, keypoint_stats, swap_rate, to_results
from datasets.intervals import bootstrap
from datasets.keypoints import KeypointDataset
from datasets.matching import PERSON
from datasets.mistakes import format_errors, keypoint_errors, save_errors
from datasets.places import UNSCORED
from grouppose.errors import InputError
from grouppose.inference.find import Finder
from grouppose.inference.rescore import read_rescorer
from grouppose.people import People, at_stage, chosen, nobody
from util import distributed, mishaps, stopping
from util.drawing import drawn_samples, save_prediction_grid
from util.loading import from_workers
from util.log import Progress, logger, write_text
from util.state import load_pretrained

if TYPE_CHECKING:
    from util.session import Run

Found = tuple[list[int], list[People]]
SUBMITTED = 20  # best people of a picture that COCO's evaluation looks at


def evaluate(run: Run, model: nn.Module) -> tuple[dict[str, float], list[dict], list[People]]:
    """Scores a model on the evaluation set; every rank must call it.

    Args:
        run: whose settings and evaluation set count.
        model: without DistributedDataParallel, as ranks may have different numbers of batches.

    Returns:
        Statistics and results in COCO's format, both empty except on rank 0, and the people of
        each picture.
    """
    rescore, skeleton = run.settings["rescore"], run.val_set.skeleton
    rescorer = read_rescorer(rescore, skeleton) if rescore else None
    finder = Finder(model, run.decode, run.device, run.precision, rescorer)
    found = find_people(run, finder, run.val_batches)
    if not distributed.is_main():
        return {}, [], found[1]
    stats, results = score(run.val_set, found, run.args.evaluator)
    return stats, results, found[1]


def evaluate_only(run: Run) -> None:
    """--eval: prints the tables; writes results.json and pictures if there is a folder."""
    load_pretrained(run.model, run.args.resume or run.args.pretrain_model_path, [])
    stats, results, people = evaluate(run, run.model)
    if distributed.is_main():
        report(run, stats, results, people)
        _report_stages(run, people)


def find_people(run: Run, finder: Finder, batches: DataLoader) -> Found:
    """Finds the people of every picture of a set, on all ranks together.

    Args:
        run: notes what cannot be read in its folder.
        finder: of people.
        batches: a loader of `datasets.viewed.ViewBatch`; each rank has its share.

    Returns:
        Image ids in the order of the set, and the people of each picture, nobody where it cannot
        be read; on the CPU, the same on all ranks.
    """
    finder.model.eval()
    pictures, ranks, began = batches.dataset.pictures, distributed.world_size(), time.monotonic()
    image_ids: list[int] = []
    people: list[People] = []
    unreadable: list[tuple[int, str]] = []
    most = 0
    with Progress(len(pictures), "evaluation") as progress:
        for batch in from_workers(batches):
            if stopping.requested():
                raise stopping.Stopped("stopped during evaluation", stopping.requested())
            found = finder.people(batch.inputs, batch.views)
            for image_id, of_picture in zip(batch.image_ids, found, strict=True):
                seen = image_id not in batch.unreadable
                people.append(of_picture if seen else chosen(of_picture, slice(0)))
            image_ids += batch.image_ids
            unreadable += batch.unreadable.items()
            most = max(most, len(batch.inputs))
            progress.step(len(batch.image_ids) * ranks)
    rows = [row for rows in distributed.from_all(unreadable) for row in rows]
    stages = getattr(finder.decode, "stages", ())
    image_ids, people = _gather(image_ids, people, pictures, stages)
    if most > 1:
        seconds = time.monotonic() - began
        logger.info(f"test time: {most} views of each picture, {seconds:.1f} s")
    limit = run.settings["max_unreadable"]
    mishaps.note_unseen(dict(rows), len(image_ids), run.folder, limit)
    return image_ids, people


def _gather(
    image_ids: list[int], people: list[People], pictures: KeypointDataset, stages: Sequence[str]
) -> Found:
    """Puts the shares of all ranks together, as arrays, in the order of the data set."""
    empty = nobody(pictures.skeleton.num_keypoints)
    for stage in stages:
        own = ("keypoints", "confidence", "scores")
        empty |= {f"{stage}_{name}": empty[name] for name in own}
    ids = distributed.gather_rows(torch.tensor(image_ids, dtype=torch.int64)).tolist()
    counts = torch.tensor([len(p["scores"]) for p in people], dtype=torch.int64)
    counts = distributed.gather_rows(counts).tolist()
    columns = {
        name: distributed.gather_rows(torch.cat([nothing, *(p[name] for p in people)])).split(
            counts
        )
        for name, nothing in empty.items()
    }
    order = _positions(ids, pictures.image_ids)
    everybody = [{name: column[i] for name, column in columns.items()} for i in order]
    return [ids[i] for i in order], everybody


def _positions(ids: Sequence[int], wanted: Sequence[int]) -> list[int]:
    place = {int(image_id): i for i, image_id in enumerate(wanted)}
    return sorted(range(len(ids)), key=lambda i: place[ids[i]])


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


def report(run: Run, stats: Mapping[str, float], results: list[dict], people: list[People]) -> None:
    """Prints the tables of --eval and writes its files.

    Args:
        run: with a folder, for results.json, errors.png and predictions.png, or without.
        stats, results: of `score`.
        people: of `find_people`.
    """
    write, dataset, folder = sys.stdout.write, run.val_set, run.folder
    write(
        f"{dataset.protocol}: {len(dataset)} pictures, {dataset.people} {dataset.poses.called}; "
        f"{dataset.poses}\n"
    )
    if dataset.protocol == UNSCORED:
        _write_submission(results, folder, run.settings["modelname"])
        return
    stats = dict(stats)
    swaps = stats.pop("swap_rate")
    if getattr(run.decode, "stages", ()):
        write("final\n")  # further tables have the names of their stages
    write(format_stats(stats) + "\n")
    if run.args.bootstrap:
        _write_intervals(dataset, stats, results, run.args.bootstrap)
    write(f"left-right swaps among matched people: {100 * swaps:.1f} %\n")
    skeleton = dataset.poses.file_skeleton
    errors = keypoint_errors(dataset.annotation_file, results, skeleton)
    write(format_errors(errors, skeleton) + "\n")
    if folder is None:
        return
    write_text(folder / "results.json", json.dumps(results))
    save_errors(folder / "errors.png", errors, skeleton)
    pictures = run.args.save_predictions
    if pictures > 0:
        samples = drawn_samples(dataset, people[:pictures])
        path, threshold = folder / "predictions.png", run.decode.threshold
        save_prediction_grid(path, samples, dataset.skeleton, columns=4, threshold=threshold)


def _report_stages(run: Run, people: list[People]) -> None:
    """Tables of the same people before the last steps of decoding."""
    dataset, rescore = run.val_set, run.settings["rescore"]
    if dataset.protocol == UNSCORED:
        return
    for stage in getattr(run.decode, "stages", ()):
        found = [at_stage(of_picture, stage) for of_picture in people]
        if rescore:
            rescorer = read_rescorer(rescore, dataset.skeleton)
            found = [rescorer.rescored(of_picture) for of_picture in found]
        stats, _ = score(dataset, (dataset.image_ids.tolist(), found), run.args.evaluator)
        stats.pop("swap_rate")
        sys.stdout.write(f"{stage}\n{format_stats(stats)}\n")


def _write_intervals(
    dataset: KeypointDataset, stats: Mapping[str, float], results: list[dict], samples: int
) -> None:
    categories, skeleton = bool(dataset.poses.categories), dataset.poses.file_skeleton
    intervals = bootstrap(
        dataset.annotation_file, results, samples, dataset.protocol, skeleton, categories
    )
    for name, (low, high) in intervals.items():
        ends = f"{100 * low:.1f} to {100 * high:.1f}"
        sys.stdout.write(f"{name} {100 * stats[name]:.1f}, 95 % interval {ends}\n")
    sys.stdout.write(f"(bootstrap over pictures, {samples} samples)\n")


def _write_submission(results: list[dict], folder: Path | None, modelname: str) -> None:
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
    path = folder / f"person_keypoints_test-dev2017_{modelname}_results.json"
    write_text(path, json.dumps(kept))
    sys.stdout.write(
        f"its labels are not public: {path} has {len(kept)} people; zip and upload it to COCO's "
        "server\n"
    )
