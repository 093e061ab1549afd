import pytest
import torch

from grouppose.errors import InputError
from grouppose.layers.images import ImageNormalisation, check_images


def test_normalisation_by_hand_and_padding_becomes_zero():
    normalise = ImageNormalisation()
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    padding = torch.tensor([[[False, True], [True, True]]])
    out = normalise(images, padding)
    assert out[0, :, 0, 0].tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )
    assert out.count_nonzero() == 3
    assert torch.equal(normalise(images), normalise(torch.ones(1, 3, 2, 2)))
    assert not normalise.state_dict()  # constants are in no file of weights


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 64, 64, 3), r"\(1, 64, 64, 3\), expected \(B, 3, H, W\)"),
        ((3, 64, 64), r"\(3, 64, 64\), expected \(B, 3, H, W\)"),
        ((1, 3, 64, 96), "96 x 64 pixels in the network, expected multiples of 64"),
        ((1, 3, 0, 64), "64 x 0 pixels"),
    ],
)
def test_pictures_that_do_not_fit_are_named(shape, message):
    with pytest.raises(InputError, match=message):
        check_images(torch.zeros(shape), 64)
    check_images(torch.zeros(2, 3, 64, 128), 64)
