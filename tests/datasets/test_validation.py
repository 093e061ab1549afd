import json
import os

import pytest
from PIL import Image

from datasets import check, validation
from datasets.annotations import read_annotations
from datasets.validation import cache_file, report_problems
from tests.datasets.sets import contents, person, write_set


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(validation.logger, "warning", lines.append)
    return lines


@pytest.fixture
def files(tmp_path):
    """A set whose annotations 1 to 7 have no area, and 8 a box without width."""
    people = [person(i, 1, area=0) for i in range(1, 8)]
    people.append(person(8, 1, bbox=[1, 1, 0, 5]))
    folder = write_set(tmp_path / "set", contents({1: (80, 90)}, people))
    annotations = folder / "annotations/person_keypoints_train2017.json"
    return annotations, folder / "images/train2017"


def test_every_problem_is_listed_with_its_ids(files, warnings):
    report_problems(*files, read_annotations(files[0]))
    box, area, more = warnings
    assert box.startswith("person_keypoints_train2017.json: 1 annotations have no 'bbox'")
    assert box.endswith(": 8")
    assert ": 7 annotations have an 'area' of 0" in area and area.endswith(": 1, 2, 3, 4, 5, ...")
    stored = json.loads(cache_file(*files).read_text())
    assert stored[1]["ids"] == [1, 2, 3, 4, 5, 6, 7]
    assert more == f"all ids are listed in {cache_file(*files)}"


def test_it_is_looked_over_once_until_the_file_changes(files, warnings, monkeypatch):
    calls = []
    examine = check.examine
    monkeypatch.setattr(check, "examine", lambda *a: calls.append(a) or examine(*a))
    read = read_annotations(files[0])
    report_problems(*files, read)
    first = list(warnings)
    report_problems(*files, read)
    assert len(calls) == 1 and warnings == first * 2
    state = files[0].stat()
    os.utime(files[0], ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    report_problems(*files, read)
    (files[1] / "001.png").unlink()  # the folder of pictures changes
    report_problems(*files, read)
    assert len(calls) == 3
    assert any("1 pictures have no file" in line for line in warnings)


def test_without_a_place_for_the_cache_it_is_looked_over_each_time(files, warnings, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(files[0]))  # a file
    report_problems(*files, read_annotations(files[0]))
    assert len(warnings) == 2


def test_labels_in_stored_pixels_are_one_warning(tmp_path, warnings):
    folder = write_set(tmp_path / "set", contents({1: (20, 30), 2: (30, 20)}, [person(1, 1)]))
    exif = Image.Exif()
    exif[0x0112] = 6
    images = folder / "images/train2017"
    for name, size in (("001.png", (30, 20)), ("002.png", (20, 30))):
        Image.new("RGB", size).save(images / name, exif=exif)
    annotations = folder / "annotations/person_keypoints_train2017.json"
    report_problems(annotations, images, read_annotations(annotations))
    (warning,) = warnings
    assert warning.startswith(
        "person_keypoints_train2017.json: 2 pictures have an EXIF orientation"
    )
    assert warning.endswith("their labels are taken to be in the stored one: 1, 2")
