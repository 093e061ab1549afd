import zipfile

import pytest
import torch

from grouppose.errors import InputError
from util import mishaps
from util.engine import Step
from util.state import TrainingState

NAN = float("nan")


@pytest.fixture
def state() -> TrainingState:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD([{"params": list(model.parameters()), "base_lr": 0.1}])
    state = TrainingState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))
    state.epoch, state.step = 2, 6  # the step that was tried last is 5
    return state


def part(*image_ids: int, **more) -> tuple:
    images = torch.arange(len(image_ids) * 12, dtype=torch.uint8).view(-1, 3, 2, 2)
    targets = [{"image_id": torch.tensor(i), "labels": torch.ones(1), **more} for i in image_ids]
    return images, torch.zeros(len(image_ids), 2, 2, dtype=torch.bool), targets


def test_the_batch_of_a_bad_step_is_kept_until_there_are_too_many(state, tmp_path):
    bad = Step([part(7, 8), part(9)], {"loss": NAN, "loss_ce": 1.5}, 3.0, good=False)
    mishaps.note_bad_step(state, bad, tmp_path, limit=3)
    file = tmp_path / "bad_steps" / "epoch0002_step000005_rank0.pth"
    kept = torch.load(file, weights_only=True)
    assert kept["image_ids"] == [7, 8, 9]
    assert kept["losses"]["loss_ce"] == 1.5 and kept["losses"]["loss"] != kept["losses"]["loss"]
    assert torch.equal(kept["batches"][0]["images"], bad.parts[0][0])
    assert (state.skipped, state.bad_in_a_row) == (1, 1)
    state.step += 1
    mishaps.note_bad_step(state, bad, tmp_path, limit=3)
    state.step += 1
    with pytest.raises(mishaps.DivergedError, match="3 steps in a row, the last with loss = nan$"):
        mishaps.note_bad_step(state, bad, tmp_path, limit=3)
    assert len(list((tmp_path / "bad_steps").iterdir())) == 3


def test_kept_batches_do_not_fill_the_disk(state, tmp_path, monkeypatch):
    monkeypatch.setattr(mishaps, "KEPT", 2)
    for _ in range(4):
        bad = Step([part(1)], {"loss": 1.0}, float("inf"), good=False)
        mishaps.note_bad_step(state, bad, tmp_path, limit=9)
        state.step += 1
    assert len(list((tmp_path / "bad_steps").iterdir())) == 2


def test_a_broken_model_is_not_kept(state):
    mishaps.require_finite(state)
    with torch.no_grad():
        state.model.weight[0, 1] = NAN
    with pytest.raises(mishaps.DivergedError, match="a weight is no number"):
        mishaps.require_finite(state)


def test_unreadable_pictures_are_counted_once_and_limited(state, tmp_path):
    def step(*found: tuple[int, str]) -> Step:
        return Step([part(1, unreadable=list(found)), part(2)], {"loss": 1.0}, 1.0, unreadable=1)

    mishaps.note_unreadable(state, step((4, "4.jpg: cut off")), tmp_path, limit=2)
    mishaps.note_unreadable(state, step((4, "4.jpg: cut off"), (5, "no 5.jpg")), tmp_path, limit=2)
    assert state.unreadable == [4, 5]
    assert (tmp_path / "unreadable.txt").read_text() == "4\t4.jpg: cut off\n5\tno 5.jpg\n"
    message = "3 training pictures cannot be read, max_unreadable is 2: ids 4, 5, 6; the last: no 6"
    with pytest.raises(InputError, match=message):
        mishaps.note_unreadable(state, step((6, "no 6.jpg")), tmp_path, limit=2)


def test_pictures_that_a_zip_lacks_are_named_with_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "val2017.zip", "w") as file:
        file.writestr("1.png", b"")
    missing = [(2, tmp_path / "val2017/2.png")]
    lacking = type(
        "Lacking", (list,), {"missing": lambda self: missing, "unopened": lambda self: []}
    )([1, 2, 3])
    mishaps.require_pictures(lacking, limit=1)
    with pytest.raises(InputError, match=r"1 of 3 pictures .* is 0: 2.png in .*/val2017.zip; comp"):
        mishaps.require_pictures(lacking, limit=0)


def test_pictures_that_cannot_be_opened_are_counted_before_the_work():
    class Set(list):
        def missing(self):
            return [(7, "7.jpg")]

        def unopened(self):
            return [(8, "8.jpg cannot be read"), (9, "9.jpg neither")]

    mishaps.require_pictures(Set([1] * 4), limit=3)
    for size, limit in ((4, 2), (3, 3)):
        with pytest.raises(InputError, match=f"3 of {size} .*ids 7, 8, 9; the first: no 7.jpg"):
            mishaps.require_pictures(Set([1] * size), limit)
