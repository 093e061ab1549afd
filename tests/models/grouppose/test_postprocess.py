import math

import pytest
import torch

import grouppose
from grouppose.errors import InputError


def test_people_by_hand():
    logits = torch.tensor([[[-9.0, 2.0], [1.0, -9.0]]])
    keypoints = torch.tensor([[[[0.5, 0.25]], [[1.0, 0.0]]]])
    outputs = {"pred_logits": logits, "pred_keypoints": keypoints}
    sizes = torch.tensor([[40, 100]])
    (people,) = grouppose.postprocess(outputs, sizes, num_select=2, sigmas=torch.tensor([0.1]))
    assert people["labels"].tolist() == [1, 0]
    assert people["scores"].tolist() == pytest.approx(
        [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))]
    )
    assert people["keypoints"].tolist() == [[[50.0, 10.0]], [[100.0, 0.0]]]
    assert people["confidence"].tolist() == [[1.0], [1.0]]  # nobody says that anything moved
    outputs["previous_keypoints"] = keypoints + torch.tensor([[[[0.03, 0.0]], [[0.0, 1.0]]]])
    (people,) = grouppose.postprocess(outputs, sizes, num_select=2, sigmas=torch.tensor([0.1]))
    # one keypoint stands for an area of 0.53 * 32 * 32 pixels
    expected = [math.exp(-(d**2) / (2 * 0.53 * 32**2 * 0.2**2)) for d in (3, 40)]
    assert people["confidence"].flatten().tolist() == pytest.approx(expected)
    with pytest.raises(InputError, match="image_sizes"):
        grouppose.postprocess(outputs, torch.tensor([40, 100]))
