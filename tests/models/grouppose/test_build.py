import pytest
import torch

import grouppose
from grouppose.errors import InputError
from grouppose.models import build, known_settings
from grouppose.models.grouppose.build import check_settings
from grouppose.skeleton import COCO
from tests.small import SMALL


def test_build_takes_what_it_knows_and_leaves_the_rest():
    settings = {**SMALL, "modelname": "grouppose", "coco_path": "x", "num_select": 3}
    model, criterion, decode = build(settings)
    assert model.settings["num_body_points"] == 5
    assert criterion.cost.sigmas.shape == (5,)
    outputs = model.eval()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    (people,) = decode.people([outputs], decode.views(64, 64))
    assert decode.max_people == 3 and len(people["scores"]) <= 3
    assert known_settings("grouppose")["num_queries"] == 100
    assert known_settings("grouppose")["num_body_points"] == COCO.num_keypoints


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_dim": 48}, "hidden_dim is 48, expected a multiple of 32"),
        ({"hidden_dim": 96, "nheads": 5}, r"hidden_dim is 96, expected a multiple of nheads \(5\)"),
        ({"num_queries": 0}, "num_queries is 0, expected at least 1"),
        ({"num_feature_levels": 2}, "num_feature_levels is 2, expected at least 3"),
        ({"num_body_points": 0}, "num_body_points is 0, expected at least 1"),
        (
            {"categories": [[1, "cat"]], "num_classes": 3},
            "is 3, but 1 categories need 2",
        ),
    ],
)
def test_a_model_that_cannot_work_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        grouppose.build_model("grouppose", **{**SMALL, **settings})


def test_more_people_than_candidates_are_refused():
    settings = {"num_queries": 10, "num_select": 21}
    with pytest.raises(InputError, match="num_select is 21, but .* gives 20 candidates"):
        check_settings(settings)
    check_settings({**settings, "num_select": 20})
    check_settings({**settings, "num_classes": 3})
    check_settings({})


def test_weights_of_losses_have_the_published_defaults():
    criterion = grouppose.build_criterion("grouppose")
    assert criterion.weights == {"loss_ce": 2, "loss_keypoints": 10, "loss_oks": 4}
    assert criterion.cost.sigmas.tolist() == pytest.approx(COCO.sigmas)
    assert (criterion.cost.label, criterion.cost.keypoints, criterion.cost.oks) == (2, 10, 4)
