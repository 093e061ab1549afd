"""Matching of all heads of a training step: costs, the copy to the host, the assignments.

python benchmarks/matching.py [--device cpu] [--pictures 16] [--people 30] [--queries 100]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import Timer, machine, table
from benchmarks.training import targets
from grouppose.models.grouppose.matcher import MatchingCost, match
from grouppose.skeleton import COCO

HEADS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    for name, number in (("pictures", 16), ("people", 30), ("queries", 100)):
        parser.add_argument(f"--{name}", type=int, default=number)
    given = parser.parse_args()
    shape = (given.pictures, given.queries)
    heads = [
        {
            "pred_logits": torch.randn(*shape, 2, device=given.device),
            "pred_keypoints": torch.rand(*shape, 17, 2, device=given.device),
        }
        for _ in range(HEADS)
    ]
    labels = [
        {name: value.to(given.device) for name, value in target.items()}
        for target in targets(given.pictures, given.people)
    ]
    cost = MatchingCost(torch.tensor(COCO.sigmas, device=given.device))
    timer = Timer(given.device)
    whole = timer(lambda: match(heads, labels, cost))
    costs = torch.rand(HEADS * given.pictures, given.queries, given.people).numpy()
    assigning = timer(lambda: [linear_sum_assignment(one) for one in costs])
    print(f"{machine(given.device)}\n{HEADS} heads, {given}\n")
    rows = [["all", f"{whole:.1f}"], ["of which assignments, on the CPU", f"{assigning:.1f}"]]
    print(table(["matching of a step", "ms"], rows))


if __name__ == "__main__":
    main()
