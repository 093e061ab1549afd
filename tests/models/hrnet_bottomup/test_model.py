"""What the networks promise apart from the published numbers."""

import pytest
import torch

import grouppose
from grouppose.errors import InputError

NARROW = {"backbone": "hrnet_w18_small", "num_body_points": 5}


@pytest.fixture(scope="module")
def higher():
    torch.manual_seed(0)
    return grouppose.build_model("hrnet_bottomup", higher=True, **NARROW)


def test_the_published_start(higher):
    block = higher.multi_level_layers_4x_heatmap[0][0]
    assert (block.transform_matrix_conv1.weight == 0).all()
    assert (block.transform_matrix_conv2.bias == 0).all()
    bound = 1 / (9 * 16) ** 0.5
    assert 0.95 * bound < block.stn_conv1.weight.abs().max() <= bound
    assert higher.final_layers[0].weight.std().item() == pytest.approx(0.001, rel=0.3)
    assert higher.stage4[0].branches[0][0].conv1.weight.std().item() == pytest.approx(1e-3, rel=0.1)


def test_dilated_branches_have_one_set_of_convolutions(higher):
    first, *others = (branch[0] for branch in higher.multi_level_layers_4x_heatmap)
    for other in others:
        assert other.stn_conv1.weight is first.stn_conv1.weight
        assert other.transform_matrix_conv2.weight is first.transform_matrix_conv2.weight
        assert other.transform_matrix_conv2.bias is not first.transform_matrix_conv2.bias
        assert other.bn1.weight is not first.bn1.weight
    names = [name for name, _ in higher.named_parameters()]
    assert sum("stn_conv1" in name for name in names) == 2  # heatmaps' and regression's


def test_outputs_of_the_finer_model(higher):
    with torch.no_grad():
        outputs = higher.eval()(torch.rand(1, 3, 64, 96))
    shapes = {name: tuple(maps.shape[1:]) for name, maps in outputs.items()}
    assert shapes == {
        "heatmaps": (6, 16, 24),
        "offsets": (10, 16, 24),
        "branch_heatmaps": (18, 16, 24),
        "fine_heatmaps": (5, 32, 48),
    }
    branches = outputs["branch_heatmaps"].unflatten(1, (3, 6))
    torch.testing.assert_close(outputs["heatmaps"], branches.amax(1))
    assert torch.equal(branches[:, 0, -1], branches[:, 2, -1])  # the centre's


def test_running_statistics_move_as_if_computed_three_times(higher):
    model = grouppose.build_model("hrnet_bottomup", **NARROW)
    assert model.transition_cls[1].momentum == pytest.approx(0.271)
    assert higher.transition_cls[1].momentum == pytest.approx(0.1)
    assert model.transition_reg[1].momentum == pytest.approx(0.1)


def test_padding_is_the_mean_colour(higher):
    images = torch.rand(1, 3, 32, 64)
    padding = torch.zeros(1, 32, 64, dtype=torch.bool)
    padding[..., -3:] = True
    grey = torch.where(padding[:, None], higher.normalise.mean, images)
    with torch.no_grad():
        found, expected = higher.eval()(images, padding), higher(grey)
    torch.testing.assert_close(found["heatmaps"], expected["heatmaps"])


@pytest.mark.parametrize("family", ["hrnet_bottomup", "dekr"])
def test_sides_that_are_no_multiples_of_32_are_refused(family):
    model = grouppose.build_model(family, **NARROW)
    with pytest.raises(
        InputError, match="100 x 64 pixels in the network, expected multiples of 32"
    ):
        model(torch.rand(1, 3, 64, 100))


@pytest.mark.parametrize("family", ["hrnet_bottomup", "dekr"])
def test_several_classes_are_refused(family):
    with pytest.raises(InputError, match='2 categories.*knows one; choose model "grouppose"'):
        grouppose.build_model(family, categories=[[1, "cat"], [2, "dog"]], **NARROW)


@pytest.mark.parametrize("family", ["hrnet_bottomup", "dekr"])
def test_bfloat16_gives_similar_maps(family):
    torch.manual_seed(1)
    model = grouppose.build_model(family, **NARROW).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(images)
    for name, maps in expected.items():
        assert found[name].dtype == torch.float32
        assert (found[name] - maps).abs().max() < 0.02 * maps.abs().max() + 1e-6
