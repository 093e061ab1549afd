import json
import shutil

import pytest
from PIL import Image

from datasets.build import build_sets
from datasets.convert import main
from grouppose.errors import InputError
from grouppose.skeleton import Skeleton
from tests.datasets.sets import contents, person, settings, write_custom

DATA = """
# As https://docs.ultralytics.com/datasets/pose/ has it
path: tiny # dataset root dir, here not there
train: images/train
val: images/val
test:

kpt_shape: [3, 3]
flip_idx: [1, 0, 2]
names:
  0: cat
  1: dog
kpt_names:
  0: [left_ear, right_ear, tail]
  1: [left_ear, right_ear, tail]
"""
LABELS = (
    "1 0.5 0.5 0.25 0.5 0.4 0.3 2 0.6 0.3 1 0 0 0\n0 0.1 0.2 0.1 0.2 0.1 0.123457 2 0 0 0 0 0 0\n"
)


def picture(path, size=(80, 40), orientation=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def write_yolo(folder, data=DATA, labels=LABELS):
    for split in ("train", "val"):
        picture(folder / "images" / split / "sub" / "a.jpg")
        picture(folder / "images" / split / "nobody.png")
        file = folder / "labels" / split / "sub" / "a.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(labels)
    (folder / "data.yaml").write_text(data)
    return folder


def test_the_documented_form_to_coco_and_back(tmp_path, capsys):
    source = write_yolo(tmp_path / "yolo")
    assert main([str(source / "data.yaml"), str(tmp_path / "coco")]) == 0
    assert "train: 2 pictures, 2 people" in capsys.readouterr().out
    data = json.loads((tmp_path / "coco/annotations/train.json").read_text())
    assert [image["file_name"] for image in data["images"]] == ["nobody.png", "sub/a.jpg"]
    dog, cat = data["annotations"]
    assert dog["bbox"] == [30, 10, 20, 20] and dog["category_id"] == 2 and dog["image_id"] == 2
    assert dog["keypoints"] == [32, 12, 2, 48, 12, 1, 0, 0, 0] and dog["num_keypoints"] == 2
    assert dog["area"] == pytest.approx(0.53 * 400) and cat["keypoints"][:2] == [8, 4.93828]
    unset = {"num_body_points": 0, "num_classes": 0, "dataset_file": "custom"}
    sets, cfg = build_sets(("train", "val"), settings(tmp_path / "coco", **unset))
    assert cfg.categories == [[1, "cat"], [2, "dog"]] and len(sets["val"]) == 2
    assert sets["train"].skeleton.flip_pairs == ((0, 1),)
    assert main([str(tmp_path / "coco"), str(tmp_path / "again")]) == 0
    assert (tmp_path / "again/labels/val/sub/a.txt").read_text() == LABELS
    assert (tmp_path / "again/labels/val/nobody.txt").read_text() == ""
    assert (tmp_path / "again/images/val/sub/a.jpg").is_file()
    assert main([str(tmp_path / "again"), str(tmp_path / "third")]) == 0
    third = json.loads((tmp_path / "third/annotations/train.json").read_text())
    assert third == data


def test_coco_there_and_back_keeps_every_number(tmp_path):
    points = [83.81, 25.68, 2, 0.01, 29.999, 1, 0, 0, 0]
    people = [person(1, 1, 3, category_id=7, keypoints=points, bbox=[1.37, 2.2, 90.13, 27.5])]
    people.append(person(2, 1, 3, category_id=7, iscrowd=1))
    data = contents({1: (30, 97)}, people, 3)
    names = ["left_ear", "right_ear", "tail"]
    data["categories"] = [{"id": 7, "name": "cat", "keypoints": names}]
    write_custom(tmp_path / "coco", data)
    assert main([str(tmp_path / "coco"), str(tmp_path / "yolo")]) == 0
    text = (tmp_path / "yolo/data.yaml").read_text()
    assert "train: images/train" in text and "flip_idx: [1, 0, 2]" in text
    assert main([str(tmp_path / "yolo"), str(tmp_path / "back")]) == 0
    back = json.loads((tmp_path / "back/annotations/train.json").read_text())
    assert [entry["keypoints"] for entry in back["annotations"]] == [points]  # no crowd
    assert back["annotations"][0]["bbox"] == pytest.approx([1.37, 2.2, 90.13, 27.5], abs=1e-9)
    assert back["categories"][0]["name"] == "cat"


def test_labels_are_in_the_picture_as_it_is_shown(tmp_path):
    source = write_yolo(tmp_path / "yolo")
    picture(source / "images/train/sub/a.jpg", (40, 80), orientation=6)
    assert main([str(source), str(tmp_path / "coco")]) == 0
    data = json.loads((tmp_path / "coco/annotations/train.json").read_text())
    assert (data["images"][1]["height"], data["images"][1]["width"]) == (40, 80)


def test_roboflows_folders_and_lists_of_pictures(tmp_path):
    source = write_yolo(tmp_path / "yolo")
    for split, folder in (("train", "train"), ("val", "valid")):
        for kind in ("images", "labels"):
            (source / folder).mkdir(exist_ok=True)
            (source / kind / split).rename(source / folder / kind)
    data = DATA.replace("images/train", "../train/images").replace("val: images/val", "val: v.txt")
    (source / "data.yaml").write_text(data)
    (source / "v.txt").write_text("./valid/images/sub/a.jpg\n")
    assert main([str(source), str(tmp_path / "coco")]) == 0
    counts = []
    for split in ("train", "val"):
        data = json.loads((tmp_path / f"coco/annotations/{split}.json").read_text())
        counts.append((len(data["images"]), len(data["annotations"])))
    assert counts == [(2, 2), (1, 2)]


def test_pairs_that_names_do_not_say_come_in_a_skeleton_file(tmp_path):
    data = DATA.replace("left_ear, right_ear", "a, b")
    assert main([str(write_yolo(tmp_path / "yolo", data)), str(tmp_path / "coco")]) == 0
    content = json.loads((tmp_path / "coco/skeleton.json").read_text())
    assert Skeleton.from_dict(content).flip_order == (1, 0, 2)


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (DATA, "0 1 1 1", "a.txt:1 has 4 numbers, expected 14: class, box and 3 keypoints of 3"),
        (DATA, LABELS.replace("1 0.5", "2 0.5", 1), "a.txt:1 has class 2, expected 0 to 1"),
        (DATA, LABELS.replace("0.6", "48"), "a.txt:1 has 48.0; expected shares of the picture"),
        (DATA, LABELS.replace("0.6", "x"), "a.txt:1 has something else than numbers"),
        (DATA.replace("[3, 3]", "[3, 4]"), LABELS, r"kpt_shape is \[3, 4\], expected"),
        (DATA.replace("[1, 0, 2]", "[1, 2, 0]"), LABELS, "flip_idx is .*expected pairs of 0 to 2"),
        (DATA.replace("1: dog", "5: dog"), LABELS, "names are .*expected a class for each of 0, 1"),
        (DATA.replace("images/train", "images/nowhere"), LABELS, "no .*images/nowhere; complete"),
        ("a: [", LABELS, "is not YAML"),
        ("a: 1", LABELS, "has no 'kpt_shape'"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(tmp_path, capsys, data, labels, message):
    source = write_yolo(tmp_path / "yolo", data, labels)
    assert main([str(source / "data.yaml"), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    with pytest.raises(InputError, match=message):
        raise InputError(error)
    assert not (tmp_path / "out").exists()


def test_the_new_folder_must_be_new(tmp_path, capsys):
    source = write_yolo(tmp_path / "yolo")
    assert main([str(source), str(source)]) == 1
    assert "is there already; give OUT as a new folder" in capsys.readouterr().err
    assert main([str(source), str(tmp_path / "x" / ".." / "yolo")]) == 1
    assert "/x; change OUT" in capsys.readouterr().err
    assert not (source / "annotations").exists()


def test_pictures_in_a_zip_are_copied(tmp_path):
    folder = write_custom(tmp_path / "set", contents({1: (50, 60)}, [person(1, 1)]))
    content = (folder / "images/001.png").read_bytes()
    shutil.make_archive(str(folder / "images"), "zip", folder / "images")
    shutil.rmtree(folder / "images")
    assert main([str(folder), str(tmp_path / "yolo")]) == 0
    assert (tmp_path / "yolo/images/train/001.png").read_bytes() == content
    assert (tmp_path / "yolo/labels/train/001.txt").is_file()
