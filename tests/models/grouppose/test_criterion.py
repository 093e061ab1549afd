"""Matching and losses, worked out by hand."""

import itertools
import math

import pytest
import torch

import grouppose
from grouppose.errors import InputError
from grouppose.keypoints import inverse_sigmoid, object_keypoint_similarity
from grouppose.models.grouppose.criterion import focal_loss
from grouppose.models.grouppose.matcher import MatchingCost, _cost, match, pad_targets


def person(keypoints, visible=None, area=0.1):
    keypoints = torch.tensor([keypoints])
    visible = torch.ones(keypoints.shape[:2], dtype=torch.bool) if visible is None else visible
    return {
        "labels": torch.tensor([1]),
        "keypoints": keypoints,
        "visible": torch.as_tensor(visible),
        "area": torch.tensor([area]),
    }


NOBODY = {
    "labels": torch.empty(0, dtype=torch.int64),
    "keypoints": torch.empty(0, 2, 2),
    "visible": torch.empty(0, 2, dtype=torch.bool),
    "area": torch.empty(0),
}


def test_similarity_of_one_displaced_keypoint_by_hand():
    target = torch.tensor([[10.0, 10.0], [50.0, 50.0]])
    pred = target + torch.tensor([3.0, 4.0])  # 5 px off
    visible = torch.tensor([True, False])  # the second must not count
    oks = object_keypoint_similarity(
        pred, target, visible, torch.tensor(100.0), torch.tensor([0.5, 0.5])
    )
    assert oks.item() == pytest.approx(math.exp(-25 / 200), rel=2e-6)


def test_similarity_at_its_edges():
    points, sigmas = torch.zeros(2, 2), torch.ones(2)
    nothing = torch.zeros(2, dtype=torch.bool)
    assert object_keypoint_similarity(
        points, points, nothing, torch.tensor(1.0), sigmas
    ).item() == pytest.approx(1e-6)
    everything = ~nothing
    away = points + 1
    assert object_keypoint_similarity(
        away, points, everything, torch.tensor(0.0), sigmas
    ).item() == pytest.approx(1e-6)
    with pytest.raises(InputError, match="pred has 2 keypoints, target has 3"):
        object_keypoint_similarity(points, torch.zeros(3, 2), everything, torch.ones(()), sigmas)


def test_inverse_sigmoid_undoes_sigmoid_and_clamps():
    x = torch.linspace(-6, 6, 13)
    torch.testing.assert_close(inverse_sigmoid(x.sigmoid()), x, rtol=1e-4, atol=1e-4)
    assert inverse_sigmoid(torch.tensor(1.0)).item() == pytest.approx(math.log(1000), rel=1e-5)
    assert inverse_sigmoid(torch.tensor(-3.0)).item() == pytest.approx(-math.log(1000), rel=1e-5)


def test_focal_loss_by_hand():
    logits = torch.tensor([[0.0, 2.0]])
    wanted = torch.tensor([[0.0, 1.0]])
    p = 1 / (1 + math.exp(-2))
    expected = 0.75 * 0.25 * math.log(2) + 0.25 * (1 - p) ** 2 * -math.log(p)
    assert focal_loss(logits, wanted, 0.25).item() == pytest.approx(expected, rel=1e-5)


def test_matching_cost_by_hand():
    cost = MatchingCost(torch.tensor([0.1, 0.1]), label=2, keypoints=10, oks=4)
    head = {
        "pred_logits": torch.tensor([[[0.0, 0.0]]]),
        "pred_keypoints": torch.tensor([[[[0.1, 0.2], [0.9, 0.9]]]]),
    }
    people = pad_targets([person([[0.2, 0.4], [0.0, 0.0]], [[True, False]])])
    p = 0.5
    label = 0.25 * (1 - p) ** 2 * -math.log(p) - 0.75 * p**2 * -math.log(1 - p)
    oks = math.exp(-0.05 / (2 * 0.1 * 0.2**2))
    expected = 2 * label + 10 * 0.3 + 4 * (1 - oks)
    assert _cost(head, people, cost).item() == pytest.approx(expected, rel=1e-4)


def test_matching_is_the_cheapest_of_all_assignments():
    generator = torch.Generator().manual_seed(1)
    cost = MatchingCost(torch.full((3,), 0.1))
    heads = [
        {
            "pred_logits": torch.randn(2, 5, 2, generator=generator),
            "pred_keypoints": torch.rand(2, 5, 3, 2, generator=generator),
        }
        for _ in range(2)
    ]
    targets = [
        {
            "labels": torch.ones(count, dtype=torch.int64),
            "keypoints": torch.rand(count, 3, 2, generator=generator),
            "visible": torch.rand(count, 3, generator=generator) > 0.3,
            "area": torch.rand(count, generator=generator),
        }
        for count in (3, 2)
    ]
    found = match(heads, targets, cost)
    for head, pairs in zip(heads, found, strict=True):
        for b, (queries, people) in enumerate(pairs):
            alone = {k: v[b : b + 1] for k, v in head.items()}
            costs = _cost(alone, pad_targets([targets[b]]), cost)[0]
            count = len(targets[b]["labels"])
            cheapest = min(
                sum(costs[q, t] for t, q in enumerate(chosen))
                for chosen in itertools.permutations(range(5), count)
            )
            assert costs[queries, people].sum().item() == pytest.approx(cheapest.item(), rel=1e-5)


def outputs_like(targets, num_queries=3):
    torch.manual_seed(0)
    batch, num_keypoints = len(targets), targets[0]["keypoints"].shape[1]
    return {
        "pred_logits": torch.randn(batch, num_queries, 2, requires_grad=True),
        "pred_keypoints": torch.rand(batch, num_queries, num_keypoints, 2, requires_grad=True),
    }


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


def test_more_people_than_queries_leaves_some_unmatched():
    targets = [{key: torch.cat([value] * 4) for key, value in person([[0.1, 0.2]] * 2).items()}]
    criterion = grouppose.build_criterion("grouppose", num_body_points=2)
    ((pairs,),) = match([outputs_like(targets)], targets, criterion.cost)
    assert len(pairs[0]) == 3


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
