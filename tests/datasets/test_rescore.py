import math

import pytest
import torch

from datasets.rescore import similarity_to_own
from grouppose.people import nobody
from grouppose.skeleton import Skeleton
from tests.datasets.sets import contents, person

EYES = Skeleton.from_names(["left_eye", "right_eye", "tail"], sigmas=(0.1, 0.1, 0.1))
POSE = torch.tensor([[100.0, 100.0], [200.0, 100.0], [150.0, 300.0]])


def found(*moved_and_scores, labels=1):
    count = len(moved_and_scores)
    moved = torch.tensor([[moved, 0.0] for moved, _ in moved_and_scores])
    return {
        "scores": torch.tensor([score for _, score in moved_and_scores]),
        "labels": torch.full((count,), labels),
        "keypoints": POSE + moved[:, None],
        "confidence": torch.ones(count, 3),
    }


def test_everybody_gets_the_similarity_to_the_person_that_is_theirs():
    """The better-scored one takes the labelled person, though a copy fits better."""
    keypoints = [value for x, y in POSE.tolist() for value in (x, y, 2)]
    labelled = person(1, 2, 3, keypoints=keypoints, area=1e4)
    data = contents({1: (400, 400), 2: (400, 400)}, [labelled], 3)
    people = [nobody(3), found((20, 0.9), (0, 0.8), labels=2)]
    target = similarity_to_own(data, [1, 2], people, EYES)
    # OKS at 20 pixels: exp(-400 / (2 area (2 sigma)^2))
    assert target.tolist() == pytest.approx([math.exp(-400 / 800), 0.0], rel=1e-5)
    assert people[1]["labels"].tolist() == [2, 2]
