import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from datasets.annotations import flat_annotations
from datasets.ignored import Ignored, ignored_regions, nothing_to_learn
from grouppose.errors import InputError
from tests.datasets.sets import contents, person

STILL = np.array([[1.0, 0, 0], [0, 1, 0]])
SIZES = {4: (20, 30), 7: (12, 10), 9: (8, 8)}


def annotations_of(entries):
    data = contents(SIZES, entries)
    return data, flat_annotations(data, 17, False)


def regions(*entries):
    return ignored_regions(entries, annotations_of([person(99, 4)])[1])


def entry(number, image_id, segmentation=None, **more):
    return {"id": number, "image_id": image_id, "segmentation": segmentation, **more}


def blob(height, width, seed=0):
    picture = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    return cv2.GaussianBlur(picture, (0, 0), 3) > 0.5


def compressed(mask):
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": found["counts"].decode()}


def uncompressed(mask):
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    return {"size": list(mask.shape), "counts": [0] * flat[0] + runs}


def test_polygons_run_lengths_and_boxes_by_hand():
    blob_of_7 = np.zeros((12, 10), dtype=bool)
    blob_of_7[3:5, 6:9] = True
    found = regions(
        entry(1, 4, [[2, 3, 8, 3, 8, 9, 2, 9], [20.0, 10.0, 24.0, 10.0, 24.0, 15.0, 20.0, 15.0]]),
        entry(2, 7, compressed(blob_of_7)),
        entry(3, 4, None, bbox=[25, 0, 5, 4]),
        entry(4, 7, uncompressed(~blob_of_7 & (np.arange(12) >= 10)[:, None])),
        entry(5, 4, [], bbox=[0, 18, 3, 2]),
        entry(6, 9, None),
        entry(7, 9, None, bbox=[1, 1, 0, 5]),
        entry(8, 1000, [[1, 2]]),  # of a picture that is not there
    )
    expected = np.zeros((20, 30), dtype=bool)
    expected[3:9, 2:8] = expected[10:15, 20:24] = expected[0:4, 25:] = expected[18:, :3] = True
    np.testing.assert_array_equal(found.mask(0, 20, 30), expected)
    expected = blob_of_7.copy()
    expected[10:] = True
    np.testing.assert_array_equal(found.mask(1, 12, 10), expected)
    assert found.mask(2, 8, 8) is None


@pytest.mark.parametrize("kind", [compressed, uncompressed])
def test_run_lengths_of_both_kinds(kind):
    for seed, (height, width) in enumerate([(20, 30)] * 4):
        mask = blob(height, width, seed)
        found = regions(entry(1, 4, kind(mask)))
        np.testing.assert_array_equal(found.mask(0, height, width), mask)
    long = np.zeros((300, 400), dtype=bool)  # differences of several bytes
    long[100:260, 350:] = True
    data = contents({4: (300, 400)}, [person(99, 4)])
    found = ignored_regions([entry(1, 4, kind(long))], flat_annotations(data, 17, False))
    np.testing.assert_array_equal(found.mask(0, 300, 400), long)


def test_a_view_is_the_warped_mask_and_what_lies_outside():
    mask = blob(20, 30)
    found = regions(entry(1, 4, compressed(mask)))
    np.testing.assert_array_equal(found.seen(0, (20, 30), STILL, (20, 30)), mask)
    moved = np.array([[1.0, 0, 5], [0, 1, -2]])
    seen = found.seen(0, (20, 30), moved, (18, 40))
    expected = np.ones((18, 40), dtype=bool)
    expected[:, 5:35] = mask[2:]
    np.testing.assert_array_equal(seen, expected)
    inside = found.seen(0, (20, 30), moved, (18, 40), outside=False)
    np.testing.assert_array_equal(inside[:, 5:35], mask[2:])
    assert (inside[:, :5] == mask[2:, :1]).all() and (inside[:, 35:] == mask[2:, -1:]).all()
    assert found.seen(2, (8, 8), STILL, (8, 10))[:, 8:].all()
    assert not found.seen(2, (8, 8), STILL, (8, 10), outside=False).any()


def test_a_turned_view_agrees_with_the_pixels_it_comes_from():
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:15, 8:20] = True
    angle = np.radians(20)
    turn = 2 * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.concatenate([turn, [[10.0], [20.0]]], 1)
    seen = regions(entry(1, 4, compressed(mask))).seen(0, (20, 30), matrix, (60, 80))
    y, x = np.mgrid[:60, :80]
    source = np.linalg.inv(turn) @ (np.stack([x.ravel() - 10.0, y.ravel() - 20.0]))
    column, row = source.reshape(2, 60, 80)
    far = 0.6  # pixels from every edge, where bilinear weights do not matter
    deep = (column > 8 + far) & (column < 19 - far) & (row > 5 + far) & (row < 14 - far)
    clear = (column > far) & (column < 7 - far) & (row > far) & (row < 19 - far)
    outside = (column < -far) | (column > 29 + far) | (row < -far) | (row > 19 + far)
    assert deep.sum() > 200 and clear.sum() > 200 and outside.sum() > 200
    assert seen[deep].all() and not seen[clear].any() and seen[outside].all()


def test_crowds_and_people_without_labels_are_nothing_to_learn():
    everybody = [
        person(1, 4),
        person(2, 4, iscrowd=1),
        person(3, 4, keypoints=[0] * 51),
        {**person(4, 7), "category_id": 2},
        {"id": 5, "image_id": 7, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 5, 5]},
        {"id": 6, "image_id": 7, "category_id": 2, "iscrowd": 1, "bbox": [1, 1, 5, 5]},
    ]
    data = contents(SIZES, everybody)
    data["categories"].append({"id": 2, "name": "ball"})
    assert [found["id"] for found in nothing_to_learn(data)] == [2, 3, 5]


def test_all_of_it_is_flat_arrays():
    found = regions(entry(1, 4, compressed(blob(20, 30))), entry(2, 7, [[1, 1, 5, 1, 5, 5]]))
    assert all(isinstance(value, np.ndarray) for value in vars(found).values())
    empty = ignored_regions([], annotations_of([])[1])
    assert isinstance(empty, Ignored) and empty.mask(0, 20, 30) is None


def cut(mask):
    found = compressed(mask)
    return {**found, "counts": found["counts"][:-1]}


WHOLE = compressed(blob(20, 30))
DAMAGED = [
    ([[1, 2, 3, 4, 5]], "with a polygon of 5 numbers"),
    ([[1, 2, 3, 4]], "with a polygon of 4 numbers"),
    ([[1, 2, 3, 4, "5", 6]], "with something else than numbers in a polygon"),
    ([[1, 2, 3, 4, True, 6]], "with something else than numbers in a polygon"),
    ([[1, 2, 3, 4, float("nan"), 6]], "with a corner that is not finite or far from any picture"),
    ([[1, 2, 3, 4, 1e300, 6]], "with a corner that is not finite or far from any picture"),
    ([[1, 2, 3, 4, 5, 6], 7], "with something else than numbers in a polygon"),
    ("polygon", "that is a str"),
    (7, "that is a int"),
    ({}, "with size None"),
    ({"size": [20], "counts": [600]}, r"with size \[20\]"),
    ({"size": [0, 0], "counts": []}, r"with size \[0, 0\]"),
    ({"size": [30, 20], "counts": [600]}, r"of 30 x 20 pixels .* its picture has 20 x 30"),
    ({"size": [20, 30], "counts": [599]}, "whose run lengths are for 599 pixels, its size is 20"),
    ({"size": [20, 30], "counts": [700, -100]}, "neither text nor whole numbers"),
    ({"size": [20, 30], "counts": [1.5]}, "neither text nor whole numbers"),
    ({"size": [20, 30], "counts": None}, "neither text nor whole numbers"),
    ({"size": [20, 30], "counts": ""}, "cut off or no run lengths"),
    ({"size": [20, 30], "counts": "hello ~ é"}, "cut off or no run lengths"),
    ({"size": [20, 30], "counts": "oooooooooooooooo0"}, "no run lengths"),
    ({"size": [20, 30], "counts": WHOLE["counts"] + "5"}, "whose run lengths are for 6"),
    (cut(blob(20, 30)), "with counts that are cut off|whose run lengths are for"),
]


@pytest.mark.parametrize(("segmentation", "message"), DAMAGED)
def test_damaged_segmentations_name_their_annotation(segmentation, message):
    with pytest.raises(InputError, match=message) as error:
        regions(entry(31, 4, segmentation))
    text = str(error.value)
    assert text.startswith("annotation 31 has a 'segmentation' ") and "\n" not in text
    assert "expected polygons [[x, y, x, y, x, y, ...], ...] or run lengths" in text


def test_run_lengths_for_another_picture_are_refused_when_it_is_read():
    data, _ = annotations_of([])
    for image in data["images"]:
        del image["height"], image["width"]
    found = ignored_regions([entry(1, 4, WHOLE)], flat_annotations(data, 17, False))
    with pytest.raises(InputError, match="for 600 pixels, its picture has 20 x 31"):
        found.mask(0, 20, 31)
