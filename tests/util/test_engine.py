import types

import pytest
import torch
from torch import Tensor, nn

from grouppose.errors import InputError
from util import engine
from util.ema import ModelEma
from util.optim import Schedule
from util.state import TrainingState

CPU = torch.device("cpu")
SETTINGS = {"lr_schedule": "step", "lr_drop": 1, "warmup_steps": 0, "epochs": 2}


class Line(nn.Module):
    """w times the picture's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, padding: None) -> dict[str, Tensor]:
        return {"y": self.w * images.float().mean((1, 2, 3))}


class Distance(nn.Module):
    def forward(self, outputs: dict[str, Tensor], targets: list, count: int) -> dict[str, Tensor]:
        wanted = torch.stack([target["y"] for target in targets])
        return {"loss_a": (outputs["y"] - wanted).sum() / count}

    def count(self, targets: list) -> int:
        return len(targets)

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        return 3 * losses["loss_a"]


def batch(value: float, wanted: float) -> tuple:
    target = {"y": torch.tensor(wanted), "labels": torch.ones(1), "image_id": 1}
    return torch.full((1, 3, 2, 2), value), torch.zeros(1, 2, 2, dtype=torch.bool), [target]


def start(model: Line, **changes) -> TrainingState:
    optimizer = torch.optim.SGD([{"params": list(model.parameters()), "base_lr": 0.1}])
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return TrainingState(model, optimizer, scaler, **changes)


def train(state: TrainingState, batches: list, after_step=lambda _: None, **changes) -> dict:
    means, pace = engine.train_one_epoch(session(state, batches, **changes), after_step)
    assert pace.keys() == {"pictures_per_second", "data_wait", "memory_gb"}
    return means


def session(state: TrainingState, batches: list, **changes) -> types.SimpleNamespace:
    settings = {"clip_max_norm": 0.0, "accumulate": 1, "ema_epoch": 0, **changes}
    run = types.SimpleNamespace(
        criterion=Distance(),
        train_batches=batches,
        device=CPU,
        precision=None,
        settings=types.SimpleNamespace(**settings),
    )
    schedule = Schedule(SETTINGS, steps_per_epoch=2)
    return types.SimpleNamespace(run=run, model=state.model, state=state, schedule=schedule)


def test_an_epoch_by_hand():
    model, steps = Line(), []
    state = start(model)
    means = train(state, [batch(1.0, 0.0), batch(2.0, 1.0)], steps.append)
    # loss 2, gradient 3: w = 1.7; then 1.7 * 2 - 1 = 2.4, gradient 6: w = 1.1
    assert model.w.item() == pytest.approx(1.1)
    assert means == pytest.approx({"loss": 3 * 2.2, "loss_a": 2.2})
    assert [step.values["loss_a"] for step in steps] == pytest.approx([2.0, 2.4])
    assert [step.gradient_norm for step in steps] == pytest.approx([3.0, 6.0])
    assert all(step.good and step.stop == 0 for step in steps)
    assert state.step == 2


def test_a_step_of_two_batches_by_hand():
    model = Line()
    means = train(start(model), [batch(1.0, 0.0), batch(2.0, 1.0)], accumulate=2)
    # the losses are halves of 2 and 3, the gradient is the mean of 3 and 6
    assert model.w.item() == pytest.approx(2 - 0.45)
    assert means == pytest.approx({"loss": 3 * 2.5, "loss_a": 2.5})


def test_clipping_and_the_drop_of_the_rate_by_hand():
    model = Line()
    train(start(model, epoch=1), [batch(1.0, 0.0)], clip_max_norm=0.5)
    assert model.w.item() == pytest.approx(2 - 0.01 * 0.5)  # the rate fell to a tenth


def test_average_of_weights_follows_every_step():
    model = Line()
    ema = ModelEma(model, decay=0.5)
    train(start(model, ema=ema), [batch(1.0, 0.0), batch(2.0, 1.0)])
    assert ema.module.w.item() == pytest.approx((1.7 + 1.1) / 2)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_left_out(wrong):
    model, steps = Line(), []
    ema = ModelEma(model, decay=0.5)
    state = start(model, ema=ema)
    means = train(state, [batch(1.0, wrong), batch(2.0, 1.0)], steps.append)
    assert [step.good for step in steps] == [False, True]
    assert model.w.item() == pytest.approx(2 - 0.1 * 6)  # as if the first had not been
    assert ema.module.w.item() == pytest.approx(1.4)
    assert means == pytest.approx({"loss": 9.0, "loss_a": 3.0})
    assert state.step == 2


def test_a_gradient_that_is_not_finite_is_left_out():
    class Root(Line):
        def forward(self, images: Tensor, padding: None) -> dict[str, Tensor]:
            return {"y": (self.w * images.float().mean((1, 2, 3))).sqrt()}

    model, steps = Root(), []
    train(start(model), [batch(0.0, 0.0)], steps.append)  # the slope of sqrt at 0, times 0
    assert steps[0].values["loss"] == 0.0
    assert not steps[0].good
    assert model.w.item() == 2.0


def test_running_means_do_not_keep_a_bad_batch():
    class Normed(Line):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images: Tensor, padding: None) -> dict[str, Tensor]:
            return super().forward(self.norm(images), padding)

    model = Normed()
    train(start(model), [batch(float("nan"), 0.0)])
    assert model.norm.running_mean.tolist() == [0.0] * 3
    assert int(model.norm.num_batches_tracked) == 0
    train(start(model), [batch(10.0, 0.0)])
    assert model.norm.running_mean.tolist() == pytest.approx([1.0] * 3)  # momentum 0.1


def test_too_little_memory_is_explained():
    class Greedy(Line):
        def forward(self, images: Tensor, padding: None) -> dict[str, Tensor]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    images, padding, target = batch(1.0, 0.0)
    four = (images.expand(4, -1, 2, 2), padding.expand(4, -1, -1), target * 4)
    message = (
        r"out of memory: .* GB were in use in a step of 4 pictures padded to 2 x 2; what helps: "
        r"--amp, --options use_checkpoint=True, or batch_size=2 accumulate=2$"
    )
    with pytest.raises(InputError, match=message):
        train(start(Greedy()), [four])


def test_what_a_model_wants_of_the_targets_is_handed_over_while_it_trains():
    class Masked(Line):
        training_inputs = ("ignore",)

        def forward(self, images: Tensor, padding: None, ignore: Tensor | None = None) -> dict:
            assert ignore.shape == (2, 2, 2) and ignore[1].all() and not ignore[0].any()
            return super().forward(images, padding)

    images, _, targets = batch(1.0, 0.0)
    targets = [{**targets[0], "ignore": torch.full((2, 2), i > 0)} for i in range(2)]
    two = (images.repeat(2, 1, 1, 1), torch.zeros(2, 2, 2, dtype=torch.bool), targets)
    model = Masked()
    train(start(model), [two, two])
    assert model.w.item() == pytest.approx(2 - 2 * 0.1 * 3)
