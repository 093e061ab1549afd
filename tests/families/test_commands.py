"""Every family through main.py: trained, gone on with, evaluated, rescored, predicted with."""

import json

import pytest
import torch

import main
from tests.families.contract import FAMILIES, SIZE, config, tiny
from tests.util.tiny import load, log_of, write_coco

pytestmark = [pytest.mark.parametrize("name", FAMILIES), pytest.mark.usefixtures("one_thread")]
SHARED = {
    "data_aug_scales": SIZE,
    "data_aug_max_size": SIZE + 32,
    "data_aug_scales2_resize": SIZE,
    "data_aug_scales2_crop": f"48,{SIZE}",
    "affine_size": SIZE,
    "batch_size": 2,
    "recipe_batch": 2,
    "epochs": 2,
    "lr_drop": "[]",
    "warmup_steps": 0,
    "tensorboard": False,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("data") / "coco")


def run(name, data, output, *flags, **options):
    settings = {**SHARED, **tiny(name).SETTINGS, **options}
    line = ["-c", str(config(name)), "--dataset_file", "coco", "--coco_path", str(data)]
    line += ["--device", "cpu", "--num_workers", "0", "--output_dir", str(output), *flags]
    line += ["--options", *(f"{key}={value}".replace(" ", "") for key, value in settings.items())]
    assert main.main(line) == 0


def test_a_run_goes_on_to_the_same_weights_and_its_file_serves_every_command(
    name, data, tmp_path, capsys
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(name, data, whole)
    run(name, data, parts, epochs=1)
    run(name, data, parts, "--resume", str(parts / "checkpoint.pth"))
    ends = [load(folder / "checkpoint.pth")["model"] for folder in (whole, parts)]
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key
    losses = [[line["train_loss"] for line in log_of(folder)] for folder in (whole, parts)]
    assert losses[0] == losses[1]
    assert all(0 < loss < float("inf") for loss in losses[0])

    file = str(whole / "checkpoint.pth")
    run(name, data, tmp_path / "eval", "--resume", file, "--eval", flip_test=True)
    results = json.loads((tmp_path / "eval" / "results.json").read_text())
    assert {result["image_id"] for result in results} <= {10, 20, 30}
    assert all(len(result["keypoints"]) == 51 for result in results)

    run(name, data, tmp_path / "rescore", "--resume", file, "--train_rescore")
    rescore = str(tmp_path / "rescore" / "rescore.pth")
    run(name, data, tmp_path / "rescored", "--resume", file, "--eval", rescore=rescore)
    again = json.loads((tmp_path / "rescored" / "results.json").read_text())
    assert [result["score"] for result in again] != [result["score"] for result in results]

    pictures = data / "images" / "val2017"
    run(name, data, tmp_path / "predicted", "--resume", file, "--predict", str(pictures))
    content = json.loads((tmp_path / "predicted" / "predictions.json").read_text())
    assert len(content["images"]) == 3
    assert capsys.readouterr().err.count("Traceback") == 0
