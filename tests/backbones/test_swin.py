"""Swin: timm's numbers; odd sizes and windows are right."""

import pytest
import torch

from grouppose.backbones import build_backbone, pretrained_file
from grouppose.backbones.swin import _index_table, _shift_mask, find_name, index_tables


def test_swin_equals_timm_where_windows_divide_the_map(timm_swin, published_state, tmp_path):
    path = tmp_path / "swin_tiny_patch4_window7_224.pth"
    torch.save({"model": published_state}, path)
    assert pretrained_file("swin_T_224_1k", tmp_path) == path
    backbone = build_backbone("swin_T_224_1k", pretrained=path).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        maps = backbone(images)
        x = timm_swin.patch_embed(images)
        for i, layer in enumerate(timm_swin.layers):
            x = layer(x)
            if i:
                norm = getattr(backbone, f"norm{i}")
                torch.testing.assert_close(
                    maps[i - 1], norm(x).permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4
                )


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


def test_the_index_table_by_hand_and_as_timm_has_it(timm_swin, published_state):
    # of the window's four positions, (0, 0) is one row up and one column left of (1, 1)
    assert _index_table(2)[0].tolist() == [4, 3, 1, 0]
    index = timm_swin.layers[0].blocks[0].attn.relative_position_index
    assert torch.equal(_index_table(7), index)
    tables = index_tables(published_state)
    assert len(tables) == 12 and "layers.3.blocks.1.attn.relative_position_index" in tables


def test_a_swin_is_known_by_its_weights(published_state):
    assert find_name(published_state) == "swin_T_224_1k"
    assert find_name({}) is None
