"""Where DEKR's decoding differs."""

import pytest
import torch

from grouppose.models.dekr import build_decode
from tests.models.hrnet_bottomup.inputs import scene


def one_view(decode, outputs):
    view = decode.view(outputs)
    return {"scale": 1, **{name: maps[0] for name, maps in view.items()}}


def test_suppression_goes_by_the_extent_of_each_pose():
    decode = build_decode()
    large, small = torch.zeros(17, 2), torch.zeros(17, 2)
    large[0], small[0] = torch.tensor([300.0, 400.0]), torch.tensor([30.0, 40.0])
    # 5 % of 500 is 25 px, of 50 is 2.5; all but one keypoint are 5 px apart
    keypoints = torch.stack([large, small + 5])
    assert decode.suppress(keypoints, torch.tensor([1.0, 2.0])).tolist() == [1]
    assert decode.suppress(keypoints, torch.tensor([2.0, 1.0])).tolist() == [0]
    assert decode.suppress(keypoints.flip(0), torch.tensor([1.0, 2.0])).tolist() == [0, 1]


def test_matching_moves_keypoints_and_leaves_confidence():
    plain, matching = build_decode(), build_decode(match_heatmaps=True)
    view = one_view(plain, scene(0))
    found, moved = (decode([view], (128, 160)) for decode in (plain, matching))
    torch.testing.assert_close(found["confidence"], moved["confidence"])
    assert (found["keypoints"] != moved["keypoints"]).any()


def test_heat_is_read_at_the_cell_below_moved_to_the_border():
    decode = build_decode()
    fused = torch.arange(18 * 6 * 8.0).view(18, 6, 8)
    keypoints = torch.zeros(1, 17, 2)
    keypoints[0, 0], keypoints[0, 1] = torch.tensor([2.9, 1.2]), torch.tensor([-0.4, 99.0])
    assert decode.heat(fused, keypoints)[0, :2].tolist() == [fused[0, 1, 2], fused[1, 5, 0]]


def test_scores_of_other_scales_are_in_proportion_to_scale_ones_best():
    decode = build_decode(test_scales=[512, 256])
    first, second = one_view(decode, scene(5)), one_view(decode, scene(6, size=(64, 80)))
    _, best = decode.candidates([first], (128, 160))
    _, scores = decode.candidates([first, {**second, "scale": 0.5}], (128, 160))
    assert scores[len(best) :].amax().item() == pytest.approx(0.9 * best[0].item(), rel=1e-5)
    empty = {"scale": 1, "heatmaps": 0 * first["heatmaps"], "poses": first["poses"]}
    _, scores = decode.candidates([empty, {**second, "scale": 0.5}], (128, 160))
    assert scores.amax().item() == pytest.approx(0.9)  # scale 1 has nobody


def test_defaults_go_by_the_number_of_keypoints():
    found = {k: build_decode(num_body_points=k) for k in (17, 14, 21)}
    assert [d.nms_keypoints for d in found.values()] == [8, 7, 10]
    assert [d.scale_decrease for d in found.values()] == [0.9, 0.8, 0.9]
    views = found[17].views(480, 640)
    assert views[1].fill == "picture" and views[1].shift == 3
