"""The small model that ships with the package."""

import cv2
import numpy as np
import torch

from datasets.synthetic import draw_people
from grouppose import Predictor, demo
from grouppose.inference.cli import main
from grouppose.keypoints import object_keypoint_similarity


def test_it_is_small_and_finds_drawn_people_it_has_never_seen():
    assert demo.WEIGHTS.stat().st_size < 10e6
    predictor, found, labelled = Predictor(demo.WEIGHTS, device="cpu"), 0, 0
    assert predictor.model.settings["eval_size"] == [192, 192]  # it was trained at that size
    sigmas = torch.tensor(predictor.skeleton.sigmas)
    for index in range(6):
        image, people = draw_people(seed=987, index=index)
        (result,) = predictor(image)
        labels = torch.tensor([p["keypoints"] for p in people]).view(-1, 17, 3)
        alike = object_keypoint_similarity(
            torch.from_numpy(result.keypoints.xy).double()[:, None],
            labels[..., :2].double(),
            labels[..., 2] > 0,
            torch.tensor([p["area"] for p in people], dtype=torch.float64),
            sigmas.double(),
        )
        labelled += len(people)
        found += int((alike.amax(0) > 0.5).sum()) if len(result) else 0
    assert labelled >= 10 and found >= 0.7 * labelled


def test_predict_without_weights_uses_it_and_says_so(tmp_path, capsys):
    assert main(["predict", str(demo.PICTURE), "--out", str(tmp_path), "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"{demo.NOTE}\n" and "--weights FILE" in demo.NOTE
    people = int(printed.out.split()[0])
    assert people >= 3
    drawn = cv2.imread(str(tmp_path / "people.png"))
    assert np.abs(drawn.astype(int) - cv2.imread(str(demo.PICTURE))).max() > 100
