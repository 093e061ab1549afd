import types

import pytest
import torch
from torch import Tensor, nn

from util import engine
from util.ema import ModelEma
from util.optim import Schedule

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
    def forward(self, outputs: dict[str, Tensor], targets: list, people: int) -> dict[str, Tensor]:
        wanted = torch.stack([target["y"] for target in targets])
        return {"loss_a": (outputs["y"] - wanted).sum() / people}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        return 3 * losses["loss_a"]


class Batches(list):
    """A list with what a loader knows."""

    batch_sampler = [[0], [1]]


def batch(value: float, wanted: float) -> tuple:
    target = {"y": torch.tensor(wanted), "labels": torch.ones(1), "image_id": 1}
    return torch.full((1, 3, 2, 2), value), torch.zeros(1, 2, 2, dtype=torch.bool), [target]


def train(model: Line, batches: Batches, **changes) -> dict[str, float]:
    optimizer = torch.optim.SGD([{"params": [model.w], "base_lr": 0.1}])
    arguments = {
        "epoch": 0,
        "device": CPU,
        "precision": None,
        "clip_max_norm": 0.0,
    }
    return engine.train_one_epoch(
        model,
        Distance(),
        batches,
        optimizer,
        Schedule(SETTINGS, steps_per_epoch=2),
        torch.amp.GradScaler("cpu", enabled=False),
        **{**arguments, **changes},
    )


def test_an_epoch_by_hand():
    model = Line()
    means = train(model, Batches([batch(1.0, 0.0), batch(2.0, 1.0)]))
    # loss 2, gradient 3: w = 1.7; then 1.7 * 2 - 1 = 2.4, gradient 6: w = 1.1
    assert model.w.item() == pytest.approx(1.1)
    assert means == pytest.approx({"loss": 3 * 2.2, "loss_a": 2.2})


def test_a_step_of_two_batches_by_hand():
    model = Line()
    means = train(model, Batches([batch(1.0, 0.0), batch(2.0, 1.0)]), accumulate=2)
    # the losses are halves of 2 and 3, the gradient is the mean of 3 and 6
    assert model.w.item() == pytest.approx(2 - 0.45)
    assert means == pytest.approx({"loss": 3 * 2.5, "loss_a": 2.5})


def test_clipping_and_the_drop_of_the_rate_by_hand():
    model = Line()
    train(model, Batches([batch(1.0, 0.0)]), epoch=1, clip_max_norm=0.5)
    assert model.w.item() == pytest.approx(2 - 0.01 * 0.5)  # the rate fell to a tenth


def test_average_of_weights_follows_every_step():
    model = Line()
    ema = ModelEma(model, decay=0.5)
    train(model, Batches([batch(1.0, 0.0), batch(2.0, 1.0)]), ema=ema)
    assert ema.module.w.item() == pytest.approx((1.7 + 1.1) / 2)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_weights():
    model = Line()
    message = r"diverged in epoch 0, step 0: loss = nan, loss_a = nan; .* lower lr"
    with pytest.raises(engine.NonFiniteLossError, match=message):
        train(model, Batches([batch(1.0, float("nan"))]))
    assert model.w.item() == 2.0


def test_outputs_are_float32_whatever_the_model_computes_in():
    def model(images: Tensor, padding: None) -> dict:
        assert padding is None  # as the mask is empty
        y = images.float() @ images.float()
        assert y.dtype == torch.bfloat16
        return {"y": y, "aux_outputs": [{"y": y}]}

    images, padding, _ = batch(1.0, 0.0)
    outputs = engine.forward(model, images, padding, CPU, torch.bfloat16)
    assert outputs["y"].dtype == outputs["aux_outputs"][0]["y"].dtype == torch.float32


def test_precision_follows_the_device(monkeypatch, caplog):
    assert engine.choose_precision(CPU, amp=False) is None
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert engine.choose_precision(CPU, amp=True) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(engine.logger, "propagate", True)
    assert engine.choose_precision(CPU, amp=True) is None
    assert "this CPU has no bfloat16 instructions" in caplog.text
    cuda = torch.device("cuda")
    for native, precision in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native
        )
        assert engine.choose_precision(cuda, amp=True) is precision


def test_predictions_come_in_the_order_of_the_data_set():
    dataset = types.SimpleNamespace(
        image_ids=[7, 5, 9], skeleton=types.SimpleNamespace(num_keypoints=1)
    )

    def target(image_id: int) -> dict:
        return {"image_id": torch.tensor(image_id), "orig_size": torch.tensor([10, image_id])}

    images, padding = torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool)
    shuffled = [(images, padding, [target(image_id)]) for image_id in (9, 7, 5)]
    batches = Batches(shuffled)
    batches.dataset = dataset

    def postprocess(outputs: dict, sizes: Tensor) -> list[dict[str, Tensor]]:
        count = int(sizes[0, 1]) - 5  # 0, 2, 4 people on pictures 5, 7, 9
        return [
            {
                "scores": torch.full((count,), float(sizes[0, 1])),
                "labels": torch.ones(count, dtype=torch.int64),
                "keypoints": torch.zeros(count, 1, 2),
            }
        ]

    image_ids, people = engine.predict(Line(), postprocess, batches, CPU, None)
    assert image_ids == [7, 5, 9]
    assert [p["scores"].tolist() for p in people] == [[7.0] * 2, [], [9.0] * 4]
    assert [p["keypoints"].shape for p in people] == [(2, 1, 2), (0, 1, 2), (4, 1, 2)]
