import os
import socket

import pytest
import torch
import torch.multiprocessing as multiprocessing

from grouppose.errors import InputError
from util import distributed


def test_without_a_launcher_there_is_one_rank():
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    rows = torch.arange(3.0)[:, None]
    assert torch.equal(distributed.gather_rows(rows), rows)
    assert torch.equal(distributed.average(rows), rows)
    assert distributed.main_first(lambda: 5) == 5
    assert distributed.first_to_fail()
    assert distributed.start("cpu", 0) == torch.device("cpu")
    distributed.stop()


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = "process 2 of this machine needs GPU 2, found 2; start fewer processes or use"
    with pytest.raises(InputError, match=message):
        distributed.start("cuda", 2)


def _rank(rank: int, port: int, answers: list) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost", MASTER_PORT=str(port)
    )
    distributed.start("cpu", rank)
    answer = {"rows": distributed.gather_rows(torch.full((1 + 2 * rank, 2), float(rank))).tolist()}
    answer["none"] = distributed.gather_rows(torch.zeros(0, 3)).shape
    answer["average"] = distributed.average(torch.tensor([1.0, 4.0 * rank])).tolist()
    module = torch.nn.BatchNorm1d(1)
    module.running_mean.fill_(rank + 5.0)
    distributed.copy_buffers(module)
    answer["buffer"] = module.running_mean.item()
    answer["built"] = distributed.main_first(lambda: rank + 1)
    try:
        distributed.main_first(lambda: 1 / 0 if rank == 0 else "rank 1 must not build")
    except (ZeroDivisionError, distributed.OtherRankError) as error:
        answer["failed"] = type(error).__name__
    answer["reports"] = distributed.first_to_fail()
    answers[rank] = answer
    distributed.stop()


def test_two_ranks_gather_average_and_fail_together():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with multiprocessing.Manager() as manager:
        answers = manager.list([None, None])
        multiprocessing.spawn(_rank, (port, answers), nprocs=2)
        first, second = answers
    assert (first["built"], second["built"]) == (1, 2)
    for answer in (first, second):
        assert answer["rows"] == [[0, 0], [1, 1], [1, 1], [1, 1]]
        assert answer["none"] == (0, 3)
        assert answer["average"] == [1.0, 2.0]
        assert answer["buffer"] == 5.0
    assert (first["failed"], second["failed"]) == ("ZeroDivisionError", "OtherRankError")
    assert first["reports"] != second["reports"]  # one of them, whichever came first
