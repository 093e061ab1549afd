import numpy as np
import pytest
from PIL import Image

from grouppose.exif import exif_case, orientation_of, upright


@pytest.mark.parametrize(
    ("orientation", "stored", "stated", "case"),
    [
        (1, (2, 3), (2, 3), "same"),
        (1, (2, 3), None, "same"),
        (1, (2, 3), (3, 2), "neither"),
        (6, (2, 3), (3, 2), "turned"),
        (6, (2, 3), (2, 3), "stored"),
        (6, (2, 2), (2, 2), "either"),
        (6, (2, 3), None, "either"),
        (3, (2, 3), (2, 3), "either"),
        (3, (2, 3), (3, 2), "neither"),
    ],
)
def test_which_picture_labels_belong_to(orientation, stored, stated, case):
    assert exif_case(orientation, stored, stated) == case


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_orientation_and_stored_size_of_a_file(tmp_path, suffix):
    for orientation, found in ((1, 1), (3, 3), (6, 6), (0, 1), (9, 1)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        more = {"tiffinfo": {0x0112: orientation}} if suffix == "tif" else {"exif": exif}
        path = tmp_path / f"{orientation}.{suffix}"
        Image.new("RGB", (30, 20)).save(path, **more)
        with Image.open(path) as picture:
            assert orientation_of(picture) == (found, (20, 30))


def chunks_of(png):
    place, found = 8, []
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        found.append(png[place : place + length + 12])
        place += length + 12
    return found


@pytest.mark.parametrize("late", [False, True])
def test_a_png_is_decoded_only_for_what_follows_its_pixels(tmp_path, late):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, exif=exif)
    png = path.read_bytes()
    chunks = chunks_of(png)
    (mark,) = (chunk for chunk in chunks if chunk[4:8] == b"eXIf")
    rest = [chunk for chunk in chunks if chunk is not mark]
    place = len(rest) - 1 if late else 1
    path.write_bytes(png[:8] + b"".join([*rest[:place], mark, *rest[place:]]))
    with Image.open(path) as picture:
        assert orientation_of(picture) == (6, (200, 300))
        assert (picture.fp is None) == late  # closed once it is decoded
        shown = np.asarray(upright(picture))
    np.testing.assert_array_equal(shown, np.rot90(noise, -1))


def test_a_png_without_text_is_not_decoded(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)
    with Image.open(path) as picture:
        assert orientation_of(picture) == (1, (20, 30))
        assert picture.fp is not None and np.asarray(picture).shape == (20, 30, 3)
