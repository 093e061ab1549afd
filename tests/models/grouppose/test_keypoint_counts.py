"""Any number of keypoints and classes goes through model, losses and prediction."""

import numpy as np
import pytest
import torch

import grouppose
from grouppose.errors import InputError
from tests.small import SMALL


def names(count):
    return [f"{side}_{i}" for i in range(count // 2) for side in "lr"] or ["nose"]


@pytest.mark.parametrize(("keypoints", "classes"), [(1, 2), (200, 2), (5, 55)])
def test_it_trains_and_predicts(keypoints, classes):
    torch.manual_seed(0)
    skeleton = {"names": names(keypoints) if keypoints != 5 else list("abcde")}
    categories = [[10 * i, f"kind {i}"] for i in range(1, classes)]
    model = grouppose.build_model(
        "grouppose",
        **SMALL | {"num_body_points": keypoints, "num_classes": classes},
        skeleton=skeleton,
        categories=categories,
    )
    targets = [
        {
            "labels": torch.tensor([1, classes - 1]),
            "keypoints": torch.rand(2, keypoints, 2).round(),  # on the border
            "visible": torch.ones(2, keypoints, dtype=torch.bool),
            "area": torch.tensor([0.0, 0.1]),
        }
    ]
    criterion = grouppose.build_criterion("grouppose", num_body_points=keypoints, skeleton=skeleton)
    outputs = model(torch.rand(1, 3, 64, 64))
    total = criterion.total(criterion(outputs, targets))
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    predictor = grouppose.Predictor(model, "cpu", threshold=0.0, size=64, flip_test=True)
    assert [list(category) for category in predictor.categories] == categories
    assert predictor.skeleton.num_keypoints == keypoints
    (found,) = predictor(np.zeros((64, 64, 3), dtype=np.uint8))
    assert found.keypoints.xy.shape[1:] == (keypoints, 2) and len(found) > 0
    assert set(found.labels.tolist()) <= set(range(1, classes))
    assert found.plot().shape == (64, 64, 3)


def test_a_skeleton_or_classes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="the skeleton has 26 keypoints, num_body_points is 5"):
        grouppose.build_model("grouppose", **SMALL, skeleton="halpe26")
    with pytest.raises(InputError, match="num_classes is 2, but 2 categories need 3"):
        grouppose.build_model("grouppose", **SMALL, categories=[[1, "cat"], [2, "dog"]])
