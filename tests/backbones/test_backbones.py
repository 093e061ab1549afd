"""What all backbones share: names, recomputing."""

import pytest
import torch

from grouppose.backbones import build_backbone, pretrained_file
from grouppose.errors import MissingFileError, SettingNameError


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


def test_wrong_names_and_missing_files_are_named(tmp_path):
    with pytest.raises(SettingNameError, match="no backbone 'resnet5'; did you mean 'resnet50'"):
        build_backbone("resnet5")
    with pytest.raises(MissingFileError, match="swin_tiny_patch4_window7_224.pth.*--swin_pretrain"):
        pretrained_file("swin_T_224_1k", tmp_path)
    with pytest.raises(SettingNameError, match="no Swin backbone"):
        pretrained_file("resnet50", tmp_path)
