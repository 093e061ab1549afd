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


def factors(steps, **changes):
    schedule = Schedule({**SETTINGS, **changes}, steps_per_epoch=10)
    return [schedule.factor(step) for step in steps]


def test_a_list_of_drops_divides_by_ten_once_each():
    found = factors((9, 10, 29, 30, 99), lr_drop=[1, 3])
    assert found == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])
    assert factors((0, 999), lr_drop=[]) == [1, 1]


def test_a_table_gives_factors_from_epochs_on():
    table = [[1, 0.2], [2, 1], [4, 0.01]]
    assert factors((9, 10, 19, 20, 39, 40), lr_table=table) == [1, 0.2, 0.2, 1, 1, 0.01]


def test_warm_up_rises_from_a_ratio():
    """As mmcv's: 1 - (1 - step / steps) (1 - ratio)."""
    found = factors((0, 250, 499, 500), warmup_steps=500, warmup_ratio=1e-3, lr_drop=[])
    assert found == pytest.approx([0.001, 1 - 0.5 * 0.999, 1 - 0.999 / 500, 1])


def test_warm_up_over_epochs_multiplies_what_else_there_is():
    found = factors((0, 9, 10, 19, 20), warmup_epochs=2, lr_table=[[1, 0.5]])
    assert found == pytest.approx([1 / 20, 0.5, 0.5 * 11 / 20, 0.5, 0.5])


def test_drops_are_told_for_checkpoints_before_them():
    def drops(**changes):
        schedule = Schedule({**SETTINGS, **changes}, steps_per_epoch=10)
        return [epoch for epoch in range(7) if schedule.drops(epoch)]

    assert drops() == [2, 4, 6]
    assert drops(lr_drop=[1, 5]) == [1, 5]
    assert drops(lr_table=[[2, 0.2], [3, 1], [6, 0.1]]) == [2, 6]
    assert drops(lr_schedule="cosine") == []


def test_only_some_parameters_warm_up():
    settings = {**SETTINGS, "warmup_names": ["head.weight"], "warmup_steps": 10}
    optimizer = build_optimizer(network(), settings)
    Schedule(settings, steps_per_epoch=10).apply(optimizer, step=4)
    rates = [(group["lr"], len(group["params"])) for group in optimizer.param_groups]
    assert rates == [(pytest.approx(0.5e-2), 1), (1e-2, 1), (1e-3, 2)]


def test_optimizers_are_those_of_torch():
    assert type(build_optimizer(network(), SETTINGS)) is torch.optim.AdamW
    assert type(build_optimizer(network(), {**SETTINGS, "optimizer": "adam"})) is torch.optim.Adam
    assert len(parameter_groups(network(), {**SETTINGS, "lr_backbone": None})) == 1
