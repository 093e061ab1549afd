import pytest
import torch

import grouppose
from grouppose.errors import InputError, SettingTypeError
from grouppose.models import decode_of, kept_settings
from grouppose.skeleton import COCO

SCORES = torch.tensor([2.0, -1.0])


ACROSS, DOWN = torch.linspace(-0.1, 0.1, 17), torch.linspace(0.2, 0.8, 17)


def outputs(batch: int = 1, mirrored: bool = False) -> dict:
    """Two people of class 1 around a quarter and three quarters of the picture's width."""
    logits = torch.full((batch, 2, 2), -20.0)
    logits[..., 1] = SCORES
    keypoints = torch.empty(batch, 2, 17, 2)
    keypoints[..., 0] = torch.tensor([0.25, 0.75])[:, None] + ACROSS
    keypoints[..., 1] = DOWN
    if mirrored:
        keypoints[..., 0] = 1 - keypoints[..., 0]
        keypoints = keypoints[:, :, list(COCO.flip_order)]
    return {"pred_logits": logits, "pred_keypoints": keypoints, "previous_keypoints": keypoints}


def test_the_views_are_those_of_the_sizes_and_sides():
    decode = grouppose.build_decode("grouppose")
    (view,) = decode.views(480, 640)
    assert (view.size, view.mirrored, view.resample) == ((800, 1066), False, "antialias")
    assert decode.views(480, 1600)[0].size == (400, 1333)
    decode = grouppose.build_decode(
        "grouppose", eval_size=[96, 120], test_scales=[48, 96], flip_test=True
    )
    seen = [(view.size, view.mirrored) for view in decode.views(100, 200)]
    assert seen == [((30, 60), False), ((30, 60), True), ((60, 120), False), ((60, 120), True)]
    decode = grouppose.build_decode("grouppose", test_scales=[48], test_longest=64)
    assert decode.views(100, 200)[0].size == (32, 64)


def test_nobody_is_of_class_0_and_no_more_than_num_select():
    decode = grouppose.build_decode("grouppose", num_select=3)
    found = decode.people([outputs(batch=2)], decode.views(100, 200))
    assert len(found) == 2
    for people in found:
        torch.testing.assert_close(people["scores"], SCORES.sigmoid())
        assert people["labels"].tolist() == [1, 1]
        assert people["keypoints"][:, 8].tolist() == [[50, 50], [150, 50]]  # the middle one
        assert people["confidence"].tolist() == [[1.0] * 17] * 2
    few = grouppose.build_decode("grouppose", num_select=1)
    (people,) = few.people([outputs()], few.views(100, 200))
    assert people["scores"].tolist() == pytest.approx([float(SCORES[0].sigmoid())])
    everybody = grouppose.build_decode("grouppose", num_select=1, everybody=True)
    (people,) = everybody.people([outputs()], everybody.views(100, 200))
    assert len(people["scores"]) == 2 and everybody.max_people is None


def test_a_mirrored_view_is_turned_back_and_averaged():
    decode = grouppose.build_decode("grouppose", flip_test=True)
    views = decode.views(100, 200)
    (people,) = decode.people([outputs(), outputs(mirrored=True)], views)
    torch.testing.assert_close(people["scores"], SCORES.sigmoid())
    # pixel x became 199 - x: a half of a pixel to the left on average
    torch.testing.assert_close(people["keypoints"][0, :, 0], 200 * (0.25 + ACROSS) - 0.5)
    torch.testing.assert_close(people["keypoints"][0, :, 1], 100 * DOWN)


def test_a_model_keeps_its_size_and_what_decides_about_people():
    kept = kept_settings("grouppose")
    assert kept["eval_size"] == (800, 1333) and kept["num_select"] == 50
    assert not kept.keys() & {"flip_test", "test_scales", "test_longest", "everybody"}
    settings = {"modelname": "grouppose", "eval_size": [96, 120], "lr": 1.0, "num_select": 7}
    decode = decode_of(settings, flip_test=True)
    assert decode.max_people == 7 and len(decode.views(10, 10)) == 2
    with pytest.raises(SettingTypeError, match="no setting 'flip'; did you mean 'flip_test'"):
        grouppose.build_decode("grouppose", flip=True)
    with pytest.raises(InputError, match="eval_size is .*, expected a side in pixels, or two"):
        grouppose.build_decode("grouppose", eval_size=[1, 2, 3])
