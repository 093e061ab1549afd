"""The trunk gives timm's maps under the published names, and reads ImageNet files by name."""

import pytest
import timm
import torch

from grouppose.backbones.hrnet import HRNet, load_imagenet, stacked
from grouppose.errors import InputError, SettingNameError

NAME = "hrnet_w18_small"


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    reference = timm.create_model(
        NAME, features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
    )
    trunk = HRNet(NAME)
    trunk.load_state_dict(reference.state_dict())
    return trunk.eval(), reference.eval()


def test_maps_are_timms_to_the_bit(pair):
    trunk, reference = pair
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for mine, theirs in zip(trunk(images), reference(images), strict=True):
            assert torch.equal(mine, theirs)
    assert trunk.num_channels == (16, 32, 64, 128)


def test_w32_has_the_published_number_of_entries():
    with torch.device("meta"):
        state = HRNet("hrnet_w32").state_dict()
    assert len(state) == 1830
    assert state["stage4.2.fuse_layers.0.1.1.running_var"].shape == (32,)
    assert {name.split(".")[0] for name in state} == {
        "conv1", "bn1", "conv2", "bn2", "layer1", "transition1", "transition2", "transition3",
        "stage2", "stage3", "stage4",
    }  # fmt: skip


def test_imagenet_files_load_by_name_without_the_classifier(pair, tmp_path):
    state = {**pair[1].state_dict(), "classifier.weight": torch.zeros(1000, 2048)}
    state["incre_modules.0.0.conv1.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "hrnet.pth")
    trunk = HRNet(NAME)
    load_imagenet(trunk, NAME, tmp_path / "hrnet.pth")
    assert torch.equal(
        trunk.stage4[0].branches[0][0].conv1.weight, state["stage4.0.branches.0.0.conv1.weight"]
    )
    del state["conv1.weight"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match="1 names are missing.*conv1.weight.*change --backbone"):
        load_imagenet(trunk, NAME, tmp_path / "other.pth")


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(SettingNameError, match="did you mean 'hrnet_w32'"):
        HRNet("hrnet_w23")


def test_stacked_maps_have_the_first_ones_size():
    maps = [torch.full((1, c, 8 // s, 12 // s), float(c)) for c, s in ((1, 1), (2, 2), (4, 4))]
    x = stacked(maps)
    assert x.shape == (1, 7, 8, 12)
    assert x[0, :, 3, 5].tolist() == [1, 2, 2, 4, 4, 4, 4]
