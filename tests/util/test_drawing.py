import cv2
import numpy as np
import pytest
import torch

from grouppose.inference.visualize import limb_colours
from grouppose.skeleton import Skeleton
from util.drawing import Sample, drawn_samples, save_prediction_grid

ARM = Skeleton.from_names(["left_elbow", "left_wrist"], limbs=[(0, 1)])


def test_predictions_over_thin_white_truth(tmp_path):
    black = np.zeros((180, 180, 3), dtype=np.uint8)
    found = np.array([[[20.0, 40.0], [160.0, 40.0]], [[20.0, 90.0], [160.0, 90.0]]])
    truth = np.array([[[20.0, 140.0, 2], [160.0, 140.0, 1]], [[20.0, 5.0, 2], [160.0, 5.0, 0]]])
    samples = [Sample(black, found, np.array([0.9, 0.1]), truth)]
    samples.append(Sample(black, found[:0], np.zeros(0)))
    path = tmp_path / "predictions.png"
    save_prediction_grid(path, samples, ARM, columns=2)
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.png"]
    grid = cv2.imread(str(path))[..., ::-1]
    assert grid.shape == (360 + 2 * 7, 2 * 360 + 3 * 7, 3)  # each twice as large
    first, second = grid[7:367, 7:367], grid[7:367, 374:734]
    assert tuple(first[80, 180]) == limb_colours(ARM)[0]  # y 40 -> 80.5
    assert not first[170:192].any()  # the score is below the threshold
    column = first[270:292, 180]
    assert 0 < (column > 100).all(axis=-1).sum() <= 2  # y 140 -> 280.5, a thin line
    assert not first[:20].any()  # one end has no label
    assert not second.any()


def test_prediction_of_a_large_picture_is_not_enlarged(tmp_path):
    picture = np.zeros((500, 400, 3), dtype=np.uint8)
    samples = [Sample(picture, np.zeros((0, 2, 2)), np.zeros(0), np.zeros((0, 2, 2)))]
    save_prediction_grid(tmp_path / "one.png", samples, ARM)
    assert cv2.imread(str(tmp_path / "one.png")).shape == (500 + 2 * 8, 400 + 2 * 8, 3)


@pytest.mark.parametrize(
    ("sides", "drawn", "scale"), [((100, 400), (100, 400), 1), ((1600, 2000), (800, 1000), 0.5)]
)
def test_drawn_people_are_in_pixels_of_the_drawn_picture(sides, drawn, scale):
    class Pictures:
        def original(self, index):
            people = {
                "keypoints": torch.tensor([[[50.0, 20.0]]]),
                "visible": torch.tensor([[True]]),
                "boxes": torch.tensor([[0.0, 0.0, 60.0, 60.0]]),
                "area": torch.tensor([50.0]),
            }
            return torch.zeros(3, *sides, dtype=torch.uint8), people

    found = {
        "scores": torch.tensor([0.9, 0.8]),
        "labels": torch.tensor([0, 1]),  # the other class is not a person
        "keypoints": torch.tensor([[[1.0, 1.0]], [[40.0, 60.0]]]),
        "confidence": torch.tensor([[1.0], [0.0]]),
    }
    (sample,) = drawn_samples(Pictures(), [found])
    assert sample.image.shape == (*drawn, 3)
    assert sample.keypoints.tolist() == [[[40 * scale, 60 * scale]]]
    assert sample.scores.tolist() == pytest.approx([0.8])
    assert sample.truth.tolist() == [[[50 * scale, 20 * scale, 1]]]
    assert sample.visible.tolist() == [[False]]
