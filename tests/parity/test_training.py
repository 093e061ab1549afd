"""Losses, matches, gradients and the first optimizer step are those of the published code."""

import re

import pytest
import torch

import grouppose
from grouppose.models.grouppose.matcher import match
from tests.parity.inputs import (
    BACKENDS,
    batch,
    filled_model,
    fixture,
    noisy_outputs,
    people,
    use_backend,
)
from util.optim import Schedule, build_optimizer

RECIPE = {
    "lr": 1e-4,
    "lr_backbone": 1e-5,
    "lr_backbone_names": ["backbone.0"],
    "weight_decay": 1e-4,
    "lr_schedule": "step",
    "lr_drop": 50,
    "epochs": 60,
    "warmup_steps": 0,
}


@pytest.mark.parametrize("case", fixture("criterion"))
def test_criterion_agrees_with_the_published_one(case):
    expected = fixture("criterion")[case]
    num_keypoints, counts = re.match(r"K(\d+)_\((.*)\)", case).groups()
    counts = tuple(int(c) for c in counts.split(",") if c.strip())
    outputs, targets = noisy_outputs(int(num_keypoints), counts)
    criterion = grouppose.build_criterion("grouppose", num_body_points=int(num_keypoints))
    losses = criterion(outputs, targets)
    total = criterion.total(losses)
    total.backward()

    assert losses.keys() == expected["losses"].keys()
    for name, value in expected["losses"].items():
        assert losses[name].item() == pytest.approx(value, rel=1e-5), name
    assert total.item() == pytest.approx(expected["weighted_total"], rel=1e-5)
    heads = {"final": outputs, "interm": outputs["interm_outputs"]}
    heads |= {f"aux{i}": head for i, head in enumerate(outputs["aux_outputs"])}
    for name, norm in expected["grad_norms"].items():
        head, key = name.split(".")
        gradient = heads[head][key].grad
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-5), name
    pairs = match(list(heads.values()), targets, criterion.cost)
    found = {
        name: [[q.tolist(), p.tolist()] for q, p in head]
        for name, head in zip(heads, pairs, strict=True)
    }
    assert found == expected["matcher"]


@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_first_training_step_agrees_with_the_published_code(backend):
    expected = fixture("training_step")
    model = filled_model(backbone="resnet50").train()
    use_backend(model, backend)
    images, padding = batch(model, [(256, 288), (224, 320)], seed=12)
    criterion = grouppose.build_criterion("grouppose")
    losses = criterion(model(images, padding), people(17, (3, 1)))
    total = criterion.total(losses)
    for name, value in expected["losses"].items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name
    assert total.item() == pytest.approx(expected["total"], rel=1e-4)

    total.backward()
    parameters = dict(model.named_parameters())
    for name, norm in expected["grad_norms"].items():
        assert parameters[name].grad.norm().item() == pytest.approx(norm, rel=1e-3), name
    assert sum(not p.requires_grad for p in parameters.values()) == expected["frozen"]

    optimizer = build_optimizer(model, RECIPE)
    Schedule(RECIPE, steps_per_epoch=10).apply(optimizer, step=0)
    groups = [
        {
            "lr": group["lr"],
            "weight_decay": group["weight_decay"],
            "n": len(group["params"]),
            "numel": sum(p.numel() for p in group["params"]),
        }
        for group in optimizer.param_groups
    ]
    assert groups == expected["groups"]
    trained = [p for p in model.parameters() if p.requires_grad]
    norm = torch.nn.utils.clip_grad_norm_(trained, 0.1)
    assert norm.item() == pytest.approx(expected["grad_norm_total"], rel=1e-4)
    optimizer.step()
    for name, norm in expected["param_norms_after"].items():
        assert parameters[name].norm().item() == pytest.approx(norm, rel=1e-4), name
