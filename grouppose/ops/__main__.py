"""python -m grouppose.ops: what was built, for which processors, what runs here, and whether it
computes what it should.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from grouppose.commands import Parser, exit_status
from grouppose.ops import backends, msda_fused

SHAPES = [(12, 17), (6, 9), (3, 5), (2, 3)]
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def make_inputs(device: str, dtype: torch.dtype) -> list[Tensor]:
    """Value, reference, offsets and logits of a small problem: 50 queries, 4 heads of 32."""
    draw = torch.Generator().manual_seed(0)
    positions = sum(h * w for h, w in SHAPES)
    value = torch.randn(2, positions, 4, 32, generator=draw)
    reference = torch.rand(2, 50, 4, 2, generator=draw)
    offsets = 2 * torch.randn(2, 50, 4, 4, 4, 2, generator=draw)
    logits = torch.randn(2, 50, 4, 4, 4, generator=draw)
    narrow = [x.to(device, dtype) for x in (value, offsets, logits)]
    return [narrow[0], reference.to(device), *narrow[1:]]


def solve(inputs: list[Tensor], name: str) -> list[Tensor]:
    """The output and all gradients of its sum of squares, on backend `name`."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = msda_fused(leaves[0], SHAPES, *leaves[1:], backend=name)
    out.float().square().sum().backward()
    return [out.detach(), *(x.grad for x in leaves)]


@functools.cache
def expected(device: str, dtype: torch.dtype) -> list[Tensor]:
    """What the reference makes in float64 of the numbers that `dtype` holds."""
    return solve([x.double() for x in make_inputs(device, dtype)], "reference")


def self_test(device: str, name: str) -> bool:
    """Whether backend `name` agrees with the reference, forward and backward."""
    start, worst = time.perf_counter(), 0.0
    for dtype, tolerance in TOLERANCES.items():
        truth = expected(device, dtype)
        for x, y in zip(solve(make_inputs(device, dtype), name), truth, strict=True):
            error = (x - y).abs().max() / y.abs().max()
            worst = max(worst, (error / tolerance).item())
    verdict = "passed" if worst < 1 else "FAILED"
    say(
        f"  {name}: {verdict}, error {worst:.2f} of what is allowed, "
        f"{time.perf_counter() - start:.1f} s"
    )
    return worst < 1


def describe_builds() -> None:
    for name, contents in (
        ("cpu", ", ".join(backends.cpu_variants())),
        ("cuda", backends.cuda_architectures()),
    ):
        library, reason = backends.library(name)
        say(f"{name}: built, {contents}" if library else f"{name}: not there, {reason}")


def main(arguments: Sequence[str] | None = None) -> int:
    Parser(prog="python -m grouppose.ops", description=__doc__).parse_args(arguments)
    return exit_status(examine)


def examine() -> int:
    """Prints what there is; 1 if something computes wrong numbers."""
    say(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    describe_builds()
    devices = {"cpu": backends.cpu_variants()}
    if torch.cuda.is_available():
        cuda = torch.device("cuda")
        devices["cuda"] = tuple(n for n in ("cuda", "triton") if not backends.obstacle(cuda, n))
    passed = True
    for device, names in devices.items():
        chosen, reason = backends.backend(device, torch.float32)
        say(f"{device} runs {chosen}: {reason}")
        for name in names:
            passed = self_test(device, name) and passed
    if "cuda" not in devices:
        say("cuda: there is no GPU here")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
