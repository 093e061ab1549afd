import pytest
import torch
from torch import nn

from util.optim import Schedule, build_optimizer, clip_gradients, parameter_groups

SETTINGS = {
    "lr": 1e-2,
    "lr_backbone": 1e-3,
    "lr_backbone_names": ["backbone.0"],
    "weight_decay": 0.1,
    "lr_schedule": "step",
    "lr_drop": 2,
    "warmup_steps": 0,
    "epochs": 5,
}


def network() -> nn.Module:
    model = nn.Module()
    model.backbone = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))])
    model.backbone[0][0].requires_grad_(False)
    model.head = nn.Linear(3, 1)
    return model


def test_backbone_has_its_own_rate_and_frozen_parameters_are_left_out():
    model = network()
    rest, backbone = parameter_groups(model, SETTINGS)
    assert (rest["base_lr"], backbone["base_lr"]) == (1e-2, 1e-3)
    assert [id(p) for p in rest["params"]] == [id(p) for p in model.head.parameters()]
    assert [id(p) for p in backbone["params"]] == [id(p) for p in model.backbone[0][1].parameters()]


def test_a_model_without_backbone_has_one_group():
    assert len(parameter_groups(nn.Linear(2, 2), SETTINGS)) == 1


def test_adamw_decays_everything():
    optimizer = build_optimizer(network(), SETTINGS)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.1}


def test_step_schedule_is_a_tenth_after_every_drop():
    schedule = Schedule(SETTINGS, steps_per_epoch=10)
    factors = [schedule.factor(step) for step in (0, 19, 20, 39, 40)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_cosine_schedule_rises_then_falls_to_zero():
    settings = {**SETTINGS, "lr_schedule": "cosine", "warmup_steps": 10}
    schedule = Schedule(settings, steps_per_epoch=10)  # 50 steps: 10 up, 40 down
    factors = [schedule.factor(step) for step in (0, 4, 9, 10, 20, 30, 40, 50, 60)]
    half = 0.5**0.5
    expected = [0.1, 0.5, 1, 1, (1 + half) / 2, 0.5, (1 - half) / 2, 0, 0]
    assert factors == pytest.approx(expected)


def test_schedule_keeps_the_ratio_of_the_rates():
    optimizer = build_optimizer(network(), SETTINGS)
    Schedule(SETTINGS, steps_per_epoch=1).apply(optimizer, step=2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-3, 1e-4])


@pytest.mark.parametrize(("limit", "expected"), [(2.5, [1.5, 2.0]), (10, [3, 4]), (0, [3, 4])])
def test_gradient_is_scaled_down_to_the_norm(limit, expected):
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    clip_gradients(model, limit)
    assert model.weight.grad.flatten().tolist() == pytest.approx(expected, abs=1e-5)
