"""Deformable attention against the forms that others use, on the shapes of an 800 x 1066 picture.

    python benchmarks/msda.py [--device cpu|cuda] [--dtype float32|bfloat16] [--batch 1 2 8]

Every row is a ratio of times taken in turn in this run: above 1, ours is faster. Baselines:
grid_sample (`grouppose.ops.reference`, what everyone falls back to), on CUDA also a plain scalar
kernel (one thread a channel, benchmarks/scalar_msda.cu) and deformops, if they are there. "fused"
compares softmax + locations + our kernel in three steps with our kernel that does all three.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import scalar_msda
from benchmarks.measure import Timer, backward_of, forward_of, machine, marked, table
from grouppose.ops import backends, msda, msda_fused
from grouppose.ops.reference import msda_reference, sampling_points

LEVELS = [(100, 134), (50, 67), (25, 34), (13, 17)]
POSITIONS = sum(h * w for h, w in LEVELS)
HEADS, CHANNELS, POINTS = 8, 32, 4
QUERIES = {"encoder": POSITIONS, "decoder": 1800}
Form = Callable[..., Tensor]


def make_inputs(stage: str, batch: int, device: str, dtype: torch.dtype) -> list[Tensor]:
    """value, reference, offsets, logits: references as the stage has them, offsets of some pixels.

    The encoder's queries stand on the grid; the decoder's are spread over the picture, a person's
    keypoints near one another.
    """
    draw = torch.Generator().manual_seed(0)
    queries = QUERIES[stage]
    if stage == "encoder":
        grids = [
            torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w).flip(-1)
            for h, w in LEVELS
        ]
        places = torch.cat(grids).expand(batch, -1, 2)
    else:
        centres = torch.rand(batch, queries // 18, 1, 2, generator=draw)
        spread = 0.1 * torch.randn(batch, queries // 18, 18, 2, generator=draw)
        places = (centres + spread).flatten(1, 2).clamp(0, 1)
    reference = places[:, :, None].expand(-1, -1, len(LEVELS), -1).contiguous()
    shape = (batch, queries, HEADS, len(LEVELS), POINTS)
    value = torch.randn(batch, POSITIONS, HEADS, CHANNELS, generator=draw)
    offsets = 3 * torch.randn(*shape, 2, generator=draw)
    logits = torch.randn(shape, generator=draw)
    narrow = [x.to(device, dtype) for x in (value, offsets, logits)]
    return [narrow[0], reference.to(device), *narrow[1:]]


def ours(backend: str) -> Form:
    return lambda value, *points: msda(value, LEVELS, *points, backend=backend)


def reference(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return msda_reference(value, LEVELS, locations, weights)


def in_three_steps(backend: str) -> Form:
    def run(value: Tensor, start: Tensor, offsets: Tensor, logits: Tensor) -> Tensor:
        locations, weights = sampling_points(LEVELS, start, offsets, logits)
        return msda(value, LEVELS, locations, weights, backend=backend)

    return run


def fused(backend: str) -> Form:
    return lambda value, *rest: msda_fused(value, LEVELS, *rest, backend=backend)


def deformops_form() -> Form | None:
    """The strongest other implementation for GPUs, where it is installed (version 3)."""
    if importlib.util.find_spec("deformops") is None:
        return None

    def run(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        from deformops.registry import msda as deformops_msda

        shapes = torch.tensor(LEVELS, device=value.device)
        sizes = shapes.prod(1)
        starts = sizes.cumsum(0) - sizes
        return deformops_msda(value, shapes, starts, locations, weights.flatten(-2))

    return run


def baselines(device: str, dtype: torch.dtype) -> dict[str, Form]:
    found = {"grid_sample": reference}
    if device == "cuda":
        scalar = scalar_msda.build(LEVELS) if dtype == torch.float32 else None
        found |= {name: form for name, form in
                  (("scalar kernel", scalar), ("deformops", deformops_form())) if form}  # fmt: skip
    return found


def comparisons(
    inputs: Sequence[Tensor], device: str, dtype: torch.dtype, backend: str
) -> Iterator[tuple[str, str, Callable, Form, Form, Sequence[Tensor]]]:
    """What is timed, against what, by which call of both, the other's form, ours and inputs."""
    value, *points = inputs
    plain = [value, *sampling_points(LEVELS, *points)]
    for name, form in baselines(device, dtype).items():
        yield "forward", name, forward_of, form, ours(backend), plain
        yield "backward", name, backward_of, form, ours(backend), plain
    yield "fused", "three steps", forward_of, in_three_steps(backend), fused(backend), inputs


def row_of(timer: Timer, call: Callable, theirs: Form, mine: Form, inputs: Sequence) -> list[str]:
    """Milliseconds of both and their ratio; what a baseline died of, in place of its time."""
    own = timer(call(mine, inputs))
    try:
        other = timer(call(theirs, inputs))
    except Exception as error:  # noqa: BLE001 - a package of others: whatever it raises is told
        first = (str(error).splitlines() or [""])[0]
        return [f"fails: {type(error).__name__}: {first}".rstrip(": "), f"{own:.2f}", ""]
    return [f"{other:.2f}", f"{own:.2f}", f"{other / own:.1f}"]


def measure(device: str, dtype: torch.dtype, batches: Sequence[int], names: Sequence[str]) -> str:
    timer = Timer(device)
    rows, controls = [], []
    for stage in QUERIES:
        for batch in batches:
            inputs = make_inputs(stage, batch, device, dtype)
            for backend in names:
                for what, against, *parts in comparisons(inputs, device, dtype, backend):
                    times = row_of(timer, *parts)
                    controls.append(timer.control())
                    rows.append([stage, batch, backend, what, against, *times])
                    print("  ".join(map(str, rows[-1])), file=sys.stderr, flush=True)
    header = ["stage", "batch", "backend", "pass", "against", "theirs, ms", "ours, ms", "ratio"]
    return table([*header, "control, ms"], marked(rows, controls))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--backend", nargs="+", help="of grouppose.ops; by default all that run")
    parser.add_argument("--threads", type=int, help="of the CPU")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    runnable = backends.cpu_variants()[::-1] if given.device == "cpu" else ("cuda",)
    for name in given.backend or runnable:
        reason = backends.obstacle(torch.device(given.device), name)
        if reason:
            print(f"error: backend {name!r} cannot run: {reason}", file=sys.stderr)
            return 1
    dtype = getattr(torch, given.dtype)
    print(f"{machine(given.device)}, {given.dtype}\n")
    print(measure(given.device, dtype, given.batch, given.backend or runnable))
    return 0


if __name__ == "__main__":
    sys.exit(main())
