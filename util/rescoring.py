"""--train_rescore: trains a rescoring network on what a model finds on the training pictures."""

from __future__ import annotations

import sys

import torch

from datasets.evaluate import format_stats
from datasets.rescore import similarity_to_own
from datasets.viewed import ViewedPictures, collate_views
from grouppose.inference.find import Finder
from grouppose.inference.rescore import Rescorer, fit
from grouppose.models import decode_of
from util import distributed
from util.evaluation import find_people, score
from util.loading import EvalBatches, make_loader
from util.log import logger
from util.session import Run
from util.state import load_pretrained

FEW = 500  # pictures; the demo's rescoring networks gained from 2,000


def train_rescore(run: Run) -> None:
    """Trains on the training pictures, compares on the others, writes rescore.pth."""
    load_pretrained(run.model, run.args.resume or run.args.pretrain_model_path, [])
    train, val = run.train_batches.dataset, run.val_set
    plain = decode_of(run.settings, flip_test=False, test_scales=[])
    looked = ViewedPictures(train, plain)
    order = EvalBatches(len(looked), run.settings["eval_batch_size"])
    workers = run.val_batches.num_workers
    batches = make_loader(looked, order, collate_views, workers, run.device)
    finder = Finder(run.model, plain, run.device, run.precision)
    image_ids, people = find_people(run, finder, batches)
    finder = Finder(run.model, run.decode, run.device, run.precision)
    val_ids, val_people = find_people(run, finder, run.val_batches)
    if not distributed.is_main():
        return
    network = Rescorer(train.skeleton)
    features = torch.cat([network.features(p) for p in people])
    poses = train.poses
    target = similarity_to_own(
        train.annotation_file, image_ids, people, poses.file_skeleton, poses.file_order
    )
    network = fit(train.skeleton, features, target, run.settings["seed"])
    path = run.folder / "rescore.pth"
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
