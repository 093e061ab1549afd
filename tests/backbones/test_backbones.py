"""Backbones: ImageNet files load, frozen parts stay frozen, odd sizes and windows are right."""

import pytest
import timm
import torch
import torchvision

from grouppose.backbones import build_backbone, pretrained_file
from grouppose.backbones.swin import _shift_mask
from grouppose.errors import InputError, MissingFileError, SettingNameError


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


def _published_swin_state(swin):
    """A timm Swin's weights under the names of the Swin authors' files."""
    state = {}
    for name, value in swin.state_dict().items():
        parts = name.split(".")
        if parts[0] == "layers" and parts[2] == "downsample":
            parts[1] = str(int(parts[1]) - 1)
        state[".".join(parts)] = value
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(1)
    return state


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return timm.create_model(
        "swin_tiny_patch4_window7_224", strict_img_size=False, always_partition=True
    ).eval()  # shifts also where one window covers the map, as the published network does


def test_swin_equals_timm_where_windows_divide_the_map(tiny, tmp_path):
    path = tmp_path / "swin_tiny_patch4_window7_224.pth"
    torch.save({"model": _published_swin_state(tiny)}, path)
    assert pretrained_file("swin_T_224_1k", tmp_path) == path
    backbone = build_backbone("swin_T_224_1k", pretrained=path).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        maps = backbone(images)
        x = tiny.patch_embed(images)
        for i, layer in enumerate(tiny.layers):
            x = layer(x)
            if i:
                norm = getattr(backbone, f"norm{i}")
                torch.testing.assert_close(
                    maps[i - 1], norm(x).permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4
                )


def test_position_tables_of_another_window_are_resampled(tiny, tmp_path):
    state = _published_swin_state(tiny)
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    rows = torch.arange(23.0)[:, None].expand(23, 23).reshape(-1, 1)  # a ramp, window 12
    state[name] = rows.expand(-1, state[name].shape[1]).clone()
    path = tmp_path / "x.pth"
    torch.save({"model": state}, path)
    backbone = build_backbone("swin_T_224_1k", pretrained=path)
    table = backbone.state_dict()[name][:, 0].view(13, 13)
    assert table[6, 0].item() == pytest.approx(11.0, abs=1e-4)  # the middle stays the middle
    assert torch.all(table[1:, 0] > table[:-1, 0])
    torch.testing.assert_close(table[:, 0], table[:, 12])


def test_shift_mask_by_hand():
    # one axis of 4 with window 2, shifted by 1: positions 0 1 | 2 3; 2 and 3 were never neighbours
    mask = _shift_mask(2, 4, 2, 1, torch.device("cpu"))
    assert mask.shape == (2, 4, 4)
    left = mask[0]  # rows 0 and 1 of one window: torn apart by the vertical shift
    assert left[0].tolist() == [0, 0, -100, -100]
    assert mask[1][0].tolist() == [0, -100, -100, -100]


@pytest.mark.parametrize("size", [(33, 50), (64, 31)])
def test_swin_takes_any_size(size):
    backbone = build_backbone("swin_T_224_1k").eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, *size))
    rows, columns = (-(-s // 4) for s in size)  # patches
    for m in maps:
        rows, columns = -(-rows // 2), -(-columns // 2)
        assert m.shape[-2:] == (rows, columns)
        assert m.isfinite().all()


@pytest.mark.parametrize("name", ["resnet18", "swin_T_224_1k"])
def test_recomputed_blocks_give_the_same_gradients(name):
    gradients = []
    for use_checkpoint in (False, True):
        torch.manual_seed(0)
        backbone = build_backbone(name, use_checkpoint=use_checkpoint).train()
        for module in backbone.modules():
            if type(module).__name__ == "DropPath":
                module.drop_prob = 0.0
        sum(m.square().mean() for m in backbone(torch.ones(1, 3, 64, 64))).backward()
        gradients.append([p.grad for p in backbone.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_wrong_names_and_files_are_named(tmp_path):
    with pytest.raises(SettingNameError, match="no backbone 'resnet5'; did you mean 'resnet50'"):
        build_backbone("resnet5")
    with pytest.raises(MissingFileError, match="swin_tiny_patch4_window7_224.pth.*--swin_pretrain"):
        pretrained_file("swin_T_224_1k", tmp_path)
    with pytest.raises(SettingNameError, match="no Swin backbone"):
        pretrained_file("resnet50", tmp_path)
    with pytest.raises(InputError, match="pretrained_backbone='imagenet' is for resnet18"):
        build_backbone("swin_T_224_1k", pretrained="imagenet")
    path = tmp_path / "r34.pth"
    torch.save(torchvision.models.resnet34().state_dict(), path)
    with pytest.raises(InputError, match="does not hold ImageNet weights of resnet18"):
        build_backbone("resnet18", pretrained=path)


def test_a_failed_download_says_what_to_do(monkeypatch):
    def no_network(*_, **__):
        raise OSError("unreachable")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", no_network)
    with pytest.raises(InputError, match="could not download.*resnet18.*pretrained_backbone=FILE"):
        build_backbone("resnet18", pretrained="imagenet")
