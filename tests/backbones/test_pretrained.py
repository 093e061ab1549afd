"""Files of ImageNet weights for backbones."""

import pytest
import torch
import torchvision

from grouppose.backbones import build_backbone
from grouppose.errors import InputError


def test_position_tables_of_another_window_are_resampled(published_state, tmp_path):
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    rows = torch.arange(23.0)[:, None].expand(23, 23).reshape(-1, 1)  # a ramp, window 12
    published_state[name] = rows.expand(-1, published_state[name].shape[1]).clone()
    path = tmp_path / "x.pth"
    torch.save({"model": published_state}, path)
    backbone = build_backbone("swin_T_224_1k", pretrained=path)
    table = backbone.state_dict()[name][:, 0].view(13, 13)
    assert table[6, 0].item() == pytest.approx(11.0, abs=1e-4)  # the middle stays the middle
    assert torch.all(table[1:, 0] > table[:-1, 0])
    torch.testing.assert_close(table[:, 0], table[:, 12])


def test_a_failed_download_says_what_to_do(monkeypatch):
    def no_network(*_, **__):
        raise OSError("unreachable")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", no_network)
    with pytest.raises(InputError, match="could not download.*resnet18.*pretrained_backbone=FILE"):
        build_backbone("resnet18", pretrained="imagenet")


def test_files_of_other_backbones_are_named(tmp_path):
    with pytest.raises(InputError, match="pretrained_backbone='imagenet' is for resnet18"):
        build_backbone("swin_T_224_1k", pretrained="imagenet")
    path = tmp_path / "r34.pth"
    torch.save(torchvision.models.resnet34().state_dict(), path)
    with pytest.raises(InputError, match="does not hold ImageNet weights of resnet18"):
        build_backbone("resnet18", pretrained=path)
