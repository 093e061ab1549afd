import cv2
import numpy as np
import pytest
import torch

from grouppose.errors import InputError, MissingFileError
from util import distributed, loading
from util.loading import EvalBatches, TrainBatches, effective_batch


@pytest.fixture
def ranks(monkeypatch):
    """Pretends to be one of several ranks."""

    def become(rank: int, size: int) -> None:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: size)

    return become


def test_training_order_depends_on_seed_and_epoch_alone():
    batches = TrainBatches(10, 2, seed=3)
    first = list(batches)
    assert first == list(TrainBatches(10, 2, seed=3))
    assert sorted(sum(first, [])) == list(range(10))
    batches.epoch = 1
    assert list(batches) != first
    assert list(TrainBatches(10, 2, seed=4)) != first  # seed 3, epoch 1 is another order too
    assert list(batches) != list(TrainBatches(10, 2, seed=4))


def test_ranks_share_what_one_process_would_see_in_a_step(ranks):
    alone = list(TrainBatches(11, 4, seed=0))
    shares = []
    for rank in range(2):
        ranks(rank, 2)
        shares.append(list(TrainBatches(11, 2, seed=0)))
    assert [a + b for a, b in zip(*shares, strict=True)] == alone
    assert len(alone) == 2  # the last 3 of 11 do not fill a batch


def test_too_few_pictures_are_refused(ranks):
    ranks(0, 2)
    message = r"3 training pictures do not fill 2 x 1 \(accumulate x batch_size\) on each of 2 "
    with pytest.raises(InputError, match=message):
        TrainBatches(3, 1, seed=0, accumulate=2)


def test_accumulated_batches_are_parts_of_a_larger_one(ranks):
    large = list(TrainBatches(11, 4, seed=0))
    small = list(TrainBatches(11, 2, seed=0, accumulate=2))
    assert [a + b for a, b in zip(small[::2], small[1::2], strict=True)] == large
    ranks(1, 3)
    assert effective_batch({"batch_size": 4, "accumulate": 5}) == 60


def test_pictures_of_one_aspect_share_a_step(ranks):
    aspects = np.array([0.5, 2.0] * 8)
    batches = TrainBatches(16, 2, seed=0, aspects=aspects)
    first = list(batches)
    assert sorted(sum(first, [])) == list(range(16))
    assert all(len({aspects[i] for i in batch}) == 1 for batch in first)
    assert first == list(TrainBatches(16, 2, seed=0, aspects=aspects))
    batches.epoch = 1
    assert list(batches) != first
    ranks(0, 2)
    shared = TrainBatches(16, 1, seed=0, aspects=aspects)
    assert [batch[0] for batch in shared] == [batch[0] for batch in first]


def test_evaluation_batches_are_the_same_for_any_number_of_ranks(ranks):
    alone = list(EvalBatches(7, 2))
    assert alone == [[0, 1], [2, 3], [4, 5], [6]]
    shares = []
    for rank in range(3):
        ranks(rank, 3)
        batches = EvalBatches(7, 2)
        assert len(batches) == len(list(batches))
        shares.append(list(batches))
    assert shares == [[[0, 1], [6]], [[2, 3]], [[4, 5]]]


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(2, 1, 1), (2, 2, 0), (2, 4, 0), (64, 8, 7), (64, 1, 8)]
)
def test_workers_fit_the_cores(monkeypatch, cores, processes, workers):
    monkeypatch.setattr(loading.os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert loading.default_workers() == workers


def flat(batches) -> list[int]:
    return [i for batch in batches for i in batch]


@pytest.mark.parametrize("aspects", [None, np.array([0.5, 1.0, 2.0] * 8)])
def test_an_epoch_goes_on_where_it_stood(aspects):
    batches = TrainBatches(24, 2, seed=0, accumulate=2, aspects=aspects)
    whole = list(batches)
    batches.first_step = 4
    assert list(batches) == whole[8:]
    assert len(batches) == len(whole)  # of the epoch, whatever is done of it
    batches.first_step = 6
    assert list(batches) == []


@pytest.mark.parametrize("aspects", [None, np.array([0.5, 2.0] * 12)])
def test_after_going_back_the_rest_comes_in_another_order(aspects):
    batches = TrainBatches(24, 2, seed=0, aspects=aspects)
    before = flat(batches)
    batches.reshuffles = [(3, 1)]
    after = flat(batches)
    assert after[:6] == before[:6]  # three steps were done
    assert after[6:] != before[6:] and sorted(after) == sorted(before)
    batches.reshuffles = [(3, 2)]  # the second time it went back to the same place
    again = flat(batches)
    assert again[:6] == before[:6] and again[6:] not in (before[6:], after[6:])
    batches.reshuffles = [(3, 1), (8, 2)]
    assert flat(batches)[:16] == after[:16] and flat(batches)[16:] != after[16:]
    if aspects is not None:
        assert all(len({aspects[i] for i in batch}) == 1 for batch in batches)


def test_a_worker_that_the_system_killed_is_explained():
    def broken(message: str):
        yield 1
        raise RuntimeError(message)

    killed = "DataLoader worker (pid 12) is killed by signal: Killed. "
    message = r"ended by the system \(killed by signal: Killed\): most likely the memory .* is full"
    with pytest.raises(InputError, match=message):
        list(loading.from_workers(broken(killed)))
    exited = "DataLoader worker (pid(s) 12) exited unexpectedly"
    with pytest.raises(InputError, match=r"ended by the system \(exited\)"):
        list(loading.from_workers(broken(exited)))
    with pytest.raises(RuntimeError, match="^shapes$"):
        list(loading.from_workers(broken("shapes")))
    assert list(loading.from_workers([1, 2])) == [1, 2]


def test_an_error_of_a_worker_is_its_last_line():
    def broken(text):
        yield 1
        raise MissingFileError(text)

    text = "Caught InputError in DataLoader worker process 0.\nOriginal Traceback (most recent "
    text += "call last):\n  File ...\ngrouppose.errors.InputError: a.png: truncated; fetch it\n"
    with pytest.raises(MissingFileError) as error:
        list(loading.from_workers(broken(text)))
    assert str(error.value) == "a.png: truncated; fetch it"
    with pytest.raises(MissingFileError, match=r"^no file: -1$"):
        list(loading.from_workers(broken("no file: -1")))


class Threads(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[int, int]:
        return cv2.getNumThreads(), torch.get_num_threads()


def test_a_worker_has_one_thread():
    batches = loading.make_loader(Threads(), EvalBatches(4, 1), list, 2, torch.device("cpu"))
    assert [sample for (sample,) in batches] == [(1, 1)] * 4
