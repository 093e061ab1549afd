import pickle

import pytest
import torch

import grouppose
from grouppose.errors import InputError, SettingTypeError


def people(keypoints):
    keypoints = torch.tensor(keypoints)
    return {
        "keypoints": keypoints,
        "visible": torch.tensor([[True, False]]).expand(keypoints.shape[:2]),
        "boxes": torch.zeros(len(keypoints), 4),
        "area": torch.full((len(keypoints),), 80.0),
        "labels": torch.full((len(keypoints),), 2),
    }


NOTHING = torch.zeros(20, 40, dtype=torch.bool)


def test_targets_by_hand():
    encode = grouppose.build_targets("grouppose", num_body_points=2)
    found = people([[[10.0, 5.0], [-1.0, 21.0]]])
    target = encode(found, (20, 40), NOTHING)
    assert target["keypoints"].tolist() == [[[0.25, 0.25], [0.0, 1.0]]]  # outside: to the border
    assert target["area"].tolist() == pytest.approx([80 / 800])
    assert target["visible"].tolist() == [[True, False]] and target["labels"].tolist() == [2]
    assert target.keys() == {"keypoints", "visible", "area", "labels"}
    assert found["keypoints"][0, 0].tolist() == [10.0, 5.0]  # its argument stays
    again = pickle.loads(pickle.dumps(encode))(found, (20, 40), NOTHING)  # for data workers
    assert all(torch.equal(target[name], again[name]) for name in target)


def test_targets_of_nobody():
    nobody = {name: column[:0] for name, column in people([[[1.0, 1.0]] * 2]).items()}
    target = grouppose.build_targets("grouppose", num_body_points=2)(nobody, (20, 40), NOTHING)
    assert target["keypoints"].shape == (0, 2, 2) and target["area"].shape == (0,)


def test_what_does_not_fit_is_refused():
    with pytest.raises(SettingTypeError, match="no setting 'num_body_point'; did you mean"):
        grouppose.build_targets("grouppose", num_body_point=2)
    encode = grouppose.build_targets("grouppose")
    with pytest.raises(InputError, match=r"keypoints \(1, 2, 2\), expected \(T, 17, 2\)"):
        encode(people([[[1.0, 1.0], [2.0, 2.0]]]), (20, 40), NOTHING)


def test_people_are_what_losses_are_divided_by():
    criterion = grouppose.build_criterion("grouppose", num_body_points=2)
    encode = grouppose.build_targets("grouppose", num_body_points=2)
    one, two = (encode(people([[[1.0, 1.0]] * 2] * n), (20, 40), NOTHING) for n in (1, 2))
    assert criterion.count([one, two]) == 3
