import pytest
import torch

import grouppose
from grouppose.errors import InputError
from grouppose.inference.links import LinkRescorer, build_rescorer
from grouppose.inference.rescore import Rescorer, fit, read_rescorer
from grouppose.skeleton import COCO, Skeleton
from tests.inference.conftest import noise

THREE = Skeleton.from_names(["left_ear", "right_ear", "tail"], limbs=[(0, 2)])


def people(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "scores": torch.rand(count, generator=generator),
        "labels": torch.ones(count, dtype=torch.int64),
        "keypoints": torch.rand(count, 3, 2, generator=generator) * 100,
        "confidence": torch.rand(count, 3, generator=generator),
    }


def test_features_do_not_depend_on_the_place_and_see_the_company():
    found = people(4)
    network = Rescorer(THREE)
    features = network.features(found)
    moved = network.features({**found, "keypoints": found["keypoints"] + 50})
    torch.testing.assert_close(features, moved, rtol=1e-4, atol=1e-4)
    found["keypoints"][3] = found["keypoints"][1]
    found["scores"] = torch.tensor([0.1, 0.9, 0.5, 0.3])
    better = network.features(found)[:, -2]  # most alike among the better-scored
    assert better[3] == pytest.approx(1) and better[1] == 0
    assert network.features(people(0)).shape == (0, features.shape[1])


def test_it_learns_to_trust_the_confidence():
    """OKS is what the confidence says and not what the score says: ranks must follow."""
    pictures = [people(8, seed) for seed in range(60)]
    features = torch.cat([Rescorer(THREE).features(p) for p in pictures])
    target = torch.cat([p["confidence"].mean(1) for p in pictures])
    network = fit(THREE, features, target, epochs=60)
    fresh = people(50, 99)
    wanted = fresh["confidence"].mean(1)
    scores = network(network.features(fresh)).sigmoid().detach()
    assert torch.corrcoef(torch.stack([scores, wanted]))[0, 1] > 0.8
    assert abs(torch.corrcoef(torch.stack([fresh["scores"], wanted]))[0, 1]) < 0.3
    again = fit(THREE, features, target, epochs=60)
    assert torch.equal(again(features), network(features))


def test_people_are_ordered_by_the_new_score_and_nobody_is_left_out_of_class_0():
    network = Rescorer(THREE)
    found = people(5)
    found["labels"] = torch.tensor([1, 0, 2, 1, 0])
    new = network.rescored(found)
    assert len(new["scores"]) == 3 and sorted(new["labels"].tolist()) == [1, 1, 2]
    assert (new["scores"].diff() <= 0).all()
    with torch.no_grad():
        expected = network(network.features({k: v[[0, 2, 3]] for k, v in found.items()}))
    torch.testing.assert_close(new["scores"], expected.sigmoid().sort(descending=True)[0])


def test_a_file_is_read_back_and_others_are_refused(tmp_path, weights):
    network = Rescorer(THREE)
    network.mean.fill_(0.5)
    network.save(tmp_path / "rescore.pth")
    loaded = Rescorer.load(tmp_path / "rescore.pth", THREE)
    features = torch.rand(2, len(network.mean))
    assert torch.equal(loaded(features), network(features))
    with pytest.raises(InputError, match=r"other keypoints than the model's \(3 and 17\)"):
        Rescorer.load(tmp_path / "rescore.pth", COCO)
    with pytest.raises(InputError, match="is no rescoring network"):
        Rescorer.load(weights, COCO)
    with pytest.raises(InputError, match="finds nobody"):
        fit(THREE, torch.zeros(0, 5), torch.zeros(0))


def test_the_predictor_uses_it(tmp_path, weights):
    network = Rescorer(COCO)
    network.save(tmp_path / "rescore.pth")
    arguments = {"size": 64, "threshold": 0.0, "device": "cpu"}
    (plain,) = grouppose.Predictor(weights, **arguments)(noise())
    (new,) = grouppose.Predictor(weights, rescore=tmp_path / "rescore.pth", **arguments)(noise())
    assert len(new) == len(plain) > 0
    assert sorted(map(tuple, new.keypoints.xy[:, 0])) == sorted(
        map(tuple, plain.keypoints.xy[:, 0])
    )
    assert (new.scores[:-1] >= new.scores[1:]).all() and set(new.scores) != set(plain.scores)


def test_files_of_both_kinds_are_told_apart(tmp_path):
    Rescorer(COCO).save(tmp_path / "ours.pth")
    build_rescorer(17).save(tmp_path / "published.pth")
    assert type(read_rescorer(tmp_path / "ours.pth", COCO)) is Rescorer
    assert type(read_rescorer(tmp_path / "published.pth", COCO)) is LinkRescorer
    with pytest.raises(InputError, match=r"published.pth was trained for other keypoints"):
        read_rescorer(tmp_path / "published.pth", THREE)
