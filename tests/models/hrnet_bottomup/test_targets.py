"""Targets agree with the published form's loops; rules by hand."""

import pytest
import torch

import grouppose
from benchmarks import bottomup_forms
from grouppose.errors import InputError
from tests.models.hrnet_bottomup.inputs import people_of

SIZE = (128, 160)


def person(*points, box=(0, 0, 80, 80), **columns):
    keypoints = torch.zeros(1, 17, 2)
    visible = torch.zeros(1, 17, dtype=torch.bool)
    for k, point in enumerate(points):
        keypoints[0, k], visible[0, k] = torch.tensor(point), True
    boxes = torch.tensor([box], dtype=torch.float32)
    area = torch.tensor([400.0])
    return {"keypoints": keypoints, "visible": visible, "boxes": boxes, "area": area, **columns}


def encoded(people, **settings):
    family = settings.pop("family", "hrnet_bottomup")
    nothing = torch.zeros(SIZE, dtype=torch.bool)
    return grouppose.build_targets(family, **settings)(people, SIZE, nothing)


@pytest.mark.parametrize("seed", range(3))
def test_targets_are_those_of_the_published_loops(seed):
    people, ignore = people_of(f"people{seed}", SIZE, 7)
    people.pop("small")
    expected = bottomup_forms.targets(people, SIZE, ignore)
    found = grouppose.build_targets("hrnet_bottomup")(people, SIZE, ignore)
    assert found.keys() == expected.keys()
    for name, maps in expected.items():
        torch.testing.assert_close(found[name], maps, rtol=0, atol=3e-6)


def test_the_centre_is_the_mean_of_labelled_keypoints_else_the_boxs():
    target = encoded(person((40.0, 40.0), (80.0, 56.0)))
    assert target["heatmaps"][17].argmax() == 12 * 40 + 15  # (60, 48) / 4
    target = encoded(person(box=(40, 20, 120, 60)))
    assert target["heatmaps"][17].argmax() == 10 * 40 + 20
    assert not target["offset_weights"].any()
    assert not encoded(person(box=(40, 20, 120, 60)), family="dekr")["heatmaps"].any()


def test_small_people_have_keypoints_but_no_centre():
    target = encoded(person((40.0, 40.0), small=torch.tensor([True])))
    assert target["heatmaps"][0, 10, 10] == 1
    assert not target["heatmaps"][17].any() and not target["offset_weights"].any()


def test_in_a_mirrored_input_a_cell_stands_for_its_last_pixel():
    target = encoded(person((43.0, 40.0), mirrored=True))
    assert target["heatmaps"][0, 10, 10] == 1
    # the box of a mirrored input lies one pixel further right: (43 + 41) / 2 - 1 - 3 is 38
    target = encoded(person(box=(41, 30, 43, 50), mirrored=True))
    assert target["heatmaps"][17, 10].argmax() == 9  # 9.5, the first of equals
    fine = encoded(person((41.0, 40.0), mirrored=torch.tensor(True)), higher=True)
    assert fine["fine_heatmaps"][0, 20, 20] == 1


def test_ignored_pixels_are_read_where_the_cell_stands():
    ignore = torch.zeros(SIZE, dtype=torch.bool)
    ignore[8, 7] = ignore[12, 8] = True
    encode = grouppose.build_targets("hrnet_bottomup")
    nobody = person()
    nobody["boxes"] += 1000
    plain = encode(nobody, SIZE, ignore)["weights"][0]
    assert (plain == 0).nonzero().tolist() == [[3, 2]]
    mirrored = encode({**nobody, "mirrored": True}, SIZE, ignore)["weights"][0]
    assert (mirrored == 0).nonzero().tolist() == [[2, 1]]
    assert plain[0, 0] == pytest.approx(0.1)


def test_weights_are_one_in_any_window_or_in_each_channels_own():
    people = person((40.0, 40.0), (120.0, 40.0))
    shared = encoded(people)["weights"]
    own = encoded(people, family="dekr")["weights"]
    assert shared.shape[0] == 1 and own.shape[0] == 18
    assert shared[0, 10, 10] == shared[0, 10, 30] == 1
    assert own[0, 10, 10] == 1 and own[0, 10, 30] == pytest.approx(0.1)


def test_centres_of_crowdpose_are_as_narrow_as_keypoints():
    for count, sigma in ((17, 4.0), (14, 2.0), (20, 4.0)):
        assert (
            grouppose.build_targets("hrnet_bottomup", num_body_points=count).centre_sigma == sigma
        )


def test_nobody_and_no_mask():
    people = {name: value[:0] for name, value in person().items()}
    target = grouppose.build_targets("hrnet_bottomup", higher=True)(people, SIZE, None)
    assert not target["heatmaps"].any() and not target["offsets"].any()
    assert (target["weights"] == 0.1).all() and (target["fine_weights"] == 0.025).all()


def test_people_of_another_skeleton_and_odd_sizes_are_refused():
    with pytest.raises(InputError, match=r"keypoints \(1, 17, 2\), expected \(T, 14, 2\)"):
        encoded(person(), num_body_points=14)
    with pytest.raises(InputError, match="150 x 128 pixels, expected multiples of 4"):
        grouppose.build_targets("hrnet_bottomup")(person(), (128, 150), None)
