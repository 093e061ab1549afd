"""How time and memory of inference grow with the picture, the people queries and the batch.

    python benchmarks/scaling.py [--backbone resnet50] [--device cpu]

Each row has a process of its own. An exponent of 1 is growth in proportion; it is fitted to the
logarithms of all rows of its table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import grouppose
from benchmarks.measure import Timer, machine, peak_memory, table

SIZES = ((400, 533), (600, 800), (800, 1066), (1200, 1600))
QUERIES = (50, 100, 300, 900)
BATCHES = (1, 2, 4)
USUAL = ((800, 1066), 100, 1)


def run_one(given: argparse.Namespace) -> None:
    """Prints milliseconds and peak memory of one setting."""
    torch.manual_seed(0)
    model = grouppose.build_model(
        "grouppose",
        backbone=given.backbone,
        pretrained_backbone=None,
        num_queries=given.queries,
    )
    model.optimize_for_inference().to(given.device)
    shape = (given.batch, 3, given.height, given.width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=given.device)
    with torch.inference_mode():
        print(Timer(given.device, least=0)(lambda: model(images)), peak_memory(given.device))


def measured(given: argparse.Namespace, size: tuple[int, int], queries: int, batch: int) -> list:
    command = [sys.executable, __file__, "--backbone", given.backbone, "--device", given.device]
    numbers = {"height": size[0], "width": size[1], "queries": queries, "batch": batch}
    command += [f"--{name}={number}" for name, number in numbers.items()]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(number) for number in out.split()]


def print_growth(name: str, amounts: list[float], labels: list[str], found: list[list]) -> None:
    rows = [
        [label, f"{t:.0f}", f"{peak:.0f}"] for label, (t, peak) in zip(labels, found, strict=True)
    ]
    exponents = np.polyfit(np.log(amounts), np.log(found), 1)[0]
    rows.append(["exponent", *(f"{exponent:.2f}" for exponent in exponents)])
    print(table([name, "ms", "peak MB"], rows), end="\n\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--height", type=int, help="measure this one setting")
    for name in ("width", "queries", "batch"):
        parser.add_argument(f"--{name}", type=int)
    given = parser.parse_args()
    if given.height:
        run_one(given)
        return
    size, queries, batch = USUAL
    print(f"{machine(given.device)}\n{given.backbone}, {size}, {queries} queries, batch {batch}\n")
    found = [measured(given, other, queries, batch) for other in SIZES]
    print_growth("picture", [h * w for h, w in SIZES], [f"{h} x {w}" for h, w in SIZES], found)
    found = [measured(given, size, other, batch) for other in QUERIES]
    print_growth("queries", list(QUERIES), [str(n) for n in QUERIES], found)
    found = [measured(given, size, queries, other) for other in BATCHES]
    print_growth("batch", list(BATCHES), [str(n) for n in BATCHES], found)


if __name__ == "__main__":
    main()
