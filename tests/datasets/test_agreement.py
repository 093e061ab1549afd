"""Label files that are wrong somewhere: training, evaluation and `datasets.check` agree on them."""

import copy
import json
import random

import pytest
from PIL import Image

from datasets import check
from datasets.build import build_sets
from datasets.evaluate import keypoint_stats
from grouppose.errors import UserError
from tests.datasets.sets import contents, person, picture, settings

VALUES = [
    *(None, True, False, 0, 1, -1, 2, 99, 50.5, 50.0, 1e300, 10**400, float("nan"), float("inf")),
    *("", "0", "1", "50", "false", "word", r"C:\x\001.png", "/nowhere/001.png"),
    *([], [1], [0] * 9, [0] * 7, [None] * 9, [1, 2, 2] * 3, ["a"] * 9, {}, {"a": 1}, [[1, 2]]),
    *(["left_x", "right_x", "y"], ["x"] * 3, [1, 2, 3], [float("nan")] * 3, [10, 10, -5, 5]),
]


def mutated(good, rng):
    """A value of an entry changed or left out, in one entry or in all of them."""
    data = copy.deepcopy(good)
    for _ in range(rng.choice([1, 1, 2])):
        part = rng.choice(list(data))
        entries = data[part] if rng.random() < 0.5 else [rng.choice(data[part])]
        key, value = rng.choice(list(good[part][0])), rng.choice(VALUES)
        for entry in entries:
            if value == "":
                entry.pop(key, None)
            else:
                entry[key] = copy.deepcopy(value)
    return data


@pytest.mark.parametrize("part", range(4))
def test_check_finds_whatever_a_run_refuses(tmp_path, monkeypatch, capsys, part):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        Image.fromarray(picture(50, 60, number)).save(tmp_path / f"images/{number:03d}.png")
    good = contents({1: (50, 60), 2: (50, 60)}, [person(1, 1, 3), person(2, 2, 3)], 3)
    category = {"keypoints": ["left_a", "right_a", "b"], "sigmas": [0.1] * 3}
    good["categories"][0] |= category
    file = tmp_path / "labels.json"
    unset = {"dataset_file": "custom", "num_body_points": 0, "num_classes": 0}
    cfg = settings(tmp_path, **unset, train_annotations=str(file), val_annotations=str(file))
    result = {"image_id": 1, "category_id": 1, "keypoints": [1, 2, 1] * 3, "score": 0.5}
    refused = 0
    for seed in range(40 * part, 40 * part + 40):
        file.write_text(json.dumps(mutated(good, random.Random(seed))))
        try:
            val = build_sets(("train", "val"), cfg)[0]["val"]
            skeleton = val.poses.file_skeleton
            keypoint_stats(val.annotation_file, [result], skeleton=skeleton, by_category=True)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
            given = ["--annotations", str(file), "--images", str(tmp_path / "images")]
            assert check.main(given) == 1, f"seed {seed}: {error}"
    capsys.readouterr()
    assert 10 < refused < 40
