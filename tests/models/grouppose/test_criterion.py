"""Losses, worked out by hand."""

import math

import pytest
import torch

import grouppose
from grouppose.errors import InputError
from grouppose.models.grouppose.criterion import focal_loss
from grouppose.models.grouppose.matcher import match
from tests.models.grouppose.people import outputs_like, person

NOBODY = {
    "labels": torch.empty(0, dtype=torch.int64),
    "keypoints": torch.empty(0, 2, 2),
    "visible": torch.empty(0, 2, dtype=torch.bool),
    "area": torch.empty(0),
}


def test_focal_loss_by_hand():
    logits = torch.tensor([[0.0, 2.0]])
    wanted = torch.tensor([[0.0, 1.0]])
    p = 1 / (1 + math.exp(-2))
    expected = 0.75 * 0.25 * math.log(2) + 0.25 * (1 - p) ** 2 * -math.log(p)
    assert focal_loss(logits, wanted, 0.25).item() == pytest.approx(expected, rel=1e-5)


def test_a_perfect_prediction_costs_nothing_but_its_class():
    targets = [person([[0.2, 0.4], [0.5, 0.5]])]
    criterion = grouppose.build_criterion("grouppose", num_body_points=2)
    outputs = {
        "pred_logits": torch.tensor([[[-9.0, 9.0]]]),
        "pred_keypoints": targets[0]["keypoints"][None],
    }
    losses = criterion(outputs, targets)
    assert losses["loss_keypoints"].item() == 0
    assert losses["loss_oks"].item() == pytest.approx(0, abs=1e-6)
    assert losses["loss_ce"].item() < 1e-6


@pytest.mark.parametrize("targets", [[NOBODY, NOBODY], [person([[0.1, 0.1]] * 2), NOBODY]])
def test_pictures_without_people_train(targets):
    criterion = grouppose.build_criterion("grouppose", num_body_points=2)
    outputs = outputs_like(targets)
    losses = criterion(outputs, targets)
    criterion.total(losses).backward()
    assert outputs["pred_logits"].grad.isfinite().all()
    assert outputs["pred_keypoints"].grad.isfinite().all()
    if not any(len(t["labels"]) for t in targets):
        assert losses["loss_keypoints"].item() == 0
        assert losses["loss_oks"].item() == 0


def test_a_person_without_visible_keypoints_costs_no_distance():
    targets = [person([[0.1, 0.1]] * 2, [[False, False]])]
    outputs = outputs_like(targets)
    criterion = grouppose.build_criterion("grouppose", num_body_points=2)
    losses = criterion(outputs, targets)
    losses["loss_oks"].backward(retain_graph=True)
    assert losses["loss_keypoints"].item() == 0
    assert outputs["pred_keypoints"].grad.abs().sum() == 0


def test_aux_heads_match_a_person_more_than_once():
    """One person, queries 0.1, 0.2 and 0.4 to its right: the nearest two in all but the last."""
    targets = [person([[0.5, 0.5]] * 2)]
    shifts = torch.tensor([0.4, 0.1, 0.2])
    keypoints = torch.full((1, 3, 2, 2), 0.5)
    keypoints[..., 0] += shifts[:, None]
    head = {"pred_logits": torch.zeros(1, 3, 2), "pred_keypoints": keypoints}
    criterion = grouppose.build_criterion("grouppose", num_body_points=2, aux_matches=2)
    losses = criterion({**head, "aux_outputs": [head], "interm_outputs": head}, targets)
    assert losses["loss_keypoints"].item() == pytest.approx(2 * 0.1)
    for name in ("loss_keypoints_0", "loss_keypoints_interm"):
        assert losses[name].item() == pytest.approx(2 * (0.1 + 0.2) / 2)
    ((pairs,),) = match([head], targets, criterion.cost, [5])
    assert pairs[0].tolist() == [0, 1, 2] and pairs[1].tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="aux_matches is 0, expected at least 1"):
        grouppose.build_criterion("grouppose", aux_matches=0)


def test_predictions_that_are_no_numbers_reach_the_loss_instead_of_the_solver():
    targets = [person([[0.1, 0.2]] * 2)]
    outputs = outputs_like(targets)
    outputs["pred_keypoints"] = outputs["pred_keypoints"] * math.nan
    criterion = grouppose.build_criterion("grouppose", num_body_points=2)
    assert criterion(outputs, targets)["loss_keypoints"].isnan()


def test_losses_of_parts_add_up_to_those_of_the_whole():
    criterion = grouppose.build_criterion("grouppose", num_body_points=17)
    draw = torch.Generator().manual_seed(0)
    outputs = {
        "pred_logits": torch.randn(2, 5, 2, generator=draw),
        "pred_keypoints": torch.rand(2, 5, 17, 2, generator=draw),
    }
    targets = [
        {
            "labels": torch.ones(people, dtype=torch.int64),
            "keypoints": torch.rand(people, 17, 2, generator=draw),
            "visible": torch.ones(people, 17, dtype=torch.bool),
            "area": torch.rand(people, generator=draw),
        }
        for people in (3, 1)
    ]
    whole = criterion(outputs, targets)
    parts = [
        criterion({k: v[i : i + 1] for k, v in outputs.items()}, targets[i : i + 1], count=4)
        for i in range(2)
    ]
    torch.testing.assert_close({k: parts[0][k] + parts[1][k] for k in whole}, whole)


def test_total_weights_every_loss_by_its_kind():
    criterion = grouppose.build_criterion("grouppose", num_body_points=2, interm_loss_coef=0.5)
    losses = {
        "loss_ce": torch.tensor(1.0),
        "loss_keypoints_3": torch.tensor(1.0),
        "loss_oks_interm": torch.tensor(1.0),
    }
    assert criterion.total(losses).item() == 2 + 10 + 0.5 * 4


def test_targets_of_another_skeleton_are_named():
    criterion = grouppose.build_criterion("grouppose", num_body_points=2)
    targets = [person([[0.1, 0.2]] * 2)]
    with pytest.raises(InputError, match="is num_body_points the dataset's"):
        criterion(outputs_like([person([[0.1, 0.2]] * 3)]), targets)
    with pytest.raises(InputError, match="1 targets for 2 pictures"):
        criterion(outputs_like(targets * 2), targets)
