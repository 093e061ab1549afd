"""Several processes: start, ranks, gathering. Without a launcher everything is rank 0 of 1."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from grouppose.errors import InputError, UserError
from util.stopping import Stopped, end_with_launcher

# The others wait this long while rank 0 reads annotations, draws or scores. A rank that died is
# noticed at once: its connections close, and its launcher ends the others.
TIMEOUT = timedelta(minutes=15)
_LOST = re.compile("connection|broken pipe|timed out|NCCL|gloo", re.IGNORECASE)
Result = TypeVar("Result")
_store: dist.Store | None = None


class OtherRankError(UserError):
    """Raised where another rank failed; that one reports."""


def start(device: str | None, local_rank: int) -> torch.device:
    """Joins the processes of torchrun or torch.distributed.launch, if one started this process.

    Args:
        device: "cpu", "cuda" or None: cuda if there is one.
        local_rank: number of this process on this machine; the GPU it uses.
    """
    global _store
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda":
        _choose_gpu(local_rank)
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        end_with_launcher()
        _store, rank, size = next(dist.rendezvous("env://", timeout=TIMEOUT))
        backend = "cpu:gloo,cuda:nccl" if name == "cuda" else "gloo"
        dist.init_process_group(backend, store=_store, rank=rank, world_size=size, timeout=TIMEOUT)
    return torch.device(name, local_rank) if name == "cuda" else torch.device(name)


def _choose_gpu(local_rank: int) -> None:
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank >= found:
        raise InputError(
            f"process {local_rank} of this machine needs GPU {local_rank}, found {found}; start "
            "fewer processes or use --device cpu"
        )
    torch.cuda.set_device(local_rank)


def stop() -> None:
    """Leaves the group, after everybody arrived here."""
    global _store
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    _store = None


def rank() -> int:
    """Number of this process; also right before `start`."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", 0))


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


def first_to_fail() -> bool:
    """True in one process only, so that one error is reported once."""
    return is_main() if _store is None else _failures(1) == 1


def told_once(command: Callable[[], int]) -> int:
    """Runs the command of all ranks; if it fails, one of them says why and the others only end."""
    try:
        return command()
    except Stopped as stop:
        if not is_main():
            return stop.status
        raise
    except UserError as error:
        if isinstance(error, OtherRankError) or not first_to_fail():
            return error.status
        raise
    except RuntimeError as error:
        if another_failed():
            return 1
        if not lost(error):
            raise
        if not first_to_fail():
            return 1
        raise InputError(
            "another process of this run is gone (killed, or its machine is out of memory or "
            "reach); the same command with --auto_resume goes on from the last checkpoint"
        ) from error


def another_failed() -> bool:
    """Whether a broken connection is only the echo of an error that its own rank reports."""
    return _store is not None and _failures(0) > 0


def _failures(more: int) -> int:
    """Adds to the failures of all ranks and counts them."""
    try:
        return _store.add("failures", more)
    except RuntimeError:  # the store went with the process that failed first
        return 1 + more


def main_first(build: Callable[[], Result]) -> Result:
    """Calls `build` on rank 0, then on the others; if it fails there, all of them stop."""
    if world_size() == 1:
        return build()
    failed = torch.ones(1)
    if is_main():
        try:
            result = build()
            failed.zero_()
        finally:
            dist.broadcast(failed, src=0)
        return result
    dist.broadcast(failed, src=0)
    if failed.item():
        raise OtherRankError("rank 0 stopped")
    return build()


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of all ranks, one below the other, in the order of ranks; on the CPU.

    Args:
        rows: (n, ...), n differing between ranks, the rest equal.
    """
    rows = rows.detach().cpu().contiguous()
    if world_size() == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)]))
    longest = int(max(counts))
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    everything = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(everything, padded)
    return torch.cat([part[: int(n)] for part, n in zip(everything, counts, strict=True)])


def exchange(values: Sequence[float]) -> Tensor:
    """The numbers of every rank: (ranks, n) float64, the same on all ranks."""
    row = torch.tensor(values, dtype=torch.float64)
    if world_size() == 1:
        return row[None]
    rows = [torch.empty_like(row) for _ in range(world_size())]
    dist.all_gather(rows, row)
    return torch.stack(rows)


def from_main(value: Result) -> Result:
    """What rank 0 has of it, on all ranks; plain containers."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def from_all(value: Result) -> list[Result]:
    """What every rank has, on all ranks; plain containers."""
    if world_size() == 1:
        return [value]
    values: list = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def lost(error: Exception) -> bool:
    """Whether an error says that another rank is gone or hangs."""
    return world_size() > 1 and bool(_LOST.search(str(error)))


def average(values: Tensor) -> Tensor:
    """The mean over ranks, on the CPU."""
    values = values.detach().cpu()
    return gather_rows(values[None]).mean(0)


def copy_buffers(module: nn.Module) -> None:
    """Gives every rank the buffers of rank 0: batch norm counts what each rank saw."""
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)
