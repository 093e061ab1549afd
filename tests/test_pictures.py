import sys

import numpy as np
import pytest
import torch
from PIL import Image

from grouppose.errors import InputError, MissingFileError
from grouppose.pictures import as_rgb, centred_resize, open_picture, planar, read_picture
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


SHOWN = {  # what EXIF's orientations mean, from the stored pixels
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def oriented(folder, orientation, suffix="png", height=20, width=30):
    """A picture of noise with that orientation, and its stored pixels."""
    array = picture(height, width)
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"tiffinfo": {0x0112: orientation}} if suffix == "tif" else {"exif": exif}
    path = folder / f"{orientation}.{suffix}"
    Image.fromarray(array).save(path, **more)
    return path, array


def rotated_file(folder):
    return oriented(folder, ROTATED)[0]


@pytest.mark.parametrize("suffix", ["png", "tif"])  # Pillow turns the latter by itself
@pytest.mark.parametrize("orientation", SHOWN)
def test_every_exif_orientation_is_applied(tmp_path, orientation, suffix):
    path, stored = oriented(tmp_path, orientation, suffix)
    shown = SHOWN[orientation](stored)

    def read(*arguments):
        return read_picture(path, *arguments).permute(1, 2, 0).numpy()

    np.testing.assert_array_equal(read(), shown)
    np.testing.assert_array_equal(read(shown.shape[:2]), shown)
    np.testing.assert_array_equal(read(None, "ignore"), stored)
    np.testing.assert_array_equal(as_rgb(Image.open(path)).permute(1, 2, 0).numpy(), shown)
    # labels of the stored size are followed where the turned picture has another one
    expected = stored if orientation >= 5 else shown
    np.testing.assert_array_equal(read((20, 30)), expected)
    np.testing.assert_array_equal(read((20, 30), "ignore"), stored)
    square, stored = oriented(tmp_path, orientation, suffix, 20, 20)
    turned, ignored = (read_picture(square, (20, 20), exif) for exif in ("turn", "ignore"))
    np.testing.assert_array_equal(turned.permute(1, 2, 0).numpy(), SHOWN[orientation](stored))
    np.testing.assert_array_equal(ignored.permute(1, 2, 0).numpy(), stored)


@pytest.mark.parametrize("orientation", [0, 1, 9, 700])
def test_an_orientation_that_means_nothing_changes_nothing(tmp_path, orientation):
    path, stored = oriented(tmp_path, orientation)
    np.testing.assert_array_equal(read_picture(path).permute(1, 2, 0).numpy(), stored)


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
    with pytest.raises(InputError, match="a.heic is HEIF, .* pip install 'grouppose.heif.'"):
        read_picture(tmp_path / "a.heic")


def test_centred_resize_by_hand():
    # the shorter side 480 becomes 512; 640 becomes 682, rounded up to 704
    size, matrix = centred_resize((480, 640), 512)
    assert size == (512, 704)
    ratio = 512 / 480
    assert matrix[0].tolist() == pytest.approx([ratio, 0, 352 - 320 * ratio])
    assert matrix[1].tolist() == pytest.approx([0, ratio, 0])


def test_centred_resize_of_odd_sides_and_other_scales():
    # 427 becomes 640 / 2; 641 is 960.7 at 640, whose whole pixels are a multiple of 64 already
    size, matrix = centred_resize((641, 427), 640, 0.5)
    assert size == (480, 320)
    ratio = 320 / 427
    assert matrix[0].tolist() == pytest.approx([ratio, 0, 160 - 214 * ratio])  # 213.5 rounded up
    assert matrix[1].tolist() == pytest.approx([0, ratio, 240 - 321 * ratio])
    assert centred_resize((50, 50), 100)[0] == (128, 128)  # the base side is rounded up, too
