import cv2
import numpy as np
import pytest
import torch

from grouppose.errors import InputError
from grouppose.pictures import resize_picture
from grouppose.views import (
    View,
    batch_views,
    look,
    scaled_sides,
    scaled_view,
    training_eval_size,
)

WHITE = torch.full((3, 4, 6), 255, dtype=torch.uint8)


def ramp(height, width):
    """Every column has its own value, the same in all rows."""
    return torch.arange(width, dtype=torch.uint8).expand(3, height, width).contiguous()


def columns(image):
    return image[0, 0].tolist()


def test_a_scaled_view_is_the_resized_picture_and_its_mirror_image():
    image = torch.randint(256, (3, 20, 30), dtype=torch.uint8)
    views = [scaled_view((20, 30), (10, 15)), scaled_view((20, 30), (10, 15), mirrored=True)]
    plain, mirrored = look(image, views)
    assert torch.equal(plain.image, resize_picture(image, (10, 15))) and plain.padding is None
    assert torch.equal(mirrored.image, plain.image.flip(-1)) and mirrored.padding is None
    assert views[0].matrix.tolist() == [[0.5, 0, 0], [0, 0.5, 0]]
    assert views[0].inverse.tolist() == [[2, 0, 0], [0, 2, 0]]


def test_mirroring_and_resizing_commute_to_the_last_bit():
    image = torch.randint(256, (3, 61, 83), dtype=torch.uint8)
    view = scaled_view((61, 83), (40, 54), mirrored=True)
    assert torch.equal(look(image, [view])[0].image, resize_picture(image.flip(-1), (40, 54)))


def test_a_warp_leaves_black_bars_that_may_be_padding():
    matrix = np.array([[1.0, 0, 2], [0, 1, 0]])
    (seen,) = look(WHITE, [View((4, 10), False, matrix, "affine", (4, 6))])
    assert columns(seen.image) == [0, 0, 255, 255, 255, 255, 255, 255, 0, 0]
    assert seen.padding is None
    both = [View((4, 10), flip, matrix, "affine", (4, 6), border=True) for flip in (False, True)]
    plain, mirrored = look(ramp(4, 6), both)
    assert columns(plain.padding.expand(1, 4, 10)) == [True] * 2 + [False] * 6 + [True] * 2
    assert columns(mirrored.image) == columns(plain.image)[::-1]
    assert torch.equal(mirrored.padding, plain.padding.flip(-1))


def test_a_warp_is_opencv_s():
    image = torch.randint(256, (3, 20, 30), dtype=torch.uint8)
    matrix = np.array([[0.9, 0.1, 1.5], [-0.1, 0.9, 3]])
    (seen,) = look(image, [View((24, 32), False, matrix, "affine", (20, 30))])
    expected = cv2.warpAffine(np.ascontiguousarray(image.permute(1, 2, 0)), matrix, (32, 24))
    assert np.array_equal(seen.image.permute(1, 2, 0).numpy(), expected)


def test_cubic_is_opencv_s_and_may_stand_between_padding():
    image = torch.randint(256, (3, 20, 30), dtype=torch.uint8)
    matrix = np.array([[0.5, 0, 1], [0, 0.5, 3]])
    (seen,) = look(image, [View((16, 16), False, matrix, "cubic", (20, 30), border=True)])
    pixels = image.permute(1, 2, 0).numpy()
    expected = cv2.resize(pixels, (15, 10), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(seen.image[:, 3:13, 1:].permute(1, 2, 0).numpy(), expected)
    assert seen.padding.sum() == 16 * 16 - 15 * 10 and not seen.padding[3:13, 1:].any()
    assert not seen.image[:, seen.padding].any()


@pytest.mark.parametrize(
    ("fill", "last", "padded"), [("picture", [2, 1, 0], False), ("padding", [0, 0, 0], True)]
)
def test_a_mirrored_input_may_move_to_the_left(fill, last, padded):
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    view = View((2, 8), True, matrix, "affine", (2, 8), shift=3, fill=fill)
    (seen,) = look(ramp(2, 8), [view])
    assert columns(seen.image) == [4, 3, 2, 1, 0, *last]
    if padded:
        assert seen.padding.tolist() == [[False] * 5 + [True] * 3] * 2
    else:
        assert seen.padding is None


def test_the_shift_takes_padding_along():
    matrix = np.array([[1.0, 0, 2], [0, 1, 0]])
    view = View((2, 8), True, matrix, "affine", (2, 6), True, shift=1)
    (seen,) = look(ramp(2, 6), [view])
    # mirrored: 6 columns of the picture, then 2 of padding; moved by one, the last one stays
    assert columns(seen.image) == [4, 3, 2, 1, 0, 0, 0, 0]
    assert seen.padding[0].tolist() == [False] * 5 + [True] * 3


def test_views_of_several_pictures_become_a_batch_each():
    sizes = [(4, 6), (5, 3)]
    matrix = np.array([[1.0, 0, 1], [0, 1, 0]])
    pictures = [
        look(
            torch.full((3, *size), 9, dtype=torch.uint8),
            [scaled_view(size, size), View((5, 7), False, matrix, "affine", size, border=True)],
        )
        for size in sizes
    ]
    (images, padding), (warped, bars) = batch_views(pictures)
    assert images.shape == (2, 3, 5, 6) and warped.shape == (2, 3, 5, 7)
    assert (~padding).sum((1, 2)).tolist() == [24, 15]
    assert torch.equal(bars, warped[:, 0] == 0)
    assert (~bars).sum((1, 2)).tolist() == [24, 15]


def test_sides_of_scales_keep_the_proportion_of_the_limit():
    assert scaled_sides([800, 1333]) == [(800, 1333)]
    assert scaled_sides([800, 1333], [400, 1000]) == [(400, 666), (1000, 1666)]
    assert scaled_sides([800, 1333], [400, 1000], longest=900) == [(400, 900), (1000, 900)]
    assert scaled_sides([512], [256]) == [(256, None)]
    with pytest.raises(InputError, match=r"eval_size is \[\], expected a side in pixels, or two"):
        scaled_sides([])
    with pytest.raises(InputError, match=r"test_scales is \[0\], expected sides in pixels"):
        scaled_sides([800, 1333], [0])


def test_the_size_of_evaluation_follows_from_those_of_training():
    settings = {"data_aug_scales": [480, 640], "data_aug_max_size": 1333}
    assert training_eval_size(settings) == [640, 1333]
    assert training_eval_size({**settings, "data_aug_scale_overlap": 0.5}) == [320, 666]
    assert training_eval_size({**settings, "augmentation": "affine", "affine_size": 512}) == [512]
    assert training_eval_size({"modelname": "grouppose"}) is None
