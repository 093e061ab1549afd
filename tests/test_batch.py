import pytest
import torch

from grouppose.batch import batch_images
from grouppose.errors import InputError


def test_pictures_are_padded_at_the_right_and_the_bottom():
    sizes = ((7, 2, 5), (9, 4, 3))
    pictures = [torch.full((3, *size), value, dtype=torch.uint8) for value, *size in sizes]
    images, padding = batch_images(pictures)
    assert images.shape == (2, 3, 4, 5) and images.dtype == torch.uint8
    assert images[0, 1].tolist() == [[7] * 5] * 2 + [[0] * 5] * 2
    assert images[1, 1].tolist() == [[9, 9, 9, 0, 0]] * 4
    assert torch.equal(padding, images[:, 0] == 0)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "got no picture"),
        ([torch.zeros(3, 2, 2), torch.zeros(1, 2, 2)], r"picture 1 has shape \(1, 2, 2\)"),
        ([torch.zeros(2, 2)], r"picture 0 has shape \(2, 2\), expected \(3, h, w\)"),
    ],
)
def test_what_is_no_picture_is_refused(pictures, message):
    with pytest.raises(InputError, match=message):
        batch_images(pictures)
