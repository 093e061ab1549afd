"""--train_rescore: trains a rescoring network on what a model finds on the training pictures."""

from __future__ import annotations

import sys

import torch

from datasets.evaluate import format_stats
from datasets.keypoints import KeypointDataset
from datasets.rescore import examples, scored_results, similarity_to_own
from datasets.viewed import ViewedPictures, collate_views
from grouppose.inference.find import Finder
from grouppose.inference.rescore import LinkRescorer, Rescorer, fit
from grouppose.models import decode_of, family
from grouppose.people import People
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
    own = hasattr(family(run.settings["modelname"]), "build_rescorer")
    views = {"test_scales": []} if own else {"test_scales": [], "flip_test": False}
    decode = decode_of(run.settings, **views)
    looked = ViewedPictures(train, decode)
    order = EvalBatches(len(looked), run.settings["eval_batch_size"])
    workers = run.val_batches.num_workers
    batches = make_loader(looked, order, collate_views, workers, run.device)
    finder = Finder(run.model, decode, run.device, run.precision)
    found = find_people(run, finder, batches)
    finder = Finder(run.model, run.decode, run.device, run.precision)
    val_ids, val_people = find_people(run, finder, run.val_batches)
    if not distributed.is_main():
        return
    teach = _family_rescorer if own else _rescorer
    network = teach(run, train, *found)
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


def _rescorer(
    run: Run, train: KeypointDataset, image_ids: list[int], people: list[People]
) -> Rescorer:
    """This library's network, on everybody who was found."""
    network, poses = Rescorer(train.skeleton), train.poses
    features = torch.cat([network.features(p) for p in people])
    target = similarity_to_own(
        train.annotation_file, image_ids, people, poses.file_skeleton, poses.file_order
    )
    return fit(train.skeleton, features, target, run.settings["seed"])


def _family_rescorer(
    run: Run, train: KeypointDataset, image_ids: list[int], people: list[People]
) -> LinkRescorer:
    """The network and the examples of the family's published code."""
    own, poses = family(run.settings["modelname"]), train.poses
    results = scored_results(image_ids, people, poses.file_order)
    keypoints, confidence, target = examples(train.annotation_file, results, poses.file_skeleton)
    if poses.order:  # of the file's keypoints, to the model's
        keypoints, confidence = keypoints[:, list(poses.order)], confidence[:, list(poses.order)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.settings["seed"])
        network = own.build_rescorer(train.skeleton.num_keypoints, train.skeleton.to_dict())
        own.fit_rescorer(network, network.features(keypoints, confidence), target)
    return network.eval()


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
