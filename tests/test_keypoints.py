import math

import pytest
import torch

from grouppose.errors import InputError
from grouppose.keypoints import (
    agreement,
    inverse_sigmoid,
    object_keypoint_similarity,
    pose_area,
    pose_similarity,
)

TRIANGLE = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 10.0]])
SIGMAS = torch.tensor([0.1, 0.2, 0.3])


def test_area_and_agreement_by_hand():
    assert pose_area(TRIANGLE).item() == pytest.approx(0.53 * 200)
    before = TRIANGLE + torch.tensor([3.0, 4.0])  # 5 pixels away
    expected = [math.exp(-25 / (2 * 106 * (2 * sigma) ** 2)) for sigma in (0.1, 0.2, 0.3)]
    assert agreement(TRIANGLE, before, SIGMAS).tolist() == pytest.approx(expected)
    assert agreement(TRIANGLE, TRIANGLE, SIGMAS).tolist() == [1, 1, 1]


def test_one_and_two_keypoints_have_an_area_too():
    assert pose_area(TRIANGLE[:1]).item() == pytest.approx(0.53 * 32**2)
    assert pose_area(TRIANGLE[:2] * 5).item() == pytest.approx(0.53 * 100**2)  # on a line
    near = pose_similarity(TRIANGLE[None, :1], TRIANGLE[None, :1] + 3, SIGMAS[:1])
    scale = 2 * 0.53 * 32**2 * 0.2**2
    assert near.item() == pytest.approx(math.exp(-18 / scale), rel=1e-5)


def test_similarity_of_poses_by_hand():
    poses = torch.stack([TRIANGLE, TRIANGLE + torch.tensor([3.0, 4.0]), TRIANGLE + 500])
    alike = pose_similarity(poses, poses, SIGMAS)
    assert alike.shape == (3, 3)
    torch.testing.assert_close(alike, alike.T)
    mean = sum(math.exp(-25 / (2 * 106 * (2 * sigma) ** 2)) for sigma in (0.1, 0.2, 0.3)) / 3
    assert alike[0, 1].item() == pytest.approx(mean, rel=1e-5)
    assert alike[0, 2].item() == pytest.approx(1e-6)


def test_missing_keypoints_do_not_count():
    nan = torch.tensor([[float("nan"), 0.0]])
    pose, found = torch.cat([TRIANGLE, nan]), torch.tensor([True, True, True, False])
    assert pose_area(pose, found).item() == pytest.approx(0.53 * 200)
    two = torch.tensor([True, True, False, False])
    assert pose_area(pose * 5, two).item() == pytest.approx(0.53 * 100**2)  # as of two keypoints
    assert pose_area(pose, torch.zeros(4, dtype=torch.bool)).item() == 0
    sigmas = torch.tensor([0.1, 0.2, 0.3, 0.4])
    moved = TRIANGLE + torch.tensor([3.0, 4.0])
    alike = pose_similarity(pose[None], pose[None], sigmas, found[None], found[None])
    assert alike.item() == pytest.approx(1)
    whole = torch.cat([moved, torch.tensor([[0.0, 0.0]])])[None]
    alike = pose_similarity(pose[None], whole, sigmas, found[None])  # of the first three
    area = 0.53 * (200 + 23 * 14) / 2
    mean = sum(math.exp(-25 / (2 * area * (2 * s) ** 2)) for s in (0.1, 0.2, 0.3)) / 3
    assert alike.item() == pytest.approx(mean, rel=1e-5)
    alike = pose_similarity(whole, pose[None], sigmas, None, found[None])
    assert alike.item() == pytest.approx(mean, rel=1e-5)
    apart = pose_similarity(pose[None], whole, sigmas, found[None], ~found[None])
    assert apart.item() == pytest.approx(1e-6)  # nothing in common


def test_all_found_is_the_same_to_the_last_bit():
    poses = torch.rand(5, 17, 2, generator=torch.Generator().manual_seed(0)) * 300
    sigmas, found = torch.full((17,), 0.07), torch.ones(5, 17, dtype=torch.bool)
    assert pose_area(poses, found).equal(pose_area(poses))
    alike = pose_similarity(poses, poses + 2, sigmas)
    assert pose_similarity(poses, poses + 2, sigmas, found, found).equal(alike)


def test_agreement_is_never_nothing():
    far = agreement(TRIANGLE, TRIANGLE + 1e4, SIGMAS)
    assert 0 < far.max() < 1e-30  # 0 would say that they are missing


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
