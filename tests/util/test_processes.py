"""Two processes compute what one does, whether they share gradients or the weights themselves."""

import os
import socket
import types

import pytest
import torch
import torch.multiprocessing as multiprocessing

import grouppose
from datasets.viewed import ViewBatch
from grouppose.checkpoints import read_checkpoint, write_checkpoint
from grouppose.inference.find import Finder
from tests.small import SMALL
from util import distributed, engine, session
from util.evaluation import find_people
from util.log import logger
from util.optim import Schedule, build_optimizer
from util.state import TrainingState

CPU = torch.device("cpu")
SETTINGS = {
    "lr": 1e-3,
    "lr_backbone": 1e-3,
    "lr_backbone_names": [],
    "weight_decay": 1e-4,
    "lr_schedule": "step",
    "lr_drop": 9,
    "warmup_steps": 0,
    "epochs": 1,
}


def pictures() -> list[tuple]:
    """Two batches of four pictures of one size, with 0 to 3 people each."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(2):
        images = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8, generator=generator)
        targets = [
            {
                "labels": torch.ones(people, dtype=torch.int64),
                "keypoints": torch.rand(people, 5, 2, generator=generator),
                "visible": torch.ones(people, 5, dtype=torch.bool),
                "area": torch.full((people,), 0.2),
            }
            for people in (3, 0, 1, 2)
        ]
        batches.append((images, torch.zeros(4, 64, 64, dtype=torch.bool), targets))
    return batches


def share(batches: list[tuple]) -> list[tuple]:
    """This rank's part of each batch."""
    size = 4 // distributed.world_size()
    part = slice(distributed.rank() * size, (distributed.rank() + 1) * size)
    return [tuple(column[part] for column in batch) for batch in batches]


def build(sharding: str) -> tuple[torch.nn.Module, TrainingState]:
    torch.manual_seed(0)
    model = grouppose.build_model("grouppose", **{**SMALL, "backbone": "resnet18"})
    run = types.SimpleNamespace(
        model=model,
        device=CPU,
        sharded=sharding == "full",
        args=types.SimpleNamespace(find_unused_params=False),
    )
    trained = session.parallel(run)
    own = trained if sharding == "full" else model
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return trained, TrainingState(own, build_optimizer(own, SETTINGS), scaler, step_size=8)


def gradients() -> dict[str, torch.Tensor]:
    """Of the first batch, which the ranks share."""
    model, state = build("none")
    criterion = grouppose.build_criterion("grouppose", num_body_points=5)
    engine._losses_and_gradient(session_of(model, state, criterion), share(pictures())[:1])
    named = state.model.named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None}


def session_of(model, state: TrainingState, criterion) -> types.SimpleNamespace:
    run = types.SimpleNamespace(
        criterion=criterion,
        train_batches=share(pictures()),
        device=CPU,
        precision=None,
        settings=types.SimpleNamespace(clip_max_norm=0.1, accumulate=2, ema_epoch=0),
    )
    schedule = Schedule(SETTINGS, steps_per_epoch=1)
    return types.SimpleNamespace(run=run, model=model, state=state, schedule=schedule)


def train(sharding: str, start: str | None = None) -> dict:
    """The state after a step of both batches; or that of a file, read and written again."""
    model, state = build(sharding)
    if start:
        state.load_state_dict(read_checkpoint(start), start)
        return state.state_dict()
    criterion = grouppose.build_criterion("grouppose", num_body_points=5)
    engine.train_one_epoch(session_of(model, state, criterion), lambda step: None)
    assert state.is_finite()
    return state.state_dict()


def predicted() -> list[int]:
    """Ids, of a set of a single picture: the second rank has none."""
    model, _ = build("none")
    model = getattr(model, "module", model)
    decode = grouppose.build_decode("grouppose", eval_size=[64], num_body_points=5)
    view, image = decode.views(64, 64)[0], pictures()[0][0][:1]
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)

    class Batches(list):
        dataset = types.SimpleNamespace(pictures=Pictures())

    batch = ViewBatch([7], [(image, padding)], [[view]], {})
    batches = Batches([batch] if distributed.is_main() else [])
    run = types.SimpleNamespace(settings={"max_unreadable": 0}, folder=None)
    ids, people = find_people(run, Finder(model, decode, CPU), batches)
    assert len(people) == 1 and len(people[0]["scores"]) > 0
    return ids


class Pictures(list):
    """A set of one."""

    image_ids, skeleton = (7,), types.SimpleNamespace(num_keypoints=5)


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=str(port)
    )
    distributed.start("cpu", rank)
    logger.disabled = True
    found = {"gradients": gradients(), "predicted": predicted()}
    for sharding in ("none", "full"):
        found[sharding] = train(sharding)
        found[f"again {sharding}"] = train(sharding, f"{folder}/one.pth")
    if rank == 0:
        write_checkpoint(f"{folder}/two.pth", {"model": {}, **found})
        write_checkpoint(f"{folder}/sharded.pth", found["full"])
    distributed.stop()


@pytest.fixture(scope="module")
def both(tmp_path_factory, one_thread):
    """What one process finds, and what two find; and the folder of their checkpoints."""
    folder = tmp_path_factory.mktemp("processes")
    one = {"gradients": gradients(), "trained": train("none")}
    write_checkpoint(folder / "one.pth", one["trained"])
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_rank, (port, str(folder)), nprocs=2)
    return one, torch.load(folder / "two.pth", weights_only=True), folder


def test_gradients_of_two_processes_are_those_of_one_with_the_whole_batch(both):
    one, two, _ = both
    assert one["gradients"].keys() == two["gradients"].keys()
    for name, gradient in one["gradients"].items():
        largest = max(1.0, gradient.abs().max().item())
        difference = (gradient - two["gradients"][name]).abs().max().item()
        assert difference <= 1e-6 * largest, name


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_a_step_of_two_processes_is_that_of_one(both, sharding):
    one, two, _ = both
    wanted, found = one["trained"], two[sharding]
    assert wanted["optimizer"]["state"].keys() == found["optimizer"]["state"].keys()
    for i, entry in wanted["optimizer"]["state"].items():
        average = found["optimizer"]["state"][i]["exp_avg"]  # a tenth of the clipped gradient
        torch.testing.assert_close(average, entry["exp_avg"], rtol=0, atol=1e-7)
    assert wanted["model"].keys() == found["model"].keys()
    names = [name for name, value in wanted["model"].items() if value.is_floating_point()]
    moved = torch.cat([(wanted["model"][n] - found["model"][n]).flatten() for n in names]).abs()
    assert moved.mean() < 1e-3 * SETTINGS["lr"]
    assert torch.equal(found["averages"]["sums"].mean(0) > 0, torch.ones(10, dtype=torch.bool))


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_go_on_from_the_checkpoint_of_one(both, sharding):
    one, two, _ = both
    again = two[f"again {sharding}"]
    for name, value in one["trained"]["model"].items():
        assert torch.equal(again["model"][name], value), name
    for i, entry in one["trained"]["optimizer"]["state"].items():
        for name, value in entry.items():
            assert torch.equal(again["optimizer"]["state"][i][name], value), (i, name)


def test_one_process_goes_on_from_a_sharded_checkpoint(both):
    _, two, folder = both
    again = train("none", str(folder / "sharded.pth"))
    for name, value in two["full"]["model"].items():
        assert torch.equal(again["model"][name], value), name


def test_a_rank_without_pictures_does_not_hang(both):
    assert both[1]["predicted"] == [7]
