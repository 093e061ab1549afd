"""A small network that predicts from a pose, its scores and its company how well it fits (OKS).

A detector's score says that somebody is there; average precision wants people ordered by how well
their keypoints fit. The network is trained afterwards, on what a frozen model finds on labelled
pictures: `main.py ... --resume FILE --train_rescore`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from grouppose.checkpoints import read_checkpoint, write_checkpoint
from grouppose.errors import InputError
from grouppose.inference import links
from grouppose.inference.links import LinkRescorer
from grouppose.keypoints import pose_area
from grouppose.people import People, chosen, similarity, somebody
from grouppose.skeleton import Skeleton, skeleton_of

HIDDEN = 64


class Rescorer(nn.Module):
    """Gives people new scores: the OKS to expect, 0 for somebody who is found already.

    Args:
        skeleton: of the people.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        self.skeleton = skeleton
        size = 3 * skeleton.num_keypoints + len(skeleton.limbs) + 6
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("sigmas", torch.tensor(skeleton.sigmas), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, 1),
        )  # fmt: skip

    def features(self, people: People) -> Tensor:
        """What the network sees of the n people of a picture: (n, F).

        The pose in its own scale, lengths of limbs, confidences of keypoints, score and scale, and
        how alike (OKS) a better-scored and any other person of the picture is. A missing keypoint
        is at the middle of the others; its limbs have no length.

        Args:
            people: scores (n,), keypoints (n, K, 2) in pixels, confidence (n, K).
        """
        keypoints, confidence = people["keypoints"], people["confidence"]
        count, found = len(keypoints), confidence != 0
        scale = pose_area(keypoints, found).sqrt().clamp(min=1)
        number = found.sum(1).clamp(min=1)[:, None]
        centre = keypoints.where(found[..., None], 0).sum(1) / number
        pose = (keypoints - centre[:, None]) / scale[:, None, None]
        pose = pose.where(found[..., None], 0)
        ends = torch.tensor(self.skeleton.limbs, dtype=torch.int64).reshape(-1, 2)
        limbs = (pose[:, ends[:, 0]] - pose[:, ends[:, 1]]).norm(dim=-1)
        limbs = limbs * found[:, ends].all(-1)
        score = people["scores"].clamp(1e-4, 1 - 1e-4)
        alike = similarity(people, people, self.sigmas)
        alike = alike * (1 - torch.eye(count))
        better = people["scores"][None, :] > people["scores"][:, None]
        company = [
            (alike * better).sum(1).clamp(max=2),
            (alike * better).amax(1) if count else alike.sum(1),
            alike.amax(1) if count else alike.sum(1),
        ]
        single = [score.logit(), scale.log(), confidence.mean(1), *company]
        return torch.cat([pose.flatten(1), limbs, confidence, torch.stack(single, 1)], 1)

    def forward(self, features: Tensor) -> Tensor:
        """(n, F) -> (n,) logits."""
        return self.layers((features - self.mean) / self.spread).squeeze(-1)

    @torch.no_grad()
    def rescored(self, people: People) -> People:
        """The people of a picture with new scores, best first; class 0, nobody, is left out."""
        people = somebody(people)
        scores = self(self.features(people)).sigmoid()
        order = scores.argsort(descending=True, stable=True)
        return chosen({**people, "scores": scores}, order)

    def save(self, path: str | Path) -> None:
        """Writes the network for `load`."""
        settings = {"kind": "rescore", "skeleton": self.skeleton.to_dict()}
        write_checkpoint(path, {"model": self.state_dict(), "settings": settings})

    @classmethod
    def load(cls, path: str | Path, skeleton: Skeleton) -> Rescorer:
        """Reads the network, which must be for this skeleton."""
        content = read_checkpoint(path)
        if content["settings"].get("kind") != "rescore":
            raise InputError(
                f"{path} is no rescoring network; give a file that main.py --train_rescore wrote"
            )
        stored = content["settings"]["skeleton"]
        if skeleton_of(len(stored["names"]), stored) != skeleton:
            raise InputError(
                f"{path} was trained for other keypoints than the model's ({len(stored['names'])} "
                f"and {skeleton.num_keypoints}); train one for this model with --train_rescore"
            )
        network = cls(skeleton)
        network.load_state_dict(content["model"])
        return network.eval()


def read_rescorer(path: str | Path, skeleton: Skeleton) -> Rescorer | LinkRescorer:
    """Reads a rescoring network of either kind, which must be for this skeleton."""
    content = read_checkpoint(path)
    if links.recognises(content["model"]):
        return LinkRescorer.read(content, path, skeleton)
    return Rescorer.load(path, skeleton)


def fit(
    skeleton: Skeleton, features: Tensor, target: Tensor, seed: int = 0, epochs: int = 30
) -> Rescorer:
    """Trains the network, by AdamW with a falling rate.

    Args:
        skeleton: of the people.
        features: (n, F) of `Rescorer.features`.
        target: (n,) OKS in [0, 1].
        seed: of weights and order.
        epochs: passes over the people.
    """
    if not len(features):
        raise InputError("the model finds nobody on the training pictures; train it longer first")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Rescorer(skeleton)
    network.mean.copy_(features.mean(0))
    network.spread.copy_(features.std(0, correction=0).clamp(min=1e-3))
    batch = min(1024, len(features))
    steps = epochs * (len(features) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        order = torch.randperm(len(features), generator=generator)
        for rows in order.split(batch)[: len(features) // batch]:
            optimizer.zero_grad()
            logits = network(features[rows])
            nn.functional.binary_cross_entropy_with_logits(logits, target[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()
