import json
import shutil

import pytest
import torch
from PIL import Image

from datasets.build import build_dataset
from datasets.lists import read_list
from datasets.places import UNSCORED, find_annotations, find_images
from grouppose.errors import InputError, MissingFileError
from tests.datasets.sets import contents, person, picture, settings, write_set

SIZES = {1: (50, 60), 2: (50, 60), 3: (50, 60)}


def coco(folder):
    data = contents(SIZES, [person(i, i) for i in SIZES])
    return write_set(folder, data)


def test_ochuman_is_scored_on_test_or_val(tmp_path):
    for part, number in (("val", 1), ("test", 2)):
        data = contents({number: (50, 60)}, [person(1, number)])
        write_set(tmp_path, data)
        name = f"ochuman_coco_format_{part}_range_0.00_1.00.json"
        (tmp_path / "annotations" / name).write_text(json.dumps(data))
    for name, number in (("ochuman", 2), ("ochuman_val", 1)):
        dataset = build_dataset("val", settings(tmp_path, dataset_file=name))
        assert dataset.image_ids.tolist() == [number] and dataset.protocol == "ochuman"


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


def custom(folder, **changes):
    unset = {"num_body_points": 0, "num_classes": 0}
    return settings(folder, **{"dataset_file": "custom", **unset, **changes})


def write_files(folder, annotations, images):
    data = contents({1: (50, 60)}, [person(1, 1)])
    (folder / annotations).parent.mkdir(parents=True, exist_ok=True)
    (folder / annotations).write_text(json.dumps(data))
    (folder / images).mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(50, 60, 1)).save(folder / images / "001.png")


@pytest.mark.parametrize(
    ("train", "val"),
    [
        (("train/_annotations.coco.json", "train"), ("valid/_annotations.coco.json", "valid")),
        (("train/_annotations.coco.json", "train"), ("test/_annotations.coco.json", "test")),
        (
            ("train/annotations/person_keypoints_default.json", "train/images/default"),
            ("val/annotations/person_keypoints_default.json", "val/images"),
        ),
        (
            ("annotations/person_keypoints_Train.json", "images/Train"),
            ("annotations/person_keypoints_Validation.json", "images/Validation"),
        ),
    ],
)
def test_layouts_of_roboflow_and_cvat(tmp_path, train, val):
    for place in (train, val):
        write_files(tmp_path, *place)
    for split, (_, images) in (("train", train), ("val", val)):
        dataset = build_dataset(split, custom(tmp_path))
        assert dataset[0][1]["labels"].tolist() == [1]
        assert find_images(tmp_path, split, ["001.png"], find_annotations(tmp_path, split)) == (
            tmp_path / images
        )


@pytest.mark.parametrize("images", ["images/default", "images"])
def test_cvats_only_file_is_trained_and_scored_on(tmp_path, images):
    write_files(tmp_path, "annotations/person_keypoints_default.json", images)
    for split in ("train", "val"):
        assert len(build_dataset(split, custom(tmp_path))) == 1


def test_a_folder_of_yolo_is_told_how_to_convert(tmp_path):
    (tmp_path / "data.yaml").write_text("kpt_shape: [17, 3]\n")
    with pytest.raises(InputError, match="in YOLO's format .*: python -m datasets.convert .* OUT"):
        build_dataset("train", custom(tmp_path))


def test_absolute_and_windows_file_names(tmp_path):
    write_files(tmp_path / "set", "train.json", "images/a")
    write_files(tmp_path / "elsewhere", "val.json", "")
    file = tmp_path / "set/train.json"
    data = json.loads(file.read_text())
    elsewhere = str(tmp_path / "elsewhere/001.png")
    for name in (
        r"a\001.png",
        r"C:\pictures\a\001.png",
        "D:/a/001.png",
        "/old/a/001.png",
        elsewhere,
    ):
        data["images"][0]["file_name"] = name
        file.write_text(json.dumps(data))
        assert len(build_dataset("train", custom(tmp_path / "set"))[0][0].shape) == 3


def packed(folder, inside=True, out=None):
    """Makes a zip of a folder of pictures, with the folder's name in it or not, in its place."""
    root = (folder.parent, folder.name) if inside else (folder, None)
    file = shutil.make_archive(str(out or folder), "zip", *root)
    shutil.rmtree(folder)
    return file


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("place", ["images/{}2017", "{}2017"])
def test_pictures_of_coco_in_a_zip_each(tmp_path, place, inside):
    coco(tmp_path)
    before = {split: build_dataset(split, settings(tmp_path))[1] for split in ("train", "val")}
    for split in before:
        packed(tmp_path / f"images/{split}2017", inside, tmp_path / place.format(split))
    if not place.startswith("images"):
        (tmp_path / "images").rmdir()
    for split, (image, target) in before.items():
        dataset = build_dataset(split, settings(tmp_path))
        assert dataset.missing() == [] and torch.equal(dataset[1][0], image)
        assert torch.equal(dataset[1][1]["keypoints"], target["keypoints"])


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", ["coco", "crowdpose", "humanart"])
def test_pictures_of_all_splits_in_one_zip(tmp_path, name, inside):
    count = 14 if name == "crowdpose" else 17
    data = contents({1: (50, 60)}, [person(1, 1, count)], count)
    folder = tmp_path / "HumanArt" if name == "humanart" else tmp_path
    write_set(folder, data, layout="crowdpose" if name == "crowdpose" else "coco")
    if name == "humanart":
        data["images"][0]["file_name"] = "HumanArt/images/val2017/001.png"
        (folder / "annotations/validation_humanart.json").write_text(json.dumps(data))
    cfg = settings(tmp_path, dataset_file=name, num_body_points=count)
    image = build_dataset("val", cfg)[0][0]
    packed(folder / "images", inside)
    assert torch.equal(build_dataset("val", cfg)[0][0], image)


@pytest.mark.parametrize(
    ("annotations", "images", "folder"),
    [
        ("train/_annotations.coco.json", "train/images", "train/images"),
        ("annotations/person_keypoints_default.json", "images/default", "images"),
        ("annotations/person_keypoints_default.json", "images/default", "images/default"),
        ("annotations/a_train.json", "train", "train"),
        ("a_train.json", "images/train", "images/train"),
    ],
)
def test_pictures_of_custom_sets_in_a_zip(tmp_path, annotations, images, folder):
    write_files(tmp_path, annotations, images)
    image = build_dataset("train", custom(tmp_path)).view()[0][0]
    packed(tmp_path / folder)
    dataset = build_dataset("train", custom(tmp_path))
    assert torch.equal(dataset.view()[0][0], image)


def test_settings_may_name_a_zip(tmp_path):
    write_files(tmp_path, "train.json", "pictures/a")
    image = build_dataset("train", custom(tmp_path, train_images="pictures/a")).view()[0][0]
    packed(tmp_path / "pictures/a", out=tmp_path / "mine")
    for name in ("mine.zip/a", str(tmp_path / "mine.zip/a"), "mine/a"):
        assert torch.equal(
            build_dataset("train", custom(tmp_path, train_images=name)).view()[0][0], image
        )
    packed(tmp_path / "pictures", out=tmp_path / "empty")
    with pytest.raises(MissingFileError, match="no 001.png in .*/empty.zip, which holds 0 files"):
        build_dataset("train", custom(tmp_path, train_images="empty.zip"))


def test_zips_without_the_pictures_are_refused_before_training(tmp_path):
    coco(tmp_path)
    (tmp_path / "images/a").mkdir()
    (tmp_path / "images/train2017").rename(tmp_path / "images/a/b")
    packed(tmp_path / "images/a", out=tmp_path / "images/train2017")
    with pytest.raises(
        MissingFileError, match="no 001.png in .*images/train2017.zip, which holds 3 files such as"
    ):
        build_dataset("train", settings(tmp_path))
    (tmp_path / "images/train2017.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="images/train2017.zip cannot be read as a zip"):
        build_dataset("train", settings(tmp_path))
    write_files(tmp_path / "own", "train.json", "images/a/b")
    packed(tmp_path / "own/images")
    with pytest.raises(MissingFileError, match="no picture 001.png in .*nor in .*own/images.zip; "):
        build_dataset("train", custom(tmp_path / "own"))


def test_the_folder_is_found_although_the_first_picture_is_missing(tmp_path):
    write_files(tmp_path, "train.json", "images")
    data = json.loads((tmp_path / "train.json").read_text())
    gone = [{"id": i, "file_name": name} for i, name in ((8, "gone.png"), (9, "a" * 5000))]
    (tmp_path / "train.json").write_text(json.dumps({**data, "images": [*gone, *data["images"]]}))
    assert len(build_dataset("train", custom(tmp_path))) == 1


def test_keypoints_go_before_boxes(tmp_path):
    write_files(tmp_path, "annotations/person_keypoints_train.json", "images")
    for name in ("instances_train.json", "captions_train.json"):
        (tmp_path / "annotations" / name).write_text("{}")
    assert find_annotations(tmp_path, "train").name == "person_keypoints_train.json"
