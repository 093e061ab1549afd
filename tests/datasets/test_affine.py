import cv2
import numpy as np
import pytest
import torch

from datasets.affine import Affine, AffinePlan
from datasets.transforms import crop_matrix
from grouppose.errors import InputError
from tests.datasets.sets import picture

RECIPE = Affine(64, (0.75, 1.5), 30.0, 0.2)


def people(points, visible=None):
    points = torch.tensor(points, dtype=torch.float32)
    low, high = points.amin(1), points.amax(1)
    seen = torch.ones(points.shape[:2], dtype=torch.bool)
    return {
        "keypoints": points,
        "visible": seen if visible is None else torch.tensor(visible),
        "boxes": torch.cat([low, high], -1),
        "area": (high - low).prod(-1),
        "labels": torch.arange(1, len(points) + 1),
        "original_area": (high - low).prod(-1),
    }


def tensor_picture(height, width):
    return torch.from_numpy(picture(height, width)).permute(2, 0, 1)


def test_the_square_by_hand():
    # the shorter side twice: 80 pixels around (30, 20) become 40, so a pixel becomes half of one
    matrix, factor = crop_matrix((40, 60), 2.0, 0.0, (0, 0), 40)
    np.testing.assert_allclose(matrix, [[0.5, 0, 5], [0, 0.5, 10]], atol=1e-12)
    assert factor == 0.25
    matrix, _ = crop_matrix((40, 60), 2.0, 0.0, (4, -6), 40)  # the square's centre moves
    np.testing.assert_allclose(matrix, [[0.5, 0, 3], [0, 0.5, 13]], atol=1e-12)
    matrix, _ = crop_matrix((40, 60), 1.0, 90.0, (0, 0), 40)  # right of the centre goes up
    np.testing.assert_allclose(matrix @ [40, 20, 1], [20, 10], atol=1e-12)
    matrix, _ = crop_matrix((40, 60), 0.7, 25.0, (3, 2), 40)
    np.testing.assert_allclose(matrix @ [33, 22, 1], [20, 20], atol=1e-12)
    assert matrix.dtype == np.float64


def test_people_move_with_the_pixels():
    matrix, factor = crop_matrix((40, 60), 1.25, 20.0, (3, -2), 64)
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    spots = [(25, 12), (35, 25)]
    for x, y in spots:
        image[:, y, x] = 255
    found = people([spots])
    for mirrored in (False, True):
        plan = AffinePlan(matrix, factor, 64, mirrored)
        result, moved = plan.apply(image, found, (1, 0))
        brightness = result[0].double()
        points = moved["keypoints"][0][[1, 0] if mirrored else [0, 1]]
        for x, y in points.tolist():
            column, row = round(x), round(y)
            window = brightness[row - 3 : row + 4, column - 3 : column + 4]
            dy, dx = torch.meshgrid(torch.arange(-3.0, 4), torch.arange(-3.0, 4), indexing="ij")
            centre = [(window * d).sum() / window.sum() for d in (dx, dy)]
            assert column + centre[0] == pytest.approx(x, abs=0.1)
            assert row + centre[1] == pytest.approx(y, abs=0.1)


def test_a_mirrored_plan_is_the_mirrored_picture():
    matrix, factor = crop_matrix((40, 60), 1.0, 10.0, (0, 0), 48)
    image, found = tensor_picture(40, 60), people([[[20.0, 10.0], [40.0, 30.0]]])
    plain, before = AffinePlan(matrix, factor, 48, False).apply(image, found, (1, 0))
    other, after = AffinePlan(matrix, factor, 48, True).apply(image, found, (1, 0))
    assert torch.equal(other, plain.flip(-1))
    x, y = before["keypoints"][0, [1, 0]].T
    torch.testing.assert_close(after["keypoints"][0], torch.stack([47 - x, y], -1))
    torch.testing.assert_close(after["boxes"][:, 0], 48 - before["boxes"][:, 2])


def test_pixels_are_opencv_s_bilinear_ones_on_black():
    matrix, factor = crop_matrix((40, 60), 1.5, 10.0, (0, 0), 48)
    image, _ = AffinePlan(matrix, factor, 48, False).apply(
        tensor_picture(40, 60), people([[[20.0, 10.0], [40.0, 30.0]]]), (0, 1)
    )
    expected = cv2.warpAffine(picture(40, 60), matrix, (48, 48), flags=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    assert not image[:, 0, 0].any()


def test_boxes_keep_their_sides_times_the_scale_and_areas_its_square():
    matrix, factor = crop_matrix((40, 60), 2.0, 30.0, (0, 0), 40)
    found = people([[[20.0, 10.0], [40.0, 30.0]]])
    _, moved = AffinePlan(matrix, factor, 40, False).apply(tensor_picture(40, 60), found, (0, 1))
    x0, y0, x1, y1 = moved["boxes"][0].tolist()
    assert (x1 - x0, y1 - y0) == pytest.approx((10, 10), abs=1e-4)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((20, 20), abs=1e-4)  # the centre stays
    assert moved["area"].item() == pytest.approx(100) and moved["original_area"].item() == 400


def test_whom_nothing_is_seen_of_is_left_out():
    matrix, factor = crop_matrix((40, 60), 1.0, 0.0, (0, 0), 40)  # columns 10 to 49 as they are
    found = people(
        [
            [[20.0, 10.0], [30.0, 20.0]],  # inside
            [[0.0, 10.0], [5.0, 20.0]],  # left of it
            [[0.0, 10.0], [58.0, 20.0]],  # around it
            [[52.0, 10.0], [59.0, 20.0]],  # right of it
            [[45.0, 10.0], [59.0, 20.0]],  # the box reaches into it
        ]
    )
    _, moved = AffinePlan(matrix, factor, 40, False).apply(tensor_picture(40, 60), found, (0, 1))
    assert moved["labels"].tolist() == [1, 3, 5]
    assert moved["keypoints"][1].tolist() == [[-10.0, 10.0], [48.0, 20.0]]  # not clamped
    nobody = {name: value[:0] for name, value in found.items()}
    _, moved = AffinePlan(matrix, factor, 40, False).apply(tensor_picture(40, 60), nobody, (0, 1))
    assert moved["keypoints"].shape == (0, 2, 2)


def test_plans_stay_in_their_ranges():
    plans = [RECIPE.draw(100, 200, np.random.default_rng(seed)) for seed in range(500)]
    scales = np.array([64 / (100 * plan.factor**0.5) for plan in plans])
    degrees = np.array([np.degrees(np.arctan2(p.matrix[0, 1], p.matrix[0, 0])) for p in plans])
    centres = np.stack(
        [np.linalg.solve(p.matrix[:, :2], np.array([32.0, 32]) - p.matrix[:, 2]) for p in plans]
    )
    shifts = centres - [100, 50]
    assert 0.75 <= scales.min() < 0.77 and 1.48 < scales.max() <= 1.5
    assert -30 <= degrees.min() < -29 and 29 < degrees.max() <= 30
    np.testing.assert_allclose(shifts, shifts.round(), atol=1e-9)  # whole pixels
    most = np.floor(0.2 * scales * 100)[:, None]
    assert (shifts >= -most - 1e-6).all() and (shifts < most - 0.5).all()
    assert 0.4 < np.mean([plan.mirrored for plan in plans]) < 0.6
    still = Affine(64, (1.0, 1.0), 0.0, 0.0).draw(64, 64, np.random.default_rng(0))
    np.testing.assert_allclose(still.matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": 0}, "affine_size is 0, expected pixels"),
        ({"scale": (1.5, 0.75)}, r"affine_scale is \[1.5, 0.75\], expected the least"),
        ({"scale": (0.0, 1.0)}, "affine_scale is"),
        ({"scale": (1.0,)}, "affine_scale is"),
        ({"rotation": -1.0}, "affine_rotation is -1.0"),
        ({"translation": 2.0}, "affine_translation 2.0"),
    ],
)
def test_ranges_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Affine(**{**vars(RECIPE), **changes})
