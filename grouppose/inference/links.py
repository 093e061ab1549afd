"""The published rescoring network: from the links of a pose to how well it fits (OKS).

It is fed with a family's own results, but knows no picture: one that was trained on one model's
results serves others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from grouppose.checkpoints import write_checkpoint
from grouppose.errors import InputError
from grouppose.skeleton import COCO, CROWDPOSE, Skeleton, skeleton_of

People = dict[str, Tensor]
HIDDEN = 256
SIDES = (9, 11)  # links whose mean length is the unit: the sides of the trunk in COCO's list
_COCO_LINKS = (
    (0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (5, 11), (6, 8),
    (6, 12), (7, 9), (8, 10), (11, 12), (11, 13), (12, 14), (13, 15), (14, 16),
)  # fmt: skip
_CROWDPOSE_LINKS = (  # 9 and 11 are the left thigh and shin; the published file was trained so
    (12, 13), (13, 0), (13, 1), (0, 2), (1, 3), (2, 4), (3, 5), (0, 6), (1, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (6, 7), (0, 1),
)  # fmt: skip
_PUBLISHED = {COCO.names: _COCO_LINKS, CROWDPOSE.names: _CROWDPOSE_LINKS}


class LinkRescorer(nn.Module):
    """Three linear layers; what they give is the factor of a person's score.

    Args:
        skeleton: of the people. COCO's and CrowdPose's have the published links and their unit of
            length; others have their limbs, and the square root of the pose's box as the unit.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        self.skeleton = skeleton
        links = _PUBLISHED.get(skeleton.names)
        self.published = links is not None
        links = torch.tensor(links or skeleton.limbs, dtype=torch.int64).reshape(-1, 2)
        self.register_buffer("links", links, persistent=False)
        size = 3 * len(links) + skeleton.num_keypoints
        self.l1, self.l2 = nn.Linear(size, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.l3 = nn.Linear(HIDDEN, 1)
        for layer in (self.l1, self.l2, self.l3):
            bound = math.sqrt(3 / layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)

    def features(self, keypoints: Tensor, confidence: Tensor) -> Tensor:
        """What the network sees of people: links as vectors, their lengths, confidences.

        Args:
            keypoints: (n, K, 2) in pixels of the original picture.
            confidence: (n, K).

        Returns:
            (n, 3 L + K).
        """
        ends = keypoints[:, self.links]  # (n, L, 2, 2)
        vectors = ends[:, :, 0] - ends[:, :, 1]
        lengths = vectors.norm(dim=-1)
        if self.published:
            unit = lengths[:, SIDES].mean(1)
        else:
            unit = (keypoints.amax(1) - keypoints.amin(1)).prod(-1).sqrt()
        unit = unit.clamp(min=1)[:, None]
        return torch.cat([vectors.flatten(1) / unit, lengths / unit, confidence], 1)

    def forward(self, features: Tensor) -> Tensor:
        """(n, 3 L + K) -> (n,)."""
        return self.l3(self.l2(self.l1(features).relu()).relu()).squeeze(-1)

    @torch.no_grad()
    def rescored(self, people: People) -> People:
        """The people of a picture with new scores, which may be negative, best first."""
        features = self.features(people["keypoints"].float(), people["confidence"].float())
        scores = self(features).nan_to_num(nan=0.0) * people["scores"]
        order = scores.argsort(descending=True, stable=True)
        return {name: value[order] for name, value in {**people, "scores": scores}.items()}

    def save(self, path: str | Path) -> None:
        """Writes the network: as the published files are, or with the skeleton if that is none."""
        content: dict = dict(self.state_dict())
        if not self.published:
            settings = {"kind": "rescore", "skeleton": self.skeleton.to_dict()}
            content = {"model": content, "settings": settings}
        write_checkpoint(path, content)

    @classmethod
    def read(cls, content: Mapping, path: str | Path, skeleton: Skeleton) -> LinkRescorer:
        """The network of a file, which must be for this skeleton.

        Args:
            content: of `grouppose.checkpoints.read_checkpoint`.
            path: for messages.
            skeleton: of the people.
        """
        network, state = cls(skeleton), content["model"]
        stored = content["settings"].get("skeleton")
        same = network.published if stored is None else Skeleton.from_dict(stored) == skeleton
        own = network.state_dict()
        fits = own.keys() == state.keys() and all(own[k].shape == state[k].shape for k in own)
        if not same or not fits:
            size = state["l1.weight"].shape[-1]
            raise InputError(
                f"{path} was trained for other keypoints than the model's ({size} numbers a "
                f"person there, {own['l1.weight'].shape[1]} here); train one for this model with "
                "--train_rescore"
            )
        network.load_state_dict(state)
        return network.eval()


def recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether weights are of this network, ours or published."""
    return "l1.weight" in state and "l3.weight" in state


def published_skeleton(state: Mapping[str, Tensor]) -> Skeleton | None:
    """The people that a published file is for; None if the weights are of none."""
    if recognises(state):
        for skeleton in (COCO, CROWDPOSE):
            size = 3 * len(_PUBLISHED[skeleton.names]) + skeleton.num_keypoints
            if state["l1.weight"].shape[-1:] == (size,):
                return skeleton
    return None


def build_rescorer(
    num_body_points: int = COCO.num_keypoints, skeleton: str | Mapping | None = None
) -> LinkRescorer:
    """Builds the rescoring network, with the published start.

    Args:
        num_body_points: K.
        skeleton: of the people; None: the published one of that size.
    """
    return LinkRescorer(skeleton_of(num_body_points, skeleton))


def fit_rescorer(
    rescorer: LinkRescorer,
    features: Tensor,
    target: Tensor,
    lr: float = 1e-3,
    epochs: int = 20,
    batch_size: int = 1024,
    shuffle: bool = True,
) -> list[float]:
    """Trains the network by Adam on the mean squared error; the last partial batch is left out.

    Args:
        rescorer: to be trained.
        features: (n, F) of `LinkRescorer.features`.
        target: (n,) OKS in [0, 1].
        lr: of Adam.
        epochs: passes over the examples.
        batch_size: lowered to n, if there are fewer examples.
        shuffle: draw a new order in every epoch; else as they are.

    Returns:
        The mean loss of each epoch.
    """
    if not len(features):
        raise InputError("the model finds nobody on the training pictures; train it longer first")
    count = len(features) // min(batch_size, len(features))
    batch_size = min(batch_size, len(features))
    optimizer = torch.optim.Adam(rescorer.parameters(), lr=lr)
    target = target.to(features.dtype)
    losses = []
    for _ in range(epochs):
        order = torch.randperm(len(features)) if shuffle else torch.arange(len(features))
        total = 0.0
        for rows in order.split(batch_size)[:count]:
            loss = nn.functional.mse_loss(rescorer(features[rows]), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / count)
    return losses
