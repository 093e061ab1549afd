import json

import pytest
import torch

from datasets.build import build_dataset, build_sets
from datasets.evaluate import keypoint_stats, to_results
from datasets.naming import class_ids
from grouppose.errors import InputError
from grouppose.skeleton import COCO, Skeleton
from tests.datasets.sets import contents, person, settings, write_custom, write_set

NAMES = ["left_ear", "right_ear", "tail"]
SIZES = {1: (50, 60)}


def custom(folder, **changes):
    unset = {"num_body_points": 0, "num_classes": 0}
    return settings(folder, **{"dataset_file": "custom", **unset, **changes})


def write(folder, name, names=NAMES, classes=((7, "cat"),), category=7):
    """A set of one picture whose animal has its left ear at 10, 20, the others right of it."""
    data = contents(SIZES, [person(1, 1, len(names), category_id=category)], len(names))
    points = {key: [10 + NAMES.index(key), 20, 2] if key in NAMES else [1, 1, 2] for key in names}
    data["annotations"][0]["keypoints"] = [v for key in names for v in points[key]]
    data["categories"] = [{"id": i, "name": text, "keypoints": names} for i, text in classes]
    return write_custom(folder, data, name)


def test_another_order_is_read_by_name_and_scored_in_the_files(tmp_path):
    write(tmp_path, "train.json")
    write(tmp_path, "val.json", [NAMES[2], NAMES[0], NAMES[1]])
    sets, cfg = build_sets(("train", "val"), custom(tmp_path))
    val = sets["val"]
    assert val.skeleton is sets["train"].skeleton and cfg.skeleton["names"] == NAMES
    size = torch.tensor([60, 50])
    assert (val[0][1]["keypoints"][0] * size).round().tolist() == [[10, 20], [11, 20], [12, 20]]
    found = {"scores": torch.ones(1), "labels": torch.ones(1, dtype=torch.int64)}
    found["keypoints"] = torch.tensor([[[10.0, 20], [11, 20], [12, 20]]])
    poses = val.poses
    results = to_results([1], [found], poses.file_ids, poses.file_order)
    assert results[0]["keypoints"] == [12, 20, 1, 10, 20, 1, 11, 20, 1]
    assert poses.file_skeleton.names == ("tail", "left_ear", "right_ear")
    stats = keypoint_stats(val.annotation_file, results, skeleton=poses.file_skeleton)
    assert stats["AP"] == pytest.approx(1)
    again = build_dataset("val", custom(tmp_path, **cfg.to_dict() | {"num_body_points": 3}))
    assert again.poses.order == (1, 2, 0)  # a checkpoint's settings say the same


@pytest.mark.parametrize("names", [["left_ear", "right_ear", "fin"], ["a", "b", "fin"]])
def test_a_keypoint_that_the_model_lacks(tmp_path, names):
    write(tmp_path, "train.json")
    write(tmp_path, "val.json", names)
    with pytest.raises(InputError, match="have the keypoint '(fin|a)', which the model lacks"):
        build_sets(("train", "val"), custom(tmp_path))
    own = tmp_path / "own.json"  # a skeleton that is set says what each file's are
    own.write_text(json.dumps({"names": ["x", "y", "z"]}))
    val = build_dataset("val", custom(tmp_path, skeleton=str(own)))
    assert val.skeleton.names == ("x", "y", "z") and val.poses.order == (0, 1, 2)


def test_a_keypoint_more_than_the_model_has(tmp_path):
    write(tmp_path, "val.json", [*NAMES, "fin"])
    stored = {"skeleton": Skeleton.from_names(NAMES).to_dict(), "num_body_points": 3}
    with pytest.raises(InputError, match="4 keypoints, num_body_points is 3.*model lacks 'fin'"):
        build_dataset("val", custom(tmp_path, **stored))


@pytest.mark.parametrize("dataset_file", ["custom", "coco"])
def test_a_keypoint_less_than_the_model_has(tmp_path, dataset_file):
    write(tmp_path, "val.json", NAMES[:2])
    stored = {"skeleton": Skeleton.from_names(NAMES).to_dict(), "num_body_points": 3}
    place = {"val_annotations": "annotations/val.json", "val_images": "images"}
    cfg = custom(tmp_path, dataset_file=dataset_file, **stored, **place, num_classes=2)
    with pytest.raises(InputError, match="the annotations have 2 .* lack 'tail'"):
        build_dataset("val", cfg)


def test_what_is_fine_tuned_keeps_the_order_of_its_weights(tmp_path):
    classes = ((1, "cow"), (2, "Cat"))
    write(tmp_path, "train.json", [NAMES[2], NAMES[0], NAMES[1]], classes, category=2)
    write(tmp_path, "val.json", NAMES[::-1], classes[:1], category=1)
    skeleton = Skeleton.from_names(NAMES, [(0, 2)], [0.1, 0.2, 0.3])
    start = {"num_body_points": 3, "skeleton": skeleton.to_dict()}
    start["categories"] = [[8, "cat"], [5, "cow"]]
    sets, cfg = build_sets(("train", "val"), custom(tmp_path), start)
    assert cfg.skeleton["names"] == NAMES and cfg.categories == [[2, "Cat"], [1, "cow"]]
    assert sets["train"].poses.file_ids == (2, 1) and sets["val"].poses.file_ids == (2, 1)
    for name, label in (("train", 1), ("val", 2)):
        _, people = sets[name].view(50).sample(0)
        assert people["keypoints"][0].tolist() == [[10, 20], [11, 20], [12, 20]]
        assert people["labels"].tolist() == [label]
    for other in ({}, {"num_body_points": 4}, {**start, "skeleton": None, "categories": []}):
        _, cfg = build_sets(("train",), custom(tmp_path), other)
        assert cfg.skeleton["names"] == [NAMES[2], NAMES[0], NAMES[1]]
        assert cfg.categories == [[1, "cow"], [2, "Cat"]]


def test_names_are_the_same_however_they_are_spelt(tmp_path):
    write(tmp_path, "train.json")
    write(tmp_path, "val.json", ["EAR.R", " Tail ", "ear-left"])
    sets, _ = build_sets(("train", "val"), custom(tmp_path))
    assert sets["val"].poses.order == (2, 0, 1)


def test_a_class_that_a_checkpoint_lacks_tells_the_way_out(tmp_path):
    write(tmp_path, "val.json", classes=((7, "dog"),))
    stored = {"categories": [[7, "cat"]], "num_body_points": 3, "num_classes": 2}
    with pytest.raises(InputError, match=r"has no 'dog'; .*; set categories=\[\] to take"):
        build_dataset("val", custom(tmp_path, **stored))
    cfg = custom(tmp_path, **stored | {"categories": []})
    assert build_dataset("val", cfg).poses.categories == [[7, "dog"]]


def test_published_weights_have_the_published_order(tmp_path):
    names = [name.replace("left", "?").replace("right", "left") for name in COCO.names]
    names = [name.replace("?", "right") for name in names]
    data = contents(SIZES, [person(1, 1)])
    data["categories"][0]["keypoints"] = names
    write_set(tmp_path, data)
    dataset = build_dataset("val", settings(tmp_path))
    assert dataset.skeleton == COCO and dataset.poses.order[:3] == (0, 2, 1)
    unsided = [f"point {i}" for i in range(17)]  # taken for COCO's, as they always were
    data["categories"][0]["keypoints"] = unsided
    write_set(tmp_path / "unsided", data)
    cfg = settings(tmp_path / "unsided", skeleton=COCO.to_dict())
    assert build_dataset("val", cfg).poses.order == tuple(range(17))


def test_classes_are_known_by_name(tmp_path):
    write(tmp_path, "train.json", classes=((3, "cat"), (9, "dog")), category=3)
    write(tmp_path, "val.json", classes=((3, "dog"), (9, "Cat")), category=9)
    sets, cfg = build_sets(("train", "val"), custom(tmp_path))
    assert [sets[s][0][1]["labels"].tolist() for s in ("train", "val")] == [[1], [1]]
    assert cfg.categories == [[3, "cat"], [9, "dog"]] and sets["val"].poses.file_ids == (9, 3)
    write(tmp_path, "val.json", classes=((3, "dog"), (9, "cow")), category=9)
    with pytest.raises(InputError, match="category_id 9, expected one of 3 .*has no 'cow'; "):
        build_sets(("train", "val"), custom(tmp_path))


def test_ids_of_classes():
    listed = [{"id": 3, "name": "dog"}, {"id": 9, "name": "cow"}]
    assert class_ids(listed, [[3, "cat"], [9, "dog"]]) == [10, 3]  # 3 is another's
    assert class_ids(listed, [[3, ""], [9, "dog"]]) == [3, 9]
    assert class_ids(listed, [[5, "cat"], [9, "dog"]]) == [5, 3]
