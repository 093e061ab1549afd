"""ResNets: torchvision's and timm's numbers; frozen parts stay frozen."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from grouppose.backbones import build_backbone
from grouppose.backbones.resnet import RESNETS, SMALL_RESNETS, ResNet, find_name, fold_batch_norm


def _vary_norms(model):
    """Norms that begin as the identity would hide that they are left out."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize(
    ("name", "dilation"), [("resnet18", False), ("resnet50", False), ("resnet50", True)]
)
def test_resnet_equals_torchvision_with_frozen_norm(name, dilation, tmp_path):
    torch.manual_seed(0)
    stride = [False, False, True] if dilation else None
    options = {"replace_stride_with_dilation": stride}
    reference = getattr(torchvision.models, name)(**options).eval()
    _vary_norms(reference)
    path = tmp_path / "resnet.pth"
    torch.save(reference.state_dict(), path)
    backbone = build_backbone(name, pretrained=path, dilation=dilation).double().train()
    reference, images = reference.double(), torch.randn(2, 3, 65, 97, dtype=torch.float64)
    maps = backbone(images)

    stages = ["layer2", "layer3", "layer4"]
    getter = torchvision.models.feature_extraction.create_feature_extractor(reference, stages)
    for mine, theirs in zip(maps, getter(images).values(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert [m.shape[1] for m in maps] == list(backbone.num_channels)
    frozen = {n.split(".")[1] for n, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}
    assert not any("bn" in name for name, _ in backbone.named_parameters())  # buffers


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_dilation_gives_the_same_features_more_densely(name):
    maps = []
    for dilation in (False, True):
        torch.manual_seed(0)
        backbone = build_backbone(name, dilation=dilation).double()
        images = torch.randn(1, 3, 96, 128, dtype=torch.float64)
        maps.append(backbone(images)[-1])
    strided, dilated = maps
    assert dilated.shape[-2:] == (6, 8) and strided.std() > 0.1
    torch.testing.assert_close(dilated[..., ::2, ::2], strided)


def test_a_seed_gives_the_weights_that_torchvision_draws():
    torch.manual_seed(3)
    reference = torchvision.models.resnet18(norm_layer=torchvision.ops.FrozenBatchNorm2d)
    after = torch.rand(1)
    torch.manual_seed(3)
    backbone = build_backbone("resnet18")
    assert torch.rand(1) == after
    del reference.fc
    torch.testing.assert_close(backbone.body.state_dict(), reference.state_dict(), rtol=0, atol=0)


def test_small_resnet_equals_timm():
    torch.manual_seed(0)
    reference = timm.models.resnet.ResNet(
        timm.models.resnet.BasicBlock,
        [2, 2, 2, 2],
        channels=(32, 64, 96, 160),
        stem_type="deep",
        stem_width=16,
        replace_stem_pool=True,
        num_classes=0,
    )
    _vary_norms(reference)
    backbone = build_backbone("resnet18s")
    assert backbone.body["layer4"][1].bn2.weight.eq(0).all()  # blocks begin as their shortcuts
    backbone.body.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 65, 97)
    for mode in (True, False):  # batch statistics, running ones
        maps = backbone.train(mode)(images)
        torch.testing.assert_close(maps[-1], reference.train(mode).forward_features(images))
    assert [m.shape[1] for m in maps] == list(backbone.num_channels) == [64, 96, 160]
    assert all(p.requires_grad for p in backbone.parameters())


def test_a_norm_in_its_convolution_by_hand():
    block = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0))
    convolution, norm = block
    values = {convolution.weight: 2, norm.weight: 3, norm.bias: 4}
    values |= {norm.running_mean: 5, norm.running_var: 36}
    for tensor, value in values.items():
        tensor.data.fill_(value)
    fold_batch_norm(block.eval())  # y = (2 x - 5) / 6 * 3 + 4 = x + 1.5
    assert (block[0].weight.item(), block[0].bias.item()) == (1.0, 1.5)
    assert type(block[1]) is nn.Identity


@pytest.mark.parametrize("name", [*RESNETS, *SMALL_RESNETS])
def test_a_resnet_is_known_by_its_weights(name):
    with torch.device("meta"):
        assert find_name(ResNet(name).state_dict()) == name
