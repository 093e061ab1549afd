"""A data set and settings so small that a run takes a second, and its command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import main
from grouppose.skeleton import COCO

ROOT = Path(main.__file__).parent
DEMO = str(ROOT / "config" / "demo.py")
SIZE = 64
OPTIONS = [
    "hidden_dim=32",
    "nheads=2",
    "dim_feedforward=32",
    "enc_layers=1",
    "dec_layers=2",
    "num_queries=5",
    "num_select=5",
    "num_feature_levels=3",
    f"data_aug_scales={SIZE}",
    f"data_aug_max_size={SIZE + 32}",
    f"data_aug_scales2_resize={SIZE}",
    f"data_aug_scales2_crop=48,{SIZE}",
    "batch_size=2",
    "recipe_batch=2",
    "eval_batch_size=2",
    "epochs=2",
    "eval_every=1",
    "lr_schedule=step",
    "lr_drop=1",
    "warmup_steps=0",
    "tensorboard=False",
]


def person(annotation_id: int, image_id: int, rng: np.random.Generator) -> dict:
    """All keypoints of COCO at random places of a picture."""
    points = rng.integers(4, SIZE - 4, (COCO.num_keypoints, 2))
    low, high = points.min(0), points.max(0)
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": [int(v) for x, y in points for v in (x, y, 2)],
        "num_keypoints": COCO.num_keypoints,
        "bbox": [int(v) for v in (*low, *(high - low))],
        "area": float((high - low).prod()),
    }


def write_coco(folder: Path, train: int = 4, val: int = 3) -> Path:
    """A folder in COCO's layout; every picture has one person, the val pictures differ in width."""
    rng = np.random.default_rng(0)
    category = {"id": 1, "name": "person", "keypoints": list(COCO.names), "skeleton": []}
    (folder / "annotations").mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        pictures = folder / "images" / f"{split}2017"
        pictures.mkdir(parents=True)
        images, people = [], []
        for i in range(count):
            image_id = 10 * (count - i)
            width = SIZE + 16 * (i % 2)
            name = f"{image_id:012}.png"
            pixels = rng.integers(0, 256, (SIZE, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / name)
            images.append({"id": image_id, "file_name": name, "height": SIZE, "width": width})
            people.append(person(len(people) + 1, image_id, rng))
        contents = {"images": images, "annotations": people, "categories": [category]}
        path = folder / "annotations" / f"person_keypoints_{split}2017.json"
        path.write_text(json.dumps(contents))
    return folder


def command(data: Path, output: Path | None, *extra: str, options: tuple = ()) -> list[str]:
    line = ["-c", DEMO, "--dataset_file", "coco", "--coco_path", str(data), "--device", "cpu"]
    line += ["--num_workers", "0", *extra, "--options", *OPTIONS, *options]
    return line + (["--output_dir", str(output)] if output else [])


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.txt").read_text().splitlines()]


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)
