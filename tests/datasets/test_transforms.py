import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.transforms import (
    Crop,
    Sizes,
    crop,
    eval_transform,
    flip,
    resize,
    within,
)
from grouppose.errors import InputError
from grouppose.pictures import resized_size
from grouppose.skeleton import COCO
from tests.datasets.sets import picture

SIZES = Sizes(scales=(48, 64), longest=100, before_crop=(40, 60), crop=(38, 60))


def tensor_picture(height, width, seed=0):
    return torch.from_numpy(picture(height, width, seed)).permute(2, 0, 1)


def people(keypoints, visible=None, boxes=None, area=None):
    keypoints = torch.tensor(keypoints, dtype=torch.float32)
    count = len(keypoints)
    visible = torch.ones(keypoints.shape[:2], dtype=torch.bool) if visible is None else visible
    boxes = [[0.0, 0.0, 1.0, 1.0]] * count if boxes is None else boxes
    return {
        "keypoints": keypoints,
        "visible": torch.as_tensor(visible),
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "area": torch.full((count,), 1.0) if area is None else torch.tensor(area),
    }


def train_sample(image, people, sizes, flip_order, generator):
    plan = Crop(sizes).draw(*image.shape[-2:], generator)
    return plan.apply(image, people, flip_order)


def random_people(height, width, count=3, seed=0):
    generator = np.random.default_rng(seed)
    points = generator.uniform(0, 1, (count, 17, 2)) * [width - 1, height - 1]
    boxes = np.concatenate([points.min(1), points.max(1)], -1)
    visible = torch.from_numpy(generator.random((count, 17)) < 0.7)
    return people(points, visible, boxes.tolist(), generator.uniform(9, 99, count).tolist())


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-6, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("size", "shorter", "longest", "expected"),
    [
        ((425, 640), 800, 1333, (800, 1204)),  # 800 * 640 / 425 = 1204.7 rounds down
        ((640, 425), 800, 1333, (1204, 800)),
        ((333, 500), 480, 1333, (480, 720)),  # 480 * 500 / 333 = 720.7
        ((333, 500), 800, 640, (426, 639)),  # 640 * 333 / 500 = 426.2; 426 * 500 / 333 = 639.6
        ((429, 640), 800, 640, (429, 640)),  # the limit is met exactly: nothing changes
        ((300, 500), 800, 1333, (800, 1333)),  # the limit is just met: 1333.3 rounds down
        ((299, 500), 800, 1333, (797, 1332)),  # 1333 * 299 / 500 = 797.1
        ((480, 640), 400, None, (400, 533)),
        ((100, 100), 800, 1333, (800, 800)),
        ((1, 9000), 800, 1333, (1, 9000)),  # a line one pixel thin cannot get thinner
    ],
)
def test_sizes_by_hand(size, shorter, longest, expected):
    assert resized_size(*size, shorter, longest) == expected


@given(st.integers(16, 5000), st.integers(16, 5000), st.integers(16, 900), st.integers(900, 1400))
def test_sizes_keep_the_aspect_and_the_limit(height, width, shorter, longest):
    new_height, new_width = resized_size(height, width, shorter, longest)
    assert resized_size(width, height, shorter, longest) == (new_width, new_height)
    low, high = min(new_height, new_width), max(new_height, new_width)
    assert low <= shorter
    assert high == low * max(height, width) // min(height, width)
    ratio = max(height, width) / min(height, width)
    assert high <= longest + ratio  # rounding the short side may carry it over by less than that


@pytest.mark.parametrize("size", [(80, 120), (31, 47), (64, 80), (20, 300), (200, 31)])
def test_resizing_is_pils_within_one_level(size):
    image = tensor_picture(64, 96)
    ours, _ = resize(image, people([[[0, 0]]]), size)
    pil = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], Image.BILINEAR)
    difference = ours.permute(1, 2, 0).int() - torch.from_numpy(np.array(pil)).int()
    assert difference.abs().max() <= 1


def test_resizing_moves_people_by_hand():
    image, result = resize(
        tensor_picture(10, 20),
        people([[[4.0, 5.0]]], boxes=[[2.0, 2.0, 10.0, 8.0]], area=[30.0]),
        (30, 40),
    )
    assert image.shape == (3, 30, 40)
    expected = people([[[8.0, 15.0]]], boxes=[[4.0, 6.0, 20.0, 24.0]], area=[180.0])
    assert_same(result, expected)


def test_flip_by_hand():
    image = tensor_picture(4, 10)
    found = people(
        [[[0.0, 1.0], [9.0, 2.0], [3.0, 3.0]]],
        visible=[[True, False, True]],
        boxes=[[1.0, 0.0, 4.0, 2.0]],
    )
    mirrored, result = flip(image, found, flip_order=(1, 0, 2))
    assert torch.equal(mirrored[:, :, 0], image[:, :, 9])
    expected = people(
        [[[0.0, 2.0], [9.0, 1.0], [6.0, 3.0]]],
        visible=[[False, True, True]],
        boxes=[[6.0, 0.0, 9.0, 2.0]],
    )
    assert_same(result, expected)


def test_flipping_twice_changes_nothing():
    image, found = tensor_picture(20, 30), random_people(20, 30)
    back, result = flip(*flip(image, found, COCO.flip_order), COCO.flip_order)
    assert torch.equal(back, image)
    assert_same(result, found)


def test_a_marked_pixel_follows_its_keypoint_through_a_flip():
    image = torch.zeros(3, 8, 12, dtype=torch.uint8)
    image[:, 5, 3] = 255
    mirrored, result = flip(image, people([[[3.0, 5.0]]]), (0,))
    x, y = result["keypoints"][0, 0].int().tolist()
    assert mirrored[0, y, x] == 255


def test_crop_by_hand():
    image = tensor_picture(50, 60)
    found = people(
        [
            [[12.0, 25.0], [5.0, 22.0], [59.0, 49.0]],  # inside, left of it, right and below
            [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]],  # the box ends where the crop begins
        ],
        boxes=[[5.0, 10.0, 25.0, 45.0], [0.0, 0.0, 10.0, 30.0]],
        area=[1.0, 1.0],
    )
    cut, result = crop(image, found, top=20, left=10, height=20, width=30)
    assert torch.equal(cut, image[:, 20:40, 10:40])
    expected = people(  # box 10..25 x 20..40 of the picture: 15 x 20 pixels
        [[[2.0, 5.0], [0.0, 2.0], [30.0, 20.0]]], boxes=[[0.0, 0.0, 15.0, 20.0]], area=[300.0]
    )
    assert_same(result, expected)


def test_boxes_are_cut_to_the_picture_and_area_is_kept():
    found = people(
        [[[5.0, 5.0]], [[9.0, 9.0]], [[1.0, 1.0]]],
        boxes=[[-3.0, 2.0, 30.0, 8.0], [20.0, 0.0, 25.0, 5.0], [1.0, 1.0, 1.0, 5.0]],
        area=[7.0, 8.0, 9.0],
    )
    expected = people([[[5.0, 5.0]]], boxes=[[0.0, 2.0, 20.0, 8.0]], area=[7.0])
    assert_same(within(found, 10, 20), expected)


def test_arguments_are_not_changed():
    image, found = tensor_picture(80, 90), random_people(80, 90)
    copies = image.clone(), {name: value.clone() for name, value in found.items()}
    for seed in range(8):
        train_sample(image, found, SIZES, COCO.flip_order, np.random.default_rng(seed))
    assert torch.equal(image, copies[0])
    assert all(torch.equal(found[name], copies[1][name]) for name in found)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(30, 150), st.integers(30, 150))
def test_training_pictures_keep_the_rules(seed, height, width):
    found = random_people(height, width)
    image, result = train_sample(
        tensor_picture(height, width), found, SIZES, COCO.flip_order, np.random.default_rng(seed)
    )
    low, high = sorted(image.shape[-2:])
    assert low in SIZES.scales or abs(high - SIZES.longest) <= max(height, width) / 30
    height, width = image.shape[-2:]
    assert ((result["area"] > 0) & (result["area"] <= 1.001 * height * width)).all()


def test_flip_and_crop_come_every_second_time():
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, :, :32] = 255  # bright on the left
    found = random_people(64, 64)
    flipped = cropped = 0
    for seed in range(400):
        result, after = train_sample(
            image, found, SIZES, COCO.flip_order, np.random.default_rng(seed)
        )
        flipped += bool(result[0, 0, 0] < 128 <= result[0, 0, -1])
        share = after["area"].sum() / (result.shape[1] * result.shape[2])
        cropped += not torch.isclose(share, found["area"].sum() / 64**2, rtol=1e-4)
    assert 0.5 * 400 - 50 < cropped < 0.5 * 400 + 50
    assert 0.5 * 400 - 60 < flipped < 0.5 * 400 + 60


def test_evaluation_takes_the_largest_scale_without_randomness():
    image, _ = eval_transform(tensor_picture(60, 80), random_people(60, 80), SIZES)
    assert image.shape == (3, 64, 85)
    image, _ = eval_transform(tensor_picture(40, 80), random_people(40, 80), SIZES)
    assert image.shape == (3, 50, 100)


def test_factor_multiplies_every_size():
    sizes = Sizes.from_settings([480, 800], 1333, [400, 600], [384, 600], 0.5)
    assert sizes == Sizes((240, 400), 666, (200, 300), (192, 300))  # 666.5 rounds to even
    assert Sizes.from_settings([480], 1333, [400], [384, 600]).longest == 1333


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([480], 1333, [400], [600, 384]), r"data_aug_scales2_crop is \[600, 384\]"),
        (([], 1333, [400], [384, 600]), "data_aug_scales, .* expected sizes in pixels"),
        (([0], 1333, [400], [384, 600]), "1 pixel or more"),
    ],
)
def test_impossible_sizes_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Sizes.from_settings(*arguments)


def test_the_matrix_of_a_crop_goes_where_its_pixels_go():
    height, width = 90, 140
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([x, y, x]).to(torch.uint8)
    cropped = mirrored = 0
    for seed in range(40):
        plan = Crop(SIZES).draw(height, width, np.random.default_rng(seed))
        result, _ = plan.apply(image, random_people(height, width), COCO.flip_order)
        assert tuple(result.shape[-2:]) == plan.size
        result = result.flip(-1) if plan.mirrored else result
        rows, columns = np.mgrid[2 : plan.size[0] - 2, 2 : plan.size[1] - 2]
        found = result[:2, 2:-2, 2:-2].numpy()  # the pixel that each comes from
        there = np.einsum("ij,jhw->ihw", plan.matrix, np.stack([*found, np.ones(found.shape[1:])]))
        np.testing.assert_allclose(there, np.stack([columns, rows]), atol=1)  # bytes round twice
        cropped += plan.box is not None
        mirrored += plan.mirrored
    assert 10 < cropped < 30 and 10 < mirrored < 30
