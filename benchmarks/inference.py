"""One picture through Group Pose, against the form in which the published code computes it.

    python benchmarks/inference.py [--backbone resnet50] [--size 800 1066] [--device cpu]

Times are taken in turn in this run, a row's ratio is that of the published form in float32 to it.
Peak memory is that of a process of its own (on CUDA: of what torch allocates).
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

import grouppose
from benchmarks.forms import PublishedForm
from benchmarks.measure import Timer, arguments, machine, peak_memory, table

FORMS = ("published", "plain", "optimized", "optimized bf16", "published bf16")


def build(form: str, backbone: str, device: str) -> Callable[[Tensor], object]:
    """A call that takes pictures; weights are random."""
    settings = {"backbone": backbone, "pretrained_backbone": None}
    torch.manual_seed(0)
    if form.startswith("published"):
        model: nn.Module = PublishedForm(**settings)
    else:
        model = grouppose.build_model("grouppose", **settings)
    model.eval()
    if form.startswith("optimized"):
        model.optimize_for_inference()
    model.to(device)
    bf16 = form.endswith("bf16")

    @torch.inference_mode()
    def call(images: Tensor) -> object:
        context = torch.autocast(device, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with context:
            return model(images)

    return call


def pictures(given: argparse.Namespace) -> Tensor:
    images = torch.randint(0, 256, (given.batch, 3, *given.size), dtype=torch.uint8)
    return images.to(given.device)


def main() -> None:
    parser = arguments(__doc__, batch=1, rounds=5)
    parser.add_argument("--form", choices=FORMS, help="print the peak memory of this form alone")
    given = parser.parse_args()
    if given.form:
        call, images = build(given.form, given.backbone, given.device), pictures(given)
        call(images), call(images)
        print(peak_memory(given.device))
        return

    print(f"{machine(given.device)}\n{given.backbone}, {given.batch} x {given.size}\n")
    images, timer = pictures(given), Timer(given.device, least=0)
    calls = {form: build(form, given.backbone, given.device) for form in FORMS}
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    controls = []
    for _ in range(given.rounds):
        for form, call in calls.items():
            times[form].append(timer(lambda call=call: call(images), repeats=1))
        controls.append(timer.control())
    middle = {form: statistics.median(row) for form, row in times.items()}
    peaks = {}
    for form in FORMS:
        command = [sys.executable, __file__, *sys.argv[1:], "--form", form]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peaks[form] = int(out)
    rows = []
    for form in FORMS:
        ratio, share = middle["published"] / middle[form], peaks[form] / peaks["published"]
        rows.append(
            [form, f"{middle[form]:.0f}", f"{ratio:.2f}", peaks[form], f"{100 * share:.0f} %"]
        )
    print(table(["form", "ms", "x published", "peak MB", "of published"], rows))
    print(f"\ncontrol {min(controls):.1f} to {max(controls):.1f} ms")


if __name__ == "__main__":
    main()
