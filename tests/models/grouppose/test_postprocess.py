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


def test_the_best_of_each_picture_come_first_and_no_more_than_there_are():
    logits = torch.tensor([[[0.0, 1.0], [2.0, -1.0]], [[0.0, -1.0], [1.0, 3.0]]])
    keypoints = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).view(2, 2, 1, 1).expand(2, 2, 1, 2)
    outputs = {"pred_logits": logits, "pred_keypoints": keypoints}
    first, second = grouppose.postprocess(
        outputs, torch.tensor([[100, 200], [10, 10]]), num_select=9, sigmas=torch.ones(1)
    )
    assert first["scores"].tolist() == torch.tensor([2.0, 1.0, 0.0, -1.0]).sigmoid().tolist()
    assert first["labels"].tolist() == [0, 1, 0, 1]
    places = torch.tensor([[40.0, 20], [20, 10], [20, 10], [40, 20]])  # a query counts twice
    torch.testing.assert_close(first["keypoints"][:, 0], places)
    assert second["scores"][0] == torch.tensor(3.0).sigmoid()
    torch.testing.assert_close(second["keypoints"][0, 0], torch.tensor([4.0, 4.0]))
