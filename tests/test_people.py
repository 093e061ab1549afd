import pytest
import torch

from grouppose.people import at_stage, merge, nobody, somebody, suppress, unflip
from grouppose.skeleton import Skeleton

PAIR = Skeleton.from_names(["left_eye", "right_eye", "nose"])
SIGMAS = torch.tensor(PAIR.sigmas)
TRIANGLE = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])


def people(*poses_and_scores):
    return {
        "scores": torch.tensor([score for _, score in poses_and_scores]),
        "labels": torch.ones(len(poses_and_scores)),
        "keypoints": torch.stack([pose for pose, _ in poses_and_scores]),
        "confidence": torch.ones(len(poses_and_scores), 3),
    }


def test_unflip_mirrors_and_exchanges_left_and_right():
    found = unflip(people((TRIANGLE, 0.9)), 100, PAIR.flip_order)
    assert found["keypoints"].tolist() == [[[79, 0], [99, 0], [99, 20]]]
    again = unflip(found, 100, PAIR.flip_order)
    assert torch.equal(again["keypoints"][0], TRIANGLE)


def test_people_before_the_last_steps():
    found = people((TRIANGLE, 0.9))
    found |= {"early_scores": torch.tensor([0.4]), "early_keypoints": found["keypoints"] + 1}
    before = at_stage(found, "early")
    assert before["scores"].tolist() == pytest.approx([0.4])
    assert before["keypoints"][0, 1].tolist() == [21, 1]
    assert torch.equal(before["confidence"], found["confidence"])


def test_a_confidence_below_zero_is_no_missing_keypoint():
    views = [people((TRIANGLE, 0.5)), people((TRIANGLE + 2, 0.5))]
    views[1]["confidence"] = torch.tensor([[1.0, -0.2, 0.0]])
    merged = merge(views, SIGMAS, 0.0)
    assert merged["keypoints"][0].tolist() == [[1, 1], [21, 1], [0, 20]]


def test_confidence_follows_its_keypoint():
    found = people((TRIANGLE, 0.9))
    found["confidence"] = torch.tensor([[0.1, 0.2, 0.3]])
    back = unflip(found, 100, PAIR.flip_order)
    torch.testing.assert_close(back["confidence"], torch.tensor([[0.2, 0.1, 0.3]]))


def test_a_keypoint_that_a_view_misses_is_that_of_the_others():
    views = [people((TRIANGLE, score)) for score in (0.9, 0.3, 0.6)]
    views[0]["keypoints"][0, 2] = 0
    views[0]["confidence"] = torch.tensor([[1.0, 0.5, 0.0]])
    views[1]["keypoints"] += 1
    views[2]["keypoints"][0, 0] = 0
    views[2]["confidence"] = torch.tensor([[0.0, 0.5, 0.4]])
    merged = merge(views, SIGMAS)
    assert merged["scores"].tolist() == pytest.approx([0.6])
    # first: 0.9 and 0.3 of weight; second: 0.3 of 1.8 are one further; third: 0.3 of 0.9
    expected = TRIANGLE + torch.tensor([0.25, 1 / 6, 1 / 3])[:, None]
    torch.testing.assert_close(merged["keypoints"][0], expected)
    expected = [1.0, (0.5 * 1.5 + 0.3) / 1.8, (0.3 * 1 + 0.6 * 0.4) / 0.9]
    assert merged["confidence"][0].tolist() == pytest.approx(expected)
    for view in views:
        view["confidence"][0, 0] = 0
    assert merge(views, SIGMAS)["confidence"][0, 0] == 0


def test_suppression_keeps_the_better_of_two_alike():
    far = TRIANGLE + 500
    found = people((TRIANGLE, 0.5), (far, 0.9), (TRIANGLE + 0.1, 0.6), (far + 0.1, 0.2))
    assert suppress(found, SIGMAS, 0.9)["scores"].tolist() == pytest.approx([0.9, 0.6])
    assert len(suppress(found, SIGMAS, 1.0)["scores"]) == 4
    found["confidence"][3] = torch.tensor([1, 0, 0])  # one keypoint, where the other has its own
    assert len(suppress(found, SIGMAS, 0.9)["scores"]) == 2


def test_nobody_and_somebody():
    assert {name: tuple(column.shape) for name, column in nobody(3).items()} == {
        "scores": (0,), "labels": (0,), "keypoints": (0, 3, 2), "confidence": (0, 3)
    }  # fmt: skip
    found = people((TRIANGLE, 0.9), (TRIANGLE, 0.8))
    found["labels"][0] = 0
    assert somebody(found)["scores"].tolist() == pytest.approx([0.8])
    assert merge([nobody(3), nobody(3)], SIGMAS)["keypoints"].shape == (0, 3, 2)


def test_views_are_averaged_by_score():
    merged = merge([people((TRIANGLE, 0.9)), people((TRIANGLE + 1, 0.3))], SIGMAS)
    assert merged["scores"].tolist() == pytest.approx([0.6])
    # 0.9 and 0.3 of weight: a quarter of the way
    torch.testing.assert_close(merged["keypoints"][0], TRIANGLE + 0.25)


def test_people_are_matched_by_place_and_not_by_rank():
    far = TRIANGLE + 60
    merged = merge(
        [people((TRIANGLE, 0.8), (far, 0.7)), people((far + 1, 0.9), (TRIANGLE + 1, 0.2))], SIGMAS
    )
    assert merged["scores"].tolist() == pytest.approx([0.8, 0.5])
    torch.testing.assert_close(merged["keypoints"][0], far + 0.9 / 1.6)
    torch.testing.assert_close(merged["keypoints"][1], TRIANGLE + 0.2)


def test_a_person_is_not_taken_for_a_weaker_copy():
    """In each view the copy of low score is where the other view has the person."""
    copy = TRIANGLE + 0.5
    merged = merge(
        [people((TRIANGLE, 0.9), (copy, 0.1)), people((copy, 0.8), (TRIANGLE, 0.2))], SIGMAS
    )
    assert merged["scores"].tolist() == pytest.approx([0.85, 0.15])
    torch.testing.assert_close(merged["keypoints"][0], TRIANGLE + 0.5 * 0.8 / 1.7)


def test_who_is_found_once_keeps_a_share_of_the_score():
    merged = merge([people((TRIANGLE, 0.8)), people((TRIANGLE + 60, 0.6))], SIGMAS)
    assert merged["scores"].tolist() == pytest.approx([0.4, 0.3])
    assert torch.equal(merged["keypoints"], torch.stack([TRIANGLE, TRIANGLE + 60]))
