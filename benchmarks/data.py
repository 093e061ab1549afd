"""Reading pictures and scoring results, against the usual ways.

    python benchmarks/data.py

Reading: an evaluation sample of 800 pixels on one thread, against PIL's resize and normalisation in
float on the CPU; also of pictures in a zip, stored and deflated. Scoring: 5,000 pictures with 10
detections each.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measure import Timer, machine, table
from datasets.build import build_dataset
from datasets.evaluate import keypoint_stats
from datasets.keypoints import KeypointDataset
from datasets.synthetic import write_dataset
from util.config import load_config

PICTURES, SIZE, SHORTER = 32, 640, 800
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def usual_way(path: Path) -> Tensor:
    with Image.open(path) as picture:
        resized = functional.resize(picture.convert("RGB"), SHORTER)
    return functional.normalize(functional.to_tensor(resized), MEAN, STD)


def reading(folder: Path) -> list[list[str]]:
    write_dataset(folder, train=1, val=PICTURES, size=SIZE, workers=1)
    dataset = samples(folder)
    stored = samples(packed(folder, "stored", zipfile.ZIP_STORED))
    deflated = samples(packed(folder, "deflated", zipfile.ZIP_DEFLATED))
    files = sorted((folder / "images/val2017").iterdir())
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    timer = Timer("cpu", least=3)
    times = {"PIL, float": timer(lambda: [usual_way(path) for path in files])}
    for name, of in (("folder", dataset), ("stored zip", stored), ("deflated zip", deflated)):
        times[f"grouppose, uint8, {name}"] = timer(lambda of=of: [of[i] for i in range(PICTURES)])
    usual = times["PIL, float"]
    return [[name, f"{1e3 * PICTURES / t:.0f}", f"{usual / t:.2f}"] for name, t in times.items()]


def samples(folder: Path) -> KeypointDataset:
    config = Path(__file__).parents[1] / "config/grouppose.py"
    return build_dataset("val", load_config(str(config), [], {"coco_path": str(folder)}))


def packed(folder: Path, name: str, method: int) -> Path:
    """The same set with its evaluation pictures in a zip."""
    other = folder.with_name(name)
    shutil.copytree(folder / "annotations", other / "annotations")
    (other / "images").mkdir()
    with zipfile.ZipFile(other / "images/val2017.zip", "w", method) as file:
        for path in (folder / "images/val2017").iterdir():
            file.write(path, path.name)
    return other


def scoring(folder: Path, pictures: int = 5000, detections: int = 10) -> float:
    """Seconds to score random poses against random people, 3 a picture."""
    rng = np.random.default_rng(0)
    keypoints = np.full((pictures, detections, 17, 3), 2.0)
    keypoints[..., :2] = rng.uniform(0, 640, (pictures, detections, 1, 2))
    keypoints[..., :2] += rng.normal(0, 40, (pictures, detections, 17, 2))
    scores = rng.random((pictures, detections))
    images, people, results = [], [], []
    for i in range(pictures):
        images.append({"id": i + 1, "width": 640, "height": 640, "file_name": f"{i}.jpg"})
        for d in range(detections):
            person = {
                "image_id": i + 1,
                "category_id": 1,
                "keypoints": np.round(keypoints[i, d].ravel(), 2).tolist(),
            }
            results.append({**person, "score": float(scores[i, d])})
            if d < 3:
                extra = {"id": len(people) + 1, "num_keypoints": 17, "iscrowd": 0}
                people.append({**person, **extra, "area": 9000.0, "bbox": [0, 0, 100, 100]})
    path = folder / "annotations.json"
    category = {"id": 1, "name": "person", "keypoints": [f"k{k}" for k in range(17)]}
    path.write_text(json.dumps({"images": images, "annotations": people, "categories": [category]}))
    began = time.perf_counter()
    keypoint_stats(path, results)
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        print(f"{machine('cpu')}\n")
        rows = reading(Path(name) / "people")
        print(table(["evaluation samples", "pictures/s on one thread", "ratio"], rows))
        print(f"\nscoring 5,000 pictures x 10 detections: {scoring(Path(name)):.1f} s")


if __name__ == "__main__":
    main()
