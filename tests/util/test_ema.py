import torch
from torch import nn

from util.ema import ModelEma


def scalar(value: float) -> nn.Module:
    model = nn.BatchNorm1d(1)
    nn.init.constant_(model.weight, value)
    model.running_mean.fill_(value)
    return model


def test_average_starts_at_the_model_and_follows_it():
    model = scalar(1.0)
    ema = ModelEma(model, decay=0.75)
    assert not ema.started
    for value in (2.0, 4.0):  # 2, then 0.75 * 2 + 0.25 * 4
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(value)
        ema.update(model)
    assert ema.started
    assert ema.module.weight.item() == 2.5
    assert ema.module.running_mean.item() == 4.0  # statistics are the model's latest
    assert not ema.module.weight.requires_grad


def test_average_goes_on_from_its_state():
    model = scalar(2.0)
    ema = ModelEma(model, decay=0.5)
    ema.update(model)
    other = ModelEma(scalar(9.0), decay=0.5)
    other.load_state_dict(ema.state_dict())
    other.update(scalar(4.0))
    assert other.module.weight.item() == 3.0
