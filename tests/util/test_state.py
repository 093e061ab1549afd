import copy

import pytest
import torch
from torch import nn

from grouppose.errors import InputError, UserError
from util.state import TrainingState, load_into


def state(**changes) -> TrainingState:
    model = nn.Linear(1, 1)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    groups = [{"params": list(model.parameters()), "base_lr": 0.1}]
    return TrainingState(model, torch.optim.AdamW(groups, lr=0.1), scaler, **changes)


def step(of: TrainingState) -> float:
    """A step towards a random place."""
    of.optimizer.zero_grad()
    (of.model(torch.ones(1, 1)) - torch.rand(1)).square().sum().backward()
    of.optimizer.step()
    return of.model.weight.item()


def test_a_state_goes_out_and_in_with_its_random_numbers():
    old = state(epoch=3, step=5, best={"regular": 0.5}, unreadable=[7], minutes=1.5)
    step(old)
    kept = copy.deepcopy(old.state_dict())
    expected = step(old)
    new = state()
    new.load_state_dict(kept, "a file")
    assert (new.epoch, new.step, new.best, new.unreadable) == (3, 5, {"regular": 0.5}, [7])
    assert step(new) == expected


def test_an_epoch_begins_with_nothing_of_the_last():
    one = state(epoch=1, step=4, skipped=2, reshuffles=[(1, 1)])
    one.start_epoch()
    assert (one.epoch, one.step, one.skipped, one.reshuffles) == (2, 0, 0, [])


def test_weights_that_are_no_numbers_are_seen():
    one = state()
    assert one.is_finite()
    one.model.weight.data[0] = float("nan")
    assert not one.is_finite()


def test_what_is_no_checkpoint_of_training_is_refused():
    with pytest.raises(UserError, match="a file"):
        state().load_state_dict({"model": state().model.state_dict()}, "a file")
    with pytest.raises(InputError):
        load_into(nn.Linear(2, 1), nn.Linear(1, 1).state_dict(), "a file")
