import json
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from datasets.check import main
from grouppose.skeleton import read_skeleton

NAMES = ["left_ear", "right_ear", "tail"]


def write(folder, changes=()):
    """A set of two pictures and two animals; `changes` are applied to its annotations."""
    (folder / "images/train2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 30)).save(folder / "images/train2017" / name)
    people = [
        {
            "id": i,
            "image_id": i,
            "category_id": 1,
            "keypoints": [1, 2, 2, 3, 4, 2, 5, 6, 1],
            "num_keypoints": 3,
            "bbox": [1, 2, 10, 10],
            "area": 50,
            "iscrowd": 0,
        }
        for i in (1, 2)
    ]
    for row, change in enumerate(changes):
        people[row].update(change)
    contents = {
        "images": [
            {"id": i, "file_name": name, "height": 30, "width": 40}
            for i, name in ((1, "a.jpg"), (2, "b.jpg"))
        ],
        "annotations": people,
        "categories": [{"id": 1, "name": "cat", "keypoints": NAMES, "skeleton": [[1, 2]]}],
    }
    file = folder / "annotations/person_keypoints_train2017.json"
    file.write_text(json.dumps(contents))
    return file


def test_a_good_set_is_described(tmp_path, capsys):
    write(tmp_path)
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "2 pictures, 2 annotations with 3 keypoints, 1 categories" in printed
    assert "flipping exchanges left_ear - right_ear; it leaves tail in place" in printed
    assert "1 limbs; sigmas all 0.079, as nobody stated them" in printed
    assert printed.endswith("nothing to correct\n")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"keypoints": [1, 2, 2]}, 1, "! 1 annotations have another number of values than 9"),
        ({"id": 2}, 1, "! 1 annotation ids are used twice; give each its own: 2"),
        ({"id": 0}, 1, "! 1 annotations have id 0"),
        ({"bbox": [1, 2, 0, 10]}, 1, "! 1 annotations have no 'bbox'"),
        ({"area": 0}, 1, "! 1 annotations have an 'area' of 0"),
        ({"num_keypoints": 2}, 0, "- 1 annotations have another 'num_keypoints'"),
        ({"keypoints": [1, 2, 2, 3, 4, 2, 50, 6, 1]}, 0, "- 1 annotations have visible keypoints"),
        ({"keypoints": [0] * 9, "num_keypoints": 0}, 0, "- 1 annotations have no labelled"),
        ({"image_id": 2}, 0, "- 1 pictures have nobody annotated"),
    ],
)
def test_each_problem_is_named_with_its_id(tmp_path, capsys, change, code, message):
    write(tmp_path, [change, {"keypoints": [1, 2, 2, 3, 4, 2, 5, 6, 1]}])
    assert main([str(tmp_path)]) == code
    assert message in capsys.readouterr().out


def test_missing_pictures_and_names(tmp_path, capsys):
    file = write(tmp_path)
    contents = json.loads(file.read_text())
    contents["categories"][0]["keypoints"] = NAMES[:2]
    file.write_text(json.dumps(contents))
    (tmp_path / "images/train2017/b.jpg").unlink()
    images = tmp_path / "images/train2017"
    assert main(["--annotations", str(file), "--images", str(images)]) == 1
    printed = capsys.readouterr().out
    assert f"! 1 pictures have no file in {images}" in printed and ": 2" in printed
    assert "- 1 categories do not name 3 keypoints" in printed


def test_sigmas_are_estimated_from_repeated_labels_and_written(tmp_path, capsys):
    """Two labels of the first picture's animal, ears 1 apart; area 50: sqrt(0.5 / 50)."""
    again = {"image_id": 1, "keypoints": [2, 2, 2, 4, 4, 2, 5, 6, 1]}
    write(tmp_path, [{}, again])
    out = tmp_path / "mine.json"
    assert main([str(tmp_path), "--estimate-sigmas", "--skeleton-out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "sigmas from 1 people who are labelled more than once" in printed
    assert "left_ear: 0.1 (1 deviations)" in printed
    assert "tail: 0.079 (kept: no repeated label differs)" in printed
    skeleton = read_skeleton(out)
    assert skeleton.names == tuple(NAMES) and skeleton.sigmas == (0.1, 0.1, 0.079)
    assert json.loads(out.read_text())["flip_pairs"] == [["left_ear", "right_ear"]]


def test_nothing_is_estimated_from_people_labelled_once(tmp_path, capsys):
    write(tmp_path)
    assert main([str(tmp_path), "--estimate-sigmas"]) == 0
    assert "nobody is labelled more than once" in capsys.readouterr().out


def test_a_custom_folder_is_found_by_the_names_of_its_files(tmp_path, capsys):
    file = write(tmp_path / "a")
    (tmp_path / "b" / "images").mkdir(parents=True)
    file.rename(tmp_path / "b" / "mice_train.json")
    assert main([str(tmp_path / "b")]) == 1
    assert "! 2 pictures have no file in" in capsys.readouterr().out
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "a/images/train2017" / name).rename(tmp_path / "b/images" / name)
    assert main([str(tmp_path / "b")]) == 0


def test_what_is_no_data_set_ends_with_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "has no annotation file in a known place" in capsys.readouterr().err
    file = write(tmp_path)
    file.write_text("{}")
    assert main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "has no 'images'" in error
    with pytest.raises(SystemExit):
        main([])
    with pytest.raises(SystemExit):
        main(["--annotations", str(file)])


def orient(path, orientation, size=(40, 30)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def test_pictures_that_exif_turns_are_listed(tmp_path, capsys):
    write(tmp_path)
    images = tmp_path / "images/train2017"
    orient(images / "a.jpg", 3)
    orient(images / "b.jpg", 6)
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (
        "- 1 pictures have an EXIF orientation and the same size with and without it; " in printed
    )
    assert "set exif=ignore if they are in the stored one: 1\n" in printed
    assert "- 1 pictures have an EXIF orientation, but 'width' and 'height' are of the " in printed
    assert "their labels are taken to be in the stored one: 2\n" in printed
    orient(images / "a.jpg", 6, (30, 40))  # shown, it has the annotated size
    orient(images / "b.jpg", 1, (40, 31))
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "EXIF" not in printed and "! 1 pictures are of another size than 'width'" in printed


def test_a_class_that_the_training_file_lacks(tmp_path, capsys):
    file = write(tmp_path / "set")
    contents = json.loads(file.read_text())
    contents["categories"][0]["name"] = "cow"
    for folder in ("annotations", "images/val2017"):
        (tmp_path / "set" / folder).mkdir(exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 30)).save(tmp_path / "set/images/val2017" / name)
    train = tmp_path / "set/annotations/train.json"
    file.rename(train)
    (tmp_path / "set/annotations/val.json").write_text(json.dumps(contents))
    assert main([str(tmp_path / "set")]) == 1
    assert "expected one of 1 ('cat'): the model has no 'cow'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "change", "field"),
    [
        ("images", {"height": -3}, "height"),
        ("images", {"width": True}, "width"),
        ("images", {"height": 96.5}, "height"),
        ("images", {"width": "wide"}, "width"),
        ("images", {"height": "30"}, "height"),
        ("images", {"file_name": None}, "file_name"),
        ("images", {"file_name": "a.jpg"}, "file_name"),
        ("annotations", {"category_id": 5}, "category_id"),
        ("annotations", {"category_id": [1]}, "category_id"),
        ("annotations", {"category_id": "1"}, "category_id"),
        ("annotations", {"category_id": None}, "category_id"),
        ("annotations", {"iscrowd": 1}, "iscrowd"),
        ("annotations", {"iscrowd": "many"}, "iscrowd"),
        ("annotations", {"keypoints": []}, "keypoints"),
        ("annotations", {"keypoints": ["x"] * 9}, "keypoints"),
        ("categories", {"sigmas": [0.1]}, "sigmas"),
        ("categories", {"sigmas": ["a", 1, 1]}, "sigmas"),
        ("categories", {"sigmas": [0.1, -1, 1]}, "sigmas"),
        ("categories", {"keypoints": ["a", "a", "b"]}, "keypoints"),
    ],
)
def test_the_field_is_named(tmp_path, capsys, part, change, field):
    file = write(tmp_path)
    contents = json.loads(file.read_text())
    for entry in contents[part]:
        entry.update(change)
    file.write_text(json.dumps(contents))
    assert main(["--annotations", str(file), "--images", str(tmp_path / "images/train2017")]) == 1
    printed = "".join(capsys.readouterr())
    assert field in printed and "Traceback" not in printed


def test_categories_of_different_keypoints(tmp_path, capsys):
    file = write(tmp_path)
    contents = json.loads(file.read_text())
    contents["categories"].append({"id": 2, "name": "fish", "keypoints": ["fin"]})
    file.write_text(json.dumps(contents))
    assert main(["--annotations", str(file), "--images", str(tmp_path / "images/train2017")]) == 1
    assert "'cat' and 'fish' have different keypoints" in capsys.readouterr().out


def test_every_picture_is_decoded_if_asked(tmp_path, capsys):
    write(tmp_path)
    path = tmp_path / "images/train2017/b.jpg"
    path.write_bytes(path.read_bytes()[:-20])  # its header is whole
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--pictures"]) == 1
    assert "! 1 pictures cannot be read; replace the files or leave them out: 2" in (
        capsys.readouterr().out
    )
    path.write_bytes(b"no picture")
    assert main([str(tmp_path)]) == 1


def test_names_of_other_machines_and_systems(tmp_path, capsys):
    file = write(tmp_path)
    images = tmp_path / "images/train2017"
    contents = json.loads(file.read_text())
    contents["images"][0]["file_name"] = r"C:\Users\me\set\a.jpg"
    contents["images"][1]["file_name"] = str(images / "b.jpg")
    file.write_text(json.dumps(contents))
    assert main(["--annotations", str(file), "--images", str(images)]) == 0
    assert "- 1 pictures have a 'file_name' of another machine or" in capsys.readouterr().out
    contents["images"][0]["file_name"] = "/nowhere/c.jpg"
    file.write_text(json.dumps(contents))
    assert main(["--annotations", str(file), "--images", str(images)]) == 1
    assert "! 1 pictures have no file in" in capsys.readouterr().out


def test_damaged_segmentations_of_crowds_are_listed(tmp_path, capsys):
    bad = {"iscrowd": 1, "segmentation": {"size": [30, 40], "counts": [7]}}
    write(tmp_path, [bad, {"segmentation": [[1, 2]]}])  # who is labelled is drawn by nobody
    main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "- 1 crowds and people without labels have a damaged 'segmentation'; " in printed
    assert "correct it, or leave it out for the box: 1\n" in printed


def test_pictures_in_a_zip_are_looked_at_too(tmp_path, capsys):
    file = write(tmp_path)
    images = tmp_path / "images/train2017"
    (images / "b.jpg").write_bytes((images / "b.jpg").read_bytes()[:-20])
    for root in ((images, None), (images.parent, images.name)):
        packed = shutil.make_archive(str(images), "zip", *root)
        kept = images.rename(tmp_path / "kept")
        assert main([str(tmp_path)]) == 0
        assert main([str(tmp_path), "--pictures"]) == 1
        assert "! 1 pictures cannot be read; replace the files or leave them out: 2" in (
            capsys.readouterr().out
        )
        assert main(["--annotations", str(file), "--images", packed]) == 0
        kept.rename(images)
    with zipfile.ZipFile(packed, "w") as emptied:
        emptied.write(images / "a.jpg", "a.jpg")
    shutil.rmtree(images)
    capsys.readouterr()
    assert main([str(tmp_path)]) == 1
    assert f"! 1 pictures have no file in {packed}; complete it" in capsys.readouterr().out
    Path(packed).write_bytes(b"PK")
    assert main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {packed} cannot be read as a zip (") and error.count("\n") == 1
