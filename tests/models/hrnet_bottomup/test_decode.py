"""Decoding agrees with the published form's loops; single rules by hand."""

import pytest
import torch

from benchmarks import bottomup_forms
from grouppose.models.hrnet_bottomup import build_decode
from tests.models.hrnet_bottomup.inputs import scene


def one_view(decode, outputs, mirrored=None):
    view = decode.view(outputs, mirrored)
    return {"scale": 1, **{name: maps[0] for name, maps in view.items()}}


@pytest.mark.parametrize("seed", [0, 1])
def test_people_are_those_of_the_published_loops(seed):
    decode = build_decode()
    view = one_view(decode, scene(seed))
    found = decode([view], (128, 160))
    expected = bottomup_forms.decode(view, (128, 160))
    assert len(found["scores"]) == len(expected["scores"]) > 2
    torch.testing.assert_close(found["keypoints"], expected["keypoints"], rtol=0, atol=1e-3)
    torch.testing.assert_close(found["confidence"], expected["confidence"], rtol=0, atol=1e-5)
    torch.testing.assert_close(found["scores"], expected["scores"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("higher", [False, True])
def test_a_mirrored_pass_of_the_same_maps_changes_nothing(higher):
    decode = build_decode(higher=higher)
    outputs = scene(3)
    order, width = list(decode.flip_order), outputs["heatmaps"].shape[-1]
    if higher:
        # constant in x, as the published code upsamples before it mirrors
        outputs["heatmaps"] = outputs["heatmaps"][..., :1].expand(-1, -1, -1, width)
        outputs["fine_heatmaps"] = torch.rand(1, 17, 64, 80)
    x, y = outputs["offsets"].unflatten(1, (-1, 2)).unbind(2)
    mirrored = {
        "heatmaps": outputs["heatmaps"][:, [*order, 17]].flip(-1),
        "offsets": torch.stack([-x[:, order].flip(-1), y[:, order].flip(-1)], 2).flatten(1, 2),
    }
    if higher:
        mirrored["fine_heatmaps"] = outputs["fine_heatmaps"][:, order].flip(-1)
    alone, both = decode.view(outputs), decode.view(outputs, mirrored)
    for name, maps in alone.items():
        torch.testing.assert_close(both[name], maps)


def test_a_far_keypoint_reads_its_heat_with_exchanged_axes_unless_told_otherwise():
    fused = torch.zeros(18, 60, 100)
    fused[0, 20, 50] = 0.4
    fused[0, 50, 20] = 0.6  # row int(x), column int(y)
    keypoints = torch.zeros(1, 17, 2)
    keypoints[0, 0] = torch.tensor([50.7, 20.2])
    for exchanged, heat in ((True, 0.6), (False, 0.4)):
        decode = build_decode(exchanged_heat=exchanged, max_absorb_distance=0)
        _, confidence = decode.match(fused, keypoints, torch.tensor([0.5]))
        assert confidence[0, 0].item() == pytest.approx(0.5 * heat)


def test_low_peaks_attract_without_confidence_and_empty_places_do_not():
    fused = torch.zeros(18, 60, 100)
    fused[0, 30, 40] = 0.005
    keypoints = torch.full((1, 17, 2), 35.0)
    moved, confidence = build_decode().match(fused, keypoints, torch.tensor([1.0]))
    assert moved[0, 0].tolist() == [40, 30] and confidence[0, 0] == 0
    assert moved[0, 1].tolist() == [35, 35]


def test_fits_leave_the_border_and_what_lies_outside_alone():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    fused = torch.exp(-((x - 10.3) ** 2 + (y - 3.4) ** 2) / 8).expand(18, -1, -1)
    places = torch.tensor([[10.0, 3.0], [0.0, 9.0], [49.0, 20.0], [-3.0, -8.0], [80.0, 2.0]])
    keypoints = torch.zeros(1, 17, 2)
    keypoints[0, :5] = places
    confidence = torch.ones(1, 17)
    found, heights = build_decode().refine(fused, keypoints, confidence, torch.tensor([0.5]))
    # a window that the border cuts keeps its axes apart
    assert found[0, 0].tolist() == pytest.approx([10.3, 3.4], abs=1e-4)
    assert heights[0, 0].item() == pytest.approx(0.5, abs=1e-5)
    torch.testing.assert_close(found[0, 1:5], places[1:])


def test_other_scales_give_candidates_after_scale_one():
    decode = build_decode(test_scales=[512, 256])
    first, second = one_view(decode, scene(5)), one_view(decode, scene(5, size=(64, 80)))
    keypoints, scores = decode.candidates([first, {**second, "scale": 0.5}], (128, 160))
    alone, best = decode.candidates([first], (128, 160))
    torch.testing.assert_close(keypoints[: len(best)], alone)
    assert scores[len(best)] == pytest.approx(0.001 * best[0].item(), rel=1e-5)
    assert decode.fuse([first, {**second, "scale": 0.5}], (128, 160)).shape == (18, 128, 160)


def test_nobody_is_found_on_empty_maps():
    decode = build_decode(test_scales=[512, 256])
    views = [
        {"scale": scale, "heatmaps": torch.zeros(18, 32, 40), "poses": torch.zeros(34, 32, 40)}
        for scale in (1, 0.5)
    ]
    found = decode(views, (128, 160))
    assert found["keypoints"].shape == (0, 17, 2) and found["scores"].shape == (0,)


def test_views_of_a_picture():
    decode = build_decode(eval_size=[512], test_scales=[256, 512, 1024], higher=True)
    views = decode.views(480, 640)
    assert [v.size for v in views[::3]] == [(1024, 1408), (512, 704), (256, 352)]
    assert [(v.mirrored, v.shift) for v in views[:3]] == [(False, 0), (True, 3), (True, 1)]
    assert {v.fill for v in views[1:3]} == {"padding"}
    assert len(build_decode(flip_test=False).views(480, 640)) == 1


def test_people_come_back_in_the_pictures_pixels():
    decode = build_decode(eval_size=[128], flip_test=False)
    views = decode.views(100, 125)  # 128 / 100 gives 128 x 160 (192 with the border)
    outputs = scene(0, size=views[0].size)
    (people,) = decode.people([outputs], views)
    there = decode([one_view(decode, outputs)], views[0].size)
    ratio = 1.28
    x = (there["keypoints"][..., 0] - views[0].size[1] / 2) / ratio + 63  # 62.5 rounded up
    torch.testing.assert_close(people["keypoints"][..., 0], x, rtol=0, atol=1e-3)
    assert people["labels"].tolist() == [1] * len(x)


@pytest.mark.parametrize(("count", "close"), [(17, 10), (14, 10), (20, 12), (5, 3)])
def test_how_many_close_keypoints_make_one_person(count, close):
    assert build_decode(num_body_points=count).nms_keypoints == close


def test_scales_that_give_impossible_sides_are_refused():
    from grouppose.errors import InputError

    with pytest.raises(InputError, match="test_scales holds 300, expected multiples of 256"):
        build_decode(eval_size=[512], test_scales=[300, 512])
