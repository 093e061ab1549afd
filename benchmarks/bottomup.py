"""Bottom-up HRNet: targets, decoding and whole pictures against the published form, in turn.

    python -m benchmarks.bottomup [--size 512 640] [--backbone hrnet_w32]

Both compute the same; see `bottomup_forms`. One core unless OMP_NUM_THREADS says otherwise.
"""

from __future__ import annotations

import argparse
import copy

import numpy as np
import torch

import grouppose
from benchmarks import bottomup_forms
from benchmarks.measure import Timer, machine, marked, peak_memory, table


def made_people(size: tuple[int, int], count: int) -> dict[str, torch.Tensor]:
    """People of random poses in an input of that size."""
    generator = np.random.default_rng(0)
    centres = generator.uniform(0.25, 0.75, (count, 1, 2)) * size[::-1]
    extent = generator.uniform(0.06, 0.22, (count, 1, 1)) * min(size)
    keypoints = centres + extent * generator.uniform(-1, 1, (count, 17, 2))
    boxes = np.concatenate([centres - extent, centres + extent], -1)[:, 0]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    people = {"keypoints": keypoints, "boxes": boxes, "area": area}
    people = {name: torch.from_numpy(value).float() for name, value in people.items()}
    return {**people, "visible": torch.from_numpy(generator.random((count, 17)) > 0.25)}


def made_maps(size: tuple[int, int], count: int) -> dict[str, torch.Tensor]:
    """Outputs of a network that has learned to find such people (B = 1)."""
    people = made_people(size, count)
    encode = grouppose.build_targets("hrnet_bottomup", centre_sigma=2.0)
    target = encode(people, size, None)
    noise = torch.rand(target["heatmaps"].shape, generator=torch.Generator().manual_seed(0))
    heatmaps = torch.maximum(0.8 * target["heatmaps"], 0.01 * noise)
    return {"heatmaps": heatmaps[None], "offsets": target["offsets"][None]}


def rows(timer: Timer, size: tuple[int, int], backbone: str, rounds: int) -> list[list]:
    """Name, milliseconds of the published form and of ours, ratio; a control behind."""
    encode = grouppose.build_targets("hrnet_bottomup")
    square = (size[0], size[0])
    people, nothing = made_people(square, 8), torch.zeros(square, dtype=torch.bool)
    decode = grouppose.build_decode("hrnet_bottomup")
    outputs = made_maps(size, 10)
    view = {"scale": 1, **{name: maps[0] for name, maps in decode.view(outputs).items()}}
    model = grouppose.build_model("hrnet_bottomup", backbone=backbone).eval()
    published = bottomup_forms.PublishedForm.of(copy.deepcopy(model))
    images = (255 * torch.rand(1, 3, *size)).to(torch.uint8)

    def whole(network, people_of) -> None:
        for flipped in (images, images.flip(-1)):
            network(flipped)
        people_of()

    def old_people() -> object:
        return bottomup_forms.decode(view, size)

    def new_people() -> object:
        return decode([view], size)

    pairs = {
        f"targets, 8 people, {square[0]} x {square[1]}": (
            lambda: bottomup_forms.targets(people, square, nothing),
            lambda: encode(people, square, nothing),
        ),
        f"maps to people, 10 people, {size[0]} x {size[1]}": (old_people, new_people),
        f"picture with its mirrored one, {backbone}": (
            lambda: whole(published, old_people),
            lambda: whole(model, new_people),
        ),
    }
    found = []
    for name, (old, new) in pairs.items():
        for _ in range(rounds):
            times = [timer(call) for call in (old, new)]
            found.append([name, *(f"{t:.1f}" for t in times), f"{times[0] / times[1]:.1f}"])
            found[-1].append(timer.control())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", nargs=2, type=int, default=[512, 640], metavar=("H", "W"))
    parser.add_argument("--backbone", default="hrnet_w32")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    with torch.inference_mode():
        found = rows(Timer("cpu"), tuple(args.size), args.backbone, args.rounds)
    print(machine("cpu"))
    header = ("", "published form, ms", "ours, ms", "ratio", "control, ms")
    print(table(header, marked([row[:-1] for row in found], [row[-1] for row in found])))
    print(f"peak memory {peak_memory('cpu')} MB")


if __name__ == "__main__":
    main()
