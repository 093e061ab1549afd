import pytest

from datasets import yolo
from grouppose.errors import MissingFileError
from grouppose.skeleton import COCO, Skeleton


def test_two_numbers_a_keypoint_and_no_names():
    content = {"kpt_shape": [3, 2], "flip_idx": [0, 2, 1], "names": ["x"]}
    poses = yolo.poses_of(content, "data.yaml")
    assert poses.skeleton.names == ("keypoint_0", "left_1", "right_1")
    (found,) = yolo.read_labels("0 .5 .5 1 1 0 0 -0.1 .5 .5 .5", "a.txt", poses, (10, 20))
    assert found["keypoints"] == [0, 0, 0, 0, 0, 0, 10, 5, 2]
    content = {"kpt_shape": [17, 3], "flip_idx": list(COCO.flip_order), "names": {0: "person"}}
    assert yolo.poses_of(content, "data.yaml").skeleton is COCO


POSES = yolo.Poses(("cat", "dog"), Skeleton.from_names(["left_ear", "right_ear"]))


def test_a_line_by_hand_and_back():
    line = "1 0.5 0.25 0.2 0.1 0.45 0.3 2 0.55 0.2 1"
    (found,) = yolo.read_labels(f"\n{line}\n", "a.txt", POSES, (40, 80))
    assert found == {
        "category_id": 2,
        "keypoints": [36, 12, 2, 44, 8, 1],
        "num_keypoints": 2,
        "bbox": [32, 8, 16, 4],
        "area": pytest.approx(0.53 * 64),
        "iscrowd": 0,
    }
    assert yolo.label_line(found, 1, (40, 80)) == line


def test_what_lies_outside_moves_to_the_border():
    person = {"bbox": [-10, 10, 30, 40], "keypoints": [-5, 20, 2, 90, 3, 0]}
    assert yolo.label_line(person, 0, (40, 80)) == "0 0.125 0.625 0.25 0.75 0 0.5 2 0 0 0"


def test_a_yaml_says_what_poses_it_is_of(tmp_path):
    text = yolo.to_yaml(POSES, ["train", "val"])
    (tmp_path / "data.yaml").write_text(text)
    content = yolo.read_yaml(tmp_path / "data.yaml")
    assert content["train"] == "images/train" and content["flip_idx"] == [1, 0]
    assert yolo.poses_of(content, "data.yaml") == POSES
    with pytest.raises(MissingFileError, match="no file .*none.yaml; give a data.yaml"):
        yolo.read_yaml(tmp_path / "none.yaml")
