import json

import pytest

from datasets.build import build_dataset
from datasets.lists import read_list
from datasets.places import UNSCORED
from grouppose.errors import InputError, MissingFileError
from tests.datasets.sets import contents, person, settings, write_set

SIZES = {1: (50, 60), 2: (50, 60), 3: (50, 60)}


def coco(folder):
    data = contents(SIZES, [person(i, i) for i in SIZES])
    return write_set(folder, data)


def test_ochuman_is_scored_on_test_or_val(tmp_path):
    for part, picture in (("val", 1), ("test", 2)):
        data = contents({picture: (50, 60)}, [person(1, picture)])
        write_set(tmp_path, data)
        name = f"ochuman_coco_format_{part}_range_0.00_1.00.json"
        (tmp_path / "annotations" / name).write_text(json.dumps(data))
    for name, picture in (("ochuman", 2), ("ochuman_val", 1)):
        dataset = build_dataset("val", settings(tmp_path, dataset_file=name))
        assert dataset.image_ids.tolist() == [picture] and dataset.protocol == "ochuman"


def test_human_art_names_its_pictures_from_the_folder_above(tmp_path):
    data = contents({1: (50, 60)}, [person(1, 1)])
    write_set(tmp_path / "HumanArt", data)
    data["images"][0]["file_name"] = "HumanArt/images/val2017/001.png"
    file = tmp_path / "HumanArt/annotations/validation_humanart.json"
    file.write_text(json.dumps(data))
    dataset = build_dataset("val", settings(tmp_path, dataset_file="humanart"))
    assert dataset[0][1]["labels"].tolist() == [1]


def test_test_dev_lists_pictures_without_labels(tmp_path):
    coco(tmp_path)
    (tmp_path / "images/test2017").symlink_to(tmp_path / "images/val2017")
    images = contents(SIZES, [])["images"]
    file = tmp_path / "annotations/image_info_test-dev2017.json"
    file.write_text(json.dumps({"images": images, "categories": []}))
    dataset = build_dataset("val", settings(tmp_path, dataset_file="coco_testdev"))
    assert len(dataset) == 3 and dataset.protocol == UNSCORED and dataset.people == 0
    assert dataset[0][1]["keypoints"].shape == (0, 17, 2)


def test_minitrain_takes_the_pictures_of_its_list(tmp_path):
    coco(tmp_path)
    cfg = settings(tmp_path, dataset_file="coco_minitrain")
    with pytest.raises(MissingFileError, match="no list of pictures .*instances_minitrain2017"):
        build_dataset("train", cfg)
    file = tmp_path / "annotations/instances_minitrain2017.json"
    file.write_text(json.dumps({"images": [{"id": 3, "file_name": "003.png"}]}))
    assert build_dataset("train", cfg).image_ids.tolist() == [3]
    assert build_dataset("val", cfg).image_ids.tolist() == [1, 2, 3]
    cfg = settings(tmp_path, train_list="mine.txt")
    with pytest.raises(MissingFileError, match="no list of pictures .*mine.txt"):
        build_dataset("train", cfg)
    (tmp_path / "mine.txt").write_text("1\nother/002.jpg\n")
    assert build_dataset("train", cfg).image_ids.tolist() == [1, 2]
    (tmp_path / "mine.txt").write_text("000000000077\n")
    with pytest.raises(InputError, match="mine.txt names 1 pictures, none of which is annotated"):
        build_dataset("train", cfg)
    assert read_list(tmp_path / "mine.txt") == {"000000000077"}


def test_settings_name_other_files(tmp_path):
    coco(tmp_path)
    (tmp_path / "annotations/person_keypoints_train2017.json").rename(tmp_path / "a.json")
    (tmp_path / "images/train2017").rename(tmp_path / "b")
    cfg = settings(tmp_path, train_annotations="a.json", train_images=str(tmp_path / "b"))
    assert build_dataset("train", cfg)[0][0].shape[0] == 3
    with pytest.raises(MissingFileError, match="no folder .*/c; .* or set --coco_path or train_im"):
        build_dataset("train", settings(tmp_path, train_annotations="a.json", train_images="c"))
