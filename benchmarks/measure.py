"""Timing of two things in turn, with a control that shows whether the machine held still."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MOVED = 0.10  # a control that differs by more than this from the run's median marks its row


def arguments(doc: str, batch: int, rounds: int) -> argparse.ArgumentParser:
    """The flags of benchmarks that run a whole model; `doc` starts with what one measures."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1066], metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def machine(device: str) -> str:
    """One line for RESULTS.md."""
    torch_line = f"torch {torch.__version__}, Python {platform.python_version()}"
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, {torch_line}"
    return f"{_processor()}, {torch.get_num_threads()} threads, {torch_line}"


def _processor() -> str:
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            rows = dict(line.split(":", 1) for line in file if ":" in line)
        rows = {key.strip(): value.strip() for key, value in rows.items()}
        vectors = "AVX-512" if "avx512f" in rows.get("flags", "") else ""
        name = " ".join(filter(None, (rows.get("model name", name), vectors)))
    return f"{name}, {os.cpu_count()} logical cores"


class Timer:
    """Milliseconds of a call.

    Args:
        device: "cpu" or "cuda".
        least: seconds to spend on each measurement.
    """

    def __init__(self, device: str, least: float = 0.5) -> None:
        self.device, self.least = device, least
        self._matrix = torch.randn(1024, 1024, device=device)

    def control(self) -> float:
        """A matrix product of 1024 x 1024: the machine's speed at this moment."""
        return self(lambda: self._matrix @ self._matrix, least=0.1)

    def __call__(
        self, call: Callable[[], object], least: float | None = None, repeats: int = 3
    ) -> float:
        """The median of at least so many calls, after one that does not count."""
        call()
        times: list[float] = []
        end = time.perf_counter() + (self.least if least is None else least)
        while len(times) < repeats or time.perf_counter() < end:
            times.append(self._once(call))
        return statistics.median(times)

    def _once(self, call: Callable[[], object]) -> float:
        if self.device == "cpu":
            start = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - start)
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop)


def peak_memory(device: str) -> int:
    """MB that this process held at most so far; on CUDA what torch allocated."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() >> 20
    if sys.platform == "linux":  # ru_maxrss would also count the process that started this one
        with open("/proc/self/status", encoding="utf-8") as file:
            return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) >> 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> (20 if sys.platform == "darwin" else 10)


def forward_of(call: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Callable[[], object]:
    """Runs it without recording for backward."""

    @torch.no_grad()
    def run() -> Tensor:
        return call(*inputs)

    return run


def backward_of(call: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Callable[[], object]:
    """Runs the backward pass alone, with respect to every input."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = call(*leaves)
    grad = torch.ones_like(out)

    def run() -> object:
        return torch.autograd.grad(out, leaves, grad, retain_graph=True)

    return run


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def marked(rows: Sequence[Sequence[object]], controls: Sequence[float]) -> list[list[object]]:
    """Rows with their control in milliseconds behind them, "moved" where it left the median."""
    middle = statistics.median(controls)
    return [
        [*row, f"{control:.1f}" + (" moved" if abs(control / middle - 1) > MOVED else "")]
        for row, control in zip(rows, controls, strict=True)
    ]
