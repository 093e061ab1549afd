import itertools
import math

import pytest
import torch

import grouppose
from grouppose.models.grouppose.matcher import MatchingCost, _cost, match, pad_targets
from tests.models.grouppose.people import outputs_like, person


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


def test_more_people_than_queries_leaves_some_unmatched():
    targets = [{key: torch.cat([value] * 4) for key, value in person([[0.1, 0.2]] * 2).items()}]
    criterion = grouppose.build_criterion("grouppose", num_body_points=2)
    ((pairs,),) = match([outputs_like(targets)], targets, criterion.cost)
    assert len(pairs[0]) == 3


def test_targets_of_a_batch_are_padded_with_people_who_see_nothing():
    two = {key: torch.cat([value] * 2) for key, value in person([[0.1, 0.2]]).items()}
    people = pad_targets([two, person([[0.3, 0.4]])])
    assert people["labels"].tolist() == [[1, 1], [1, 0]]
    assert people["visible"].tolist() == [[[True], [True]], [[True], [False]]]
    assert torch.equal(people["keypoints"][1], torch.tensor([[[0.3, 0.4]], [[0.0, 0.0]]]))


def test_pictures_without_anybody_give_empty_pairs():
    cost, nobody = MatchingCost(torch.ones(1)), person([[0.0, 0.0]])
    nobody = {key: value[:0] for key, value in nobody.items()}
    heads = [outputs_like([nobody] * 2)] * 3
    found = match(heads, [nobody] * 2, cost)
    assert len(found) == 3
    assert all(len(q) == len(p) == 0 for pairs in found for q, p in pairs)
    (pairs,) = match(heads[:1], [nobody, person([[0.5, 0.5]])], cost)
    assert [len(q) for q, _ in pairs] == [0, 1]
