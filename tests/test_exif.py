import pytest
from PIL import Image

from grouppose.exif import exif_case, orientation_of


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
