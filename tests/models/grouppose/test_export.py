import torch

import grouppose
from grouppose.models.grouppose.export import Exportable, everybody, free_axes, selection_margin
from tests.small import SMALL, moved, small


def test_swin_keeps_one_size():
    settings = SMALL | {"backbone": "swin_T_224_1k"}
    assert list(free_axes(grouppose.build_model("grouppose", **settings), dynamic=True)) == [0]
    assert free_axes(grouppose.build_model("grouppose", **SMALL), dynamic=False) == {}


def test_margin_of_the_last_query_by_hand():
    logits = torch.tensor([[0.5, 3.0, 1.0, 2.5], [7.0, 7.0, 7.0, 0.0]])
    assert selection_margin(logits, 2).tolist() == [1.5, 0.0]
    assert selection_margin(logits, 4).tolist() == [torch.inf, torch.inf]


def test_the_exportable_copy_gives_the_best_of_everybody():
    model = moved(small()).eval()
    images = torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8)
    people, margins = everybody(model, images)
    assert people["scores"].shape == (2, 6 * 2)  # every class of every query
    assert (people["scores"].diff(dim=1) <= 0).all() and (margins >= 0).all()
    found = Exportable(model, "grid_sample", 4)(images)
    assert found.keys() == {"scores", "labels", "keypoints"}
    for name, column in found.items():
        torch.testing.assert_close(column, people[name][:, :4], rtol=1e-4, atol=1e-3)
    assert not model.transformer.enc_out_class_embed._forward_hooks  # it leaves the model alone
