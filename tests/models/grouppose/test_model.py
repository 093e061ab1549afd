"""What Group Pose computes: by hand, by identity, and at its edges."""

import pytest
import torch

import grouppose
from grouppose.errors import InputError, SettingNameError, SettingTypeError
from grouppose.layers import mlp
from tests.small import moved, small


def test_uint8_and_scaled_float_pictures_give_the_same():
    model = moved(small()).eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        a, b = model(images), model(images / 255)
    torch.testing.assert_close(a, b)


def test_normalisation_by_hand_and_padding_becomes_zero():
    model = small()
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    padding = torch.tensor([[[False, True], [True, True]]])
    out = model.normalise(images, padding)
    assert out[0, 0, 0, 0].item() == pytest.approx((1 - 0.485) / 0.229)
    assert out[0, 2, 0, 0].item() == pytest.approx((1 - 0.406) / 0.225)
    assert out.count_nonzero() == 3


def test_pixels_under_padding_do_not_count():
    model = moved(small()).eval()
    padding = torch.zeros(1, 64, 96, dtype=torch.bool)
    padding[:, 40:], padding[:, :, 70:] = True, True
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    other = torch.where(padding[:, None], 255 - images, images)
    with torch.no_grad():
        a, b = model(images, padding), model(other, padding)
    torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("with_padding", [False, True])
def test_large_pictures_of_a_batch_are_computed_one_by_one_alike(with_padding, monkeypatch):
    model = moved(small()).eval()
    images = torch.randint(0, 256, (3, 3, 64, 96), dtype=torch.uint8)
    padding = torch.zeros(3, 64, 96, dtype=torch.bool)
    padding[1, :, 60:] = True
    padding = padding if with_padding else None
    with torch.no_grad():
        together = model(images, padding)
        sizes = []
        model.backbone.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
        monkeypatch.setattr("grouppose.models.grouppose.model._LARGE", 64 * 96)
        apart = model(images, padding)
    assert sizes == [1, 1, 1]
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-5)
    model(images, padding)  # with a gradient: together
    assert sizes == [1, 1, 1, 3]


def test_training_adds_the_outputs_of_earlier_layers_and_of_the_encoder():
    model = small()
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    expected = {"pred_logits", "pred_keypoints", "previous_keypoints"}
    assert set(model.eval()(images)) == expected
    outputs = model.train()(images)
    assert len(outputs["aux_outputs"]) == 1
    assert outputs["interm_outputs"]["pred_keypoints"].shape == (2, 6, 5, 2)
    assert "aux_outputs" not in small(aux_loss=False).train()(images)


def test_untrained_heads_score_one_percent_and_leave_points_at_the_centre():
    outputs = small().eval()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    keypoints = outputs["pred_keypoints"]
    torch.testing.assert_close(keypoints, keypoints[:, :, :1].expand_as(keypoints))
    head = small().class_embed[0]
    assert head.bias.sigmoid().tolist() == pytest.approx([0.01, 0.01])


def test_no_padding_and_an_empty_mask_are_the_same():
    model = moved(small()).eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        a, b = model(images), model(images, torch.zeros(2, 64, 96, dtype=torch.bool))
    torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet18s", "resnet50"])
def test_optimized_for_inference_it_computes_the_same(backbone):
    model = moved(small(backbone=backbone, pretrained_backbone=None)).eval()
    for module in model.backbone.modules():
        if hasattr(module, "running_var"):  # batch norm that does something
            module.running_var.uniform_(0.5, 2)
            for changed in (module.running_mean, module.weight.data, module.bias.data):
                changed.add_(0.3 * torch.randn_like(changed))
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        before = model(images)
        assert model.optimize_for_inference() is model
        after = model(images)
    torch.testing.assert_close(after, before, rtol=0, atol=2e-5)
    names = {type(module).__name__ for module in model.modules()}
    assert not names & {"BatchNorm2d", "FrozenBatchNorm2d"}


@pytest.mark.parametrize("changed", [{"use_checkpoint": True}, {"piece": 7}])
def test_recomputed_or_in_pieces_it_learns_the_same(changed, monkeypatch):
    """Every gradient, with dropout where it is drawn in the same order."""

    def gradients(piece=10**6, **settings):
        monkeypatch.setattr(mlp, "_PIECE", piece)
        model = moved(small(dropout=dropout, **settings)).train()
        torch.manual_seed(1)
        outputs = model(images)
        loss = sum((outputs[name] ** 2).sum() for name in ("pred_logits", "pred_keypoints"))
        loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    dropout = 0.0 if "piece" in changed else 0.1
    expected, found = gradients(), gradients(**changed)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_wrong_inputs_are_named():
    model = small()
    with pytest.raises(InputError, match=r"expected \(B, 3, H, W\)"):
        model(torch.zeros(1, 64, 64, 3))
    with pytest.raises(InputError, match="padding has shape"):
        model(torch.zeros(1, 3, 64, 64), torch.zeros(1, 8, 8, dtype=torch.bool))
    with pytest.raises(SettingTypeError, match="did you mean 'num_queries'"):
        grouppose.build_model("grouppose", num_querys=3)
    with pytest.raises(TypeError):
        grouppose.build_criterion("grouppose", bath_size=1)
    with pytest.raises(SettingNameError, match="no model 'groupose'; did you mean 'grouppose'"):
        grouppose.build_model("groupose")


def test_model_overfits_one_picture():
    model, criterion = (
        small(num_body_points=3),
        grouppose.build_criterion("grouppose", num_body_points=3),
    )
    target = {
        "labels": torch.tensor([1]),
        "keypoints": torch.tensor([[[0.3, 0.4], [0.5, 0.6], [0.7, 0.3]]]),
        "visible": torch.ones(1, 3, dtype=torch.bool),
        "area": torch.tensor([0.1]),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    for _ in range(150):
        optimizer.zero_grad()
        criterion.total(criterion(model(images), [target])).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        (people,) = grouppose.postprocess(model.eval()(images), torch.tensor([[100, 100]]))
    best = people["keypoints"][0] / 100
    assert (best - target["keypoints"][0]).abs().max() < 0.03
    assert people["scores"][0] > 0.5


@pytest.mark.no_cover  # tracing takes twice as long under coverage
def test_one_compiled_model_takes_any_size():
    torch.compiler.reset()
    model = moved(small(dec_layers=1)).eval()
    # the default backend's code for it takes minutes to build
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    with torch.no_grad():
        compiled(torch.zeros(9, 3, 80, 144, dtype=torch.uint8))
        with torch.compiler.set_stance("fail_on_recompile"):
            for batch, height, width in ((2, 96, 80), (4, 77, 128), (5, 150, 101)):
                images = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
                torch.testing.assert_close(compiled(images), model(images))
