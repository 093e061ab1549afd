import numpy as np
import pytest
from PIL import Image

from datasets.headers import KINDS, file_findings


def save(path, orientation=1, size=(40, 30)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)


@pytest.fixture
def folder(tmp_path):
    """A file of each kind, named after it; all are annotated as 40 x 30."""
    save(tmp_path / "good.jpg")
    save(tmp_path / "turned.jpg", 6, (30, 40))  # shown, it has the annotated size
    save(tmp_path / "stored.jpg", 6)
    save(tmp_path / "either.jpg", 3)
    save(tmp_path / "neither.jpg", size=(40, 31))
    (tmp_path / "unreadable.jpg").write_bytes(b"no picture")
    return tmp_path


NAMES = ["good", "turned", "stored", "either", "neither", "unreadable", "missing"]


def kinds(contents, folder, **how):
    """What was found: kind of finding and names of the pictures."""
    found = file_findings(contents, folder, **how)
    assert len(found) == len(KINDS)
    return {
        kind: [NAMES[i] for i in finding.ids]
        for kind, finding in zip(KINDS, found, strict=True)
        if finding.ids
    }


def entries(**size):
    images = [{"id": i, "file_name": f"{name}.jpg", **size} for i, name in enumerate(NAMES)]
    return {"images": images}


def test_each_kind_of_file_is_told_apart(folder):
    found = kinds(entries(height=30, width=40), folder)
    assert found == {kind: [kind] for kind in KINDS}


def test_without_a_stated_size_nothing_tells_stored_from_turned(folder):
    for size in ({}, {"height": 0, "width": 40}, {"height": "30", "width": 40}):
        found = kinds(entries(**size), folder)
        assert found["either"] == ["turned", "stored", "either"] and "neither" not in found


def test_only_decoding_finds_a_picture_that_breaks_off(folder):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "good.jpg")
    data = (folder / "good.jpg").read_bytes()
    (folder / "good.jpg").write_bytes(data[: len(data) // 2])
    contents = entries(height=30, width=40)
    assert kinds(contents, folder)["unreadable"] == ["unreadable"]
    assert kinds(contents, folder, decode=True)["unreadable"] == ["good", "unreadable"]


def test_what_is_serious_and_what_is_to_be_known_before_training(folder):
    found = dict(zip(KINDS, file_findings(entries(height=30, width=40), folder), strict=True))
    assert [kind for kind, finding in found.items() if finding.serious] == [
        "missing",
        "unreadable",
        "neither",
    ]
    assert [kind for kind, finding in found.items() if finding.warned] == ["stored"]
    assert str(folder) in found["missing"].text
