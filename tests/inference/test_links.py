"""The published rescoring network; its numbers are in tests/models/hrnet_bottomup."""

import pytest
import torch

from grouppose.checkpoints import read_checkpoint
from grouppose.errors import InputError
from grouppose.inference.links import LinkRescorer, build_rescorer, fit_rescorer, recognises
from grouppose.skeleton import COCO, CROWDPOSE

OTHER = {"names": ["a", "b", "c"], "limbs": [[0, 1], [1, 2]]}


def test_features_of_a_pose_by_hand():
    rescorer = build_rescorer(14)
    keypoints = torch.zeros(1, 14, 2)
    keypoints[0, 6] = torch.tensor([3.0, 4.0])  # link 9 is 6-8, link 11 is 8-10
    keypoints[0, 10] = torch.tensor([0.0, 15.0])
    features = rescorer.features(keypoints, torch.full((1, 14), 0.25))[0]
    assert features.shape == (59,)
    unit = (5 + 15) / 2
    assert features[18:20].tolist() == pytest.approx([3 / unit, 4 / unit])  # link 9
    assert features[30 + 9].item() == pytest.approx(5 / unit)
    assert features[45:].tolist() == [0.25] * 14


def test_a_pose_in_one_place_has_a_unit_of_one():
    for count, size in ((17, 74), (14, 59)):
        features = build_rescorer(count).features(
            torch.full((2, count, 2), 7.0), torch.ones(2, count)
        )
        assert features.shape == (2, size) and (features[:, : size - count] == 0).all()


def test_other_skeletons_have_their_limbs_and_the_root_of_their_box():
    rescorer = build_rescorer(3, OTHER)
    keypoints = torch.tensor([[[0.0, 0.0], [8.0, 0.0], [8.0, 2.0]]])
    features = rescorer.features(keypoints, torch.ones(1, 3))[0]
    assert features.tolist() == pytest.approx([-2, 0, 0, -0.5, 2, 0.5, 1, 1, 1])  # unit 4


def test_the_published_start():
    torch.manual_seed(0)
    rescorer = build_rescorer()
    bound = (3 / 74) ** 0.5
    assert 0.98 * bound < rescorer.l1.weight.abs().max() <= bound
    assert (rescorer.l2.bias == 0).all()
    assert {name: tuple(v.shape) for name, v in rescorer.state_dict().items()} == {
        "l1.weight": (256, 74), "l1.bias": (256,), "l2.weight": (256, 256), "l2.bias": (256,),
        "l3.weight": (1, 256), "l3.bias": (1,),
    }  # fmt: skip


def test_scores_are_multiplied_and_people_sorted_again():
    rescorer = build_rescorer()
    with torch.no_grad():
        for p in rescorer.parameters():
            p.zero_()
        rescorer.l1.weight[0, -17] = rescorer.l2.weight[0, 0] = rescorer.l3.weight[0, 0] = 1
        rescorer.l3.bias.fill_(-0.5)  # the output is the first keypoint's confidence less a half
    people = {
        "keypoints": torch.rand(3, 17, 2),
        "confidence": torch.tensor([[0.1], [0.9], [float("nan")]]).expand(-1, 17).contiguous(),
        "scores": torch.tensor([0.8, 0.5, 0.3]),
        "labels": torch.ones(3, dtype=torch.int64),
    }
    found = rescorer.rescored(people)
    assert found["scores"].tolist() == pytest.approx([0.2, 0, -0.32])
    assert found["confidence"][:, 0].tolist()[0] == pytest.approx(0.9)


def test_training_leaves_out_the_last_part_of_a_batch_and_needs_somebody():
    torch.manual_seed(1)
    features, target = torch.rand(25, 74), torch.rand(25)
    rescorer = build_rescorer()
    with torch.no_grad():
        error = (rescorer(features[:20]) - target[:20]).square().mean().item()
    losses = fit_rescorer(
        rescorer, features, target, lr=0.0, epochs=2, batch_size=10, shuffle=False
    )
    assert losses == pytest.approx([error, error], rel=1e-5)
    few = fit_rescorer(rescorer, features[:3], target[:3], lr=0.0, epochs=1, shuffle=False)
    with torch.no_grad():
        assert few == pytest.approx([(rescorer(features[:3]) - target[:3]).square().mean().item()])
    assert fit_rescorer(rescorer, features, target, epochs=30)[-1] < error
    with pytest.raises(InputError, match="finds nobody"):
        fit_rescorer(rescorer, features[:0], target[:0])


def test_published_links_go_by_the_names_of_keypoints():
    assert build_rescorer(17).skeleton == COCO and build_rescorer(14).published
    assert build_rescorer(14).skeleton == CROWDPOSE and not build_rescorer(5).published


def test_files_are_the_published_ones_or_keep_their_skeleton(tmp_path):
    path = tmp_path / "rescore.pth"
    for rescorer in (build_rescorer(17), build_rescorer(3, OTHER)):
        rescorer.save(path)
        content = read_checkpoint(path)
        assert recognises(content["model"])
        loaded = LinkRescorer.read(content, path, rescorer.skeleton)
        for name, value in rescorer.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)
    assert read_checkpoint(path)["settings"]["skeleton"]["names"] == ["a", "b", "c"]


def test_a_file_of_another_skeleton_is_refused(tmp_path):
    path = tmp_path / "rescore.pth"
    for rescorer, other in ((build_rescorer(17), CROWDPOSE), (build_rescorer(3, OTHER), COCO)):
        rescorer.save(path)
        with pytest.raises(InputError, match="trained for other keypoints than the model's"):
            LinkRescorer.read(read_checkpoint(path), path, other)
