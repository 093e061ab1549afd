import json
import shutil

import cv2
import numpy as np
import pytest

from datasets import synthetic
from datasets.annotations import flat_annotations, read_annotations, skeleton_in
from datasets.synthetic import crowd_index, draw_people, main, write_dataset
from grouppose.errors import InputError
from grouppose.skeleton import COCO, CROWDPOSE, OCHUMAN, Skeleton
from tests.datasets.figures.drawn import array


def test_same_arguments_same_picture():
    image, people = draw_people(3, 5, 96)
    draw_people(3, 6, 96)
    again, people_again = draw_people(3, 5, 96)
    assert image.dtype == np.uint8 and image.shape == (96, 96, 3)
    assert image.tobytes() == again.tobytes() and people == people_again
    for seed, index in ((3, 6), (4, 5)):
        assert draw_people(seed, index, 96)[0].tobytes() != image.tobytes()


def test_another_skeleton_labels_the_same_picture():
    image, coco = draw_people(0, 8, 96, COCO)
    for skeleton in (CROWDPOSE, OCHUMAN):
        same, people = draw_people(0, 8, 96, skeleton)
        assert same.tobytes() == image.tobytes()
        for name in ("left_knee", "right_wrist"):
            here, there = skeleton.names.index(name), COCO.names.index(name)
            assert (array(people, skeleton)[:, here] == array(coco)[:, there]).all()


def test_people_are_annotated_in_cocos_terms():
    counts = set()
    for index in range(40):
        _, people = draw_people(1, index, 96)
        counts.add(len(people))
        keypoints = array(people)
        outside = keypoints[..., 2] == 0
        assert (keypoints[outside] == 0).all()
        assert (keypoints[..., :2] >= -0.5).all() and (keypoints[..., :2] < 95.5).all()
        for person, row in zip(people, keypoints, strict=True):
            assert person["num_keypoints"] == (row[:, 2] > 0).sum() > 0
            x, y, w, h = person["bbox"]
            assert 0 <= x < x + w <= 96 and 0 <= y < y + h <= 96
            assert 0 < person["area"] <= w * h
            visible = row[row[:, 2] == 2, :2] + 0.5  # pixel centres are in the middle of pixels
            assert (visible >= (x - 0.5, y - 0.5)).all()
            assert (visible <= (x + w + 0.5, y + h + 0.5)).all()
    assert counts == {1, 2, 3, 4}


def test_crowd_index_by_hand():
    def person(*points):
        keypoints = [c for x, y, v in points for c in (x, y, v)]
        labelled = sum(v > 0 for _, _, v in points)
        return {"keypoints": keypoints, "num_keypoints": labelled, "bbox": [0, 0, 10, 10]}

    alone = person((1, 1, 2), (2, 2, 2), (3, 3, 1), (4, 4, 2))
    half_inside = person((5, 5, 2), (5, 10, 1), (20, 20, 2), (0, 0, 0))
    assert crowd_index([alone]) == 0
    # two of the second's three points are in the first's box, all four of the first's in its box
    assert crowd_index([alone, half_inside]) == pytest.approx((2 / 4 + 4 / 3) / 2)
    assert crowd_index([]) == 0


def test_coco_layout(tmp_path):
    folder = tmp_path / "new" / "people"
    write_dataset(folder, train=5, val=3, seed=2, size=64)
    assert sorted(path.name for path in folder.iterdir()) == [
        "annotations",
        "images",
        "synthetic.json",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["people"]  # nothing beside it
    numbers = []
    for split, count in (("train", 5), ("val", 3)):
        contents = read_annotations(folder / f"annotations/person_keypoints_{split}2017.json")
        assert skeleton_in(contents, 17) == COCO
        assert contents["categories"][0]["skeleton"][0] == [6, 8]  # from 1: left shoulder, elbow
        data = flat_annotations(contents, 17, box_area=False)
        assert len(data.image_ids) == count
        numbers += [entry["id"] for entry in contents["annotations"]]
        for i, name in enumerate(data.file_names):
            picture = cv2.imread(str(folder / f"images/{split}2017" / name.decode()))[..., ::-1]
            image, people = draw_people(2, i + (split == "val") * synthetic.VAL_INDEX, 64)
            assert np.abs(picture.astype(int) - image).mean() < 12  # what JPEG changes
            rows = slice(data.first[i], data.first[i + 1])
            assert np.array_equal(data.keypoints[rows], array(people).astype(np.float32))
    assert numbers == list(range(1, len(numbers) + 1))


def test_crowdpose_layout(tmp_path):
    write_dataset(tmp_path / "people", train=7, val=2, size=64, skeleton=CROWDPOSE)
    ids = {}
    for split in ("train", "val", "trainval", "test"):
        contents = read_annotations(tmp_path / f"people/json/crowdpose_{split}.json")
        ids[split] = [entry["id"] for entry in contents["images"]]
        for image in contents["images"]:
            people = [e for e in contents["annotations"] if e["image_id"] == image["id"]]
            assert image["crowdIndex"] == crowd_index(people)
            assert (tmp_path / "people/images" / image["file_name"]).is_file()
    assert ids["train"] == [1, 2, 3, 4, 5, 6] and ids["val"] == [7]
    assert ids["trainval"] == [1, 2, 3, 4, 5, 6, 7] and ids["test"] == [8, 9]
    assert skeleton_in(contents, 14) == CROWDPOSE


def test_number_of_workers_changes_nothing(tmp_path):
    for workers in (1, 2):
        write_dataset(tmp_path / str(workers), train=3, val=1, size=48, workers=workers)
    files = {
        workers: {
            path.relative_to(tmp_path / workers): path.read_bytes()
            for path in (tmp_path / workers).rglob("*.*")
        }
        for workers in ("1", "2")
    }
    assert len(files["1"]) == 4 + 2 + 1 and files["1"] == files["2"]


def test_a_set_is_reused_if_it_is_the_same_and_refused_otherwise(tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()  # an empty folder is as good as none
    write_dataset(folder, train=1, val=1, size=48)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    write_dataset(folder, train=1, val=1, size=48)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(InputError, match="train 1 instead of 2, seed 0 instead of 9; give another"):
        write_dataset(folder, train=2, val=1, seed=9, size=48)
    (folder / "synthetic.json").write_text("{")
    with pytest.raises(InputError, match="synthetic.json is damaged"):
        write_dataset(folder, train=1, val=1, size=48)
    (folder / "synthetic.json").unlink()
    with pytest.raises(InputError, match="is not empty and holds no synthetic.json"):
        write_dataset(folder, train=1, val=1, size=48)


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(drawn):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "_numbered", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "people", train=2, val=1, size=48)
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_be_faster(tmp_path, monkeypatch):
    folder = tmp_path / "people"
    recipe = tmp_path / "recipe"
    write_dataset(recipe, train=1, val=1, size=48)
    write_files = synthetic._write_files

    def slow(*arguments):
        write_files(*arguments)
        shutil.copytree(recipe, folder)

    monkeypatch.setattr(synthetic, "_write_files", slow)
    write_dataset(folder, train=1, val=1, size=48)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people", "recipe"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make a folder beside .*; give another folder"):
        write_dataset(tmp_path / "file" / "people", train=1, val=1, size=48)


def test_too_small_a_picture():
    with pytest.raises(InputError, match="size is 31, expected at least 32 pixels"):
        draw_people(0, 0, 31)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train": 0}, "train is 0, expected at least 1"),
        ({"val": 0}, "val is 0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"size": 16}, "size is 16, expected at least 32"),
        ({"skeleton": Skeleton.from_names(["tail"])}, "no keypoint 'tail'"),
    ],
)
def test_wrong_settings(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        write_dataset(tmp_path / "people", **{"train": 1, "val": 1, "size": 48, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, capsys):
    preview = tmp_path / "preview.png"
    assert main(["--preview", str(preview), "--size", "48"]) == 0
    grid = cv2.imread(str(preview))
    assert grid.shape == (4 * (96 + 2) + 2, 6 * (96 + 2) + 2, 3)
    folder = tmp_path / "people"
    command = [str(folder), "--train", "2", "--val", "1", "--size", "48", "--skeleton"]
    assert main([*command, "crowdpose"]) == 0
    assert json.loads((folder / "synthetic.json").read_text())["num_body_points"] == 14
    assert main([*command, "coco"]) == 1
    assert "num_body_points 14 instead of 17" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([])
