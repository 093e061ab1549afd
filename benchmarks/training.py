"""Training steps of Group Pose, against the form in which the published code computes them.

    python benchmarks/training.py [--backbone resnet50] [--size 800 1066] [--device cpu]

A step is forward, matching, losses, backward, clipping and AdamW, on random pictures with drawn
people's labels. Times are taken in turn in this run; peak memory is that of a process of its own
(on CUDA: of what torch allocates).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import grouppose
from benchmarks.forms import PublishedForm
from benchmarks.measure import Timer, arguments, machine, peak_memory, table
from grouppose.inference.find import forward
from util.malloc import keep_memory

FORMS = {  # name: (published form, autocast to bfloat16, use_checkpoint)
    "published": (True, False, False),
    "grouppose": (False, False, False),
    "grouppose bf16": (False, True, False),
    "grouppose use_checkpoint": (False, False, True),
}


def targets(batch: int, people: int = 4, keypoints: int = 17) -> list[dict[str, Tensor]]:
    """Random people."""
    draw = torch.Generator().manual_seed(0)
    return [
        {
            "labels": torch.ones(people, dtype=torch.int64),
            "keypoints": torch.rand(people, keypoints, 2, generator=draw),
            "visible": torch.ones(people, keypoints, dtype=torch.bool),
            "area": torch.full((people,), 0.05),
        }
        for _ in range(batch)
    ]


def build(form: str, given: argparse.Namespace) -> Callable[[], object]:
    """A call that makes one step; weights are random."""
    published, bf16, use_checkpoint = FORMS[form]
    settings = {"backbone": given.backbone, "pretrained_backbone": None}
    torch.manual_seed(0)
    device = torch.device(given.device)
    if published:
        model = PublishedForm(**settings)
    else:
        model = grouppose.build_model("grouppose", use_checkpoint=use_checkpoint, **settings)
        keep_memory(sparing=use_checkpoint)
    model.to(device).train()
    criterion = grouppose.build_criterion("grouppose")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5, fused=not published)
    images = torch.randint(0, 256, (given.batch, 3, *given.size), dtype=torch.uint8)
    padding = torch.zeros(given.batch, *given.size, dtype=torch.bool)
    labels = targets(given.batch)

    def step() -> None:
        precision = torch.bfloat16 if bf16 else None
        losses = criterion(forward(model, images, padding, device, precision), labels)
        optimizer.zero_grad(set_to_none=True)
        criterion.total(losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return step


def main() -> None:
    parser = arguments(__doc__, batch=2, rounds=3)
    parser.add_argument("--form", choices=FORMS, help="time and peak memory of this form alone")
    given = parser.parse_args()
    if given.form:
        step, timer = build(given.form, given), Timer(given.device, least=0)
        print(timer(step, repeats=1), timer.control(), peak_memory(given.device))
        return

    print(f"{machine(given.device)}\n{given.backbone}, {given.batch} x {given.size}\n")
    results: dict[str, list[list[float]]] = {form: [] for form in FORMS}
    for _ in range(given.rounds):  # each in a process of its own: training needs the memory
        for form, found in results.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--form", form]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.append([float(number) for number in out.split()])
    middle = {
        form: [statistics.median(column) for column in zip(*found, strict=True)]
        for form, found in results.items()
    }
    time, _, memory = middle["published"]
    rows = [
        [
            form,
            f"{1e3 * given.batch / t:.3g}",
            f"{time / t:.2f}",
            f"{peak:.0f}",
            f"{100 * peak / memory:.0f} %",
            f"{control:.1f}",
        ]
        for form, (t, control, peak) in middle.items()
    ]
    header = ["form", "pictures/s", "x published", "peak MB", "of published", "control ms"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
