import sys

import numpy as np
import pytest
import torch
from PIL import Image

from grouppose.errors import InputError, MissingFileError
from grouppose.pictures import open_picture, planar, read_picture
from tests.datasets.sets import picture

ROTATED = 6  # EXIF: shown after a quarter turn clockwise


def pixels(image, y, x):
    return image[:, y, x].tolist()


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 90, [90, 90, 90]),
        ("1", 1, [255, 255, 255]),
        ("LA", (90, 10), [90, 90, 90]),
        ("RGBA", (10, 20, 30, 0), [10, 20, 30]),  # transparency is dropped
        ("CMYK", (255, 0, 0, 0), [0, 255, 255]),
        ("I;16", 0x9234, [0x92, 0x92, 0x92]),  # the upper 8 of 16 bits
        ("I;16", 4095, [255, 255, 255]),  # of 12
        ("I;16", 0x1FF, [255, 255, 255]),  # of 9
        ("I;16", 200, [200, 200, 200]),
    ],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode, value, expected):
    path = tmp_path / f"picture.{'tif' if mode == 'CMYK' else 'png'}"
    Image.new(mode, (4, 3), value).save(path)
    image = read_picture(path, (3, 4))
    assert image.dtype == torch.uint8 and image.shape == (3, 3, 4)
    assert pixels(image, 2, 3) == expected


def test_palette_with_transparency(tmp_path):
    path = tmp_path / "palette.png"
    source = Image.new("P", (2, 1), 0)
    source.putpalette([200, 100, 50, 1, 2, 3])
    source.putpixel((1, 0), 1)
    source.save(path, transparency=b"\x00\xff")
    image = read_picture(path)
    assert pixels(image, 0, 0) == [200, 100, 50] and pixels(image, 0, 1) == [1, 2, 3]


def rotated_file(tmp_path, height=20, width=30):
    """A picture whose EXIF asks for a quarter turn; red at its stored top left corner."""
    array = np.zeros((height, width, 3), dtype=np.uint8)
    array[:8, :8, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    path = tmp_path / "rotated.jpg"
    Image.fromarray(array).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize(
    ("stated", "shape", "red"),
    [((20, 30), (20, 30), (2, 2)), ((30, 20), (30, 20), (2, 17)), (None, (30, 20), (2, 17))],
)
def test_exif_rotation_follows_the_stated_size(tmp_path, stated, shape, red):
    image = read_picture(rotated_file(tmp_path), stated)
    assert image.shape[1:] == shape
    assert image[0, red[0], red[1]] > 200  # the stored top left is the shown top right


def test_square_picture_with_exif_stays_as_stored(tmp_path):
    image = read_picture(rotated_file(tmp_path, 20, 20), (20, 20))
    assert image[0, 2, 2] > 200


def test_another_size_than_stated_is_refused(tmp_path):
    path = rotated_file(tmp_path)
    with pytest.raises(InputError, match="is 30 x 20 pixels, its annotations are for 40 x 20"):
        read_picture(path, (20, 40))


def test_missing_picture_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="no picture .*none.jpg; .*set --coco_path"):
        read_picture(tmp_path / "none.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_picture_is_named(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(picture(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=f"cut.{suffix} cannot be read as a picture .*; replace"):
        read_picture(path, (64, 64))


def test_text_file_and_float_picture_are_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("../elsewhere.jpg")
    with pytest.raises(InputError, match="text.jpg cannot be read as a picture"):
        read_picture(tmp_path / "text.jpg")
    Image.new("F", (4, 4), 0.5).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match="float.tif has floating-point pixels, expected 8 or 16"):
        read_picture(tmp_path / "float.tif")


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (33, 1), (64, 48)])
def test_planar_is_the_same_picture(shape):
    interleaved = torch.from_numpy(picture(*shape)).permute(2, 0, 1)
    for image in (interleaved, interleaved.flip(-1), interleaved[:, :3], interleaved.contiguous()):
        result = planar(image)
        assert result.is_contiguous() and torch.equal(result, image)


def test_a_picture_above_the_limit_is_refused_and_a_setting_lets_it_through(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("L", (300, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # Pillow's own: an error above twice
    with pytest.raises(InputError, match="large.png is too large .*GROUPPOSE_MAX_MEGAPIXELS=500"):
        read_picture(path)
    monkeypatch.setenv("GROUPPOSE_MAX_MEGAPIXELS", "500")
    assert read_picture(path).shape == (3, 100, 300)
    assert Image.MAX_IMAGE_PIXELS == 10_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
    monkeypatch.setenv("GROUPPOSE_MAX_MEGAPIXELS", "0.02")
    with pytest.raises(InputError, match="large.png has 300 x 100 pixels, over 0.02 million"):
        read_picture(path)
    assert open_picture(path, max_megapixels=0.03).size == (300, 100)
    for value in ("much", "nan", "-1", "0"):
        monkeypatch.setenv("GROUPPOSE_MAX_MEGAPIXELS", value)
        with pytest.raises(InputError, match=f"GROUPPOSE_MAX_MEGAPIXELS is '{value}'"):
            read_picture(path)


def test_heif_is_read_where_the_package_for_it_is_installed(tmp_path, monkeypatch):
    path = tmp_path / "phone.jpg"  # whatever its name says
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 100, 50))).save(path)
    image = read_picture(path)
    assert image.shape == (3, 48, 64)
    assert np.abs(np.array(pixels(image, 20, 20)) - (200, 100, 50)).max() < 5


def test_heif_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 100)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match="a.heic is HEIF, .* pip install pillow-heif"):
        read_picture(tmp_path / "a.heic")
