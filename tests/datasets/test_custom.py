import json

import pytest
import torch
from addict import Dict

from datasets.build import build_dataset, build_sets
from datasets.custom import completed
from datasets.evaluate import keypoint_stats, to_results
from grouppose.errors import InputError, MissingFileError
from grouppose.skeleton import DEFAULT_SIGMA, read_skeleton
from tests.datasets.sets import contents, person, settings, write_custom

SIZES = {1: (50, 60), 2: (50, 60)}
NAMES = ["L_Ear", "R_Ear", "tail"]


def animals(people, names=NAMES, categories=((7, "cat"),), **category):
    data = contents(SIZES, people, len(names))
    data["categories"] = [
        {"id": number, "name": name, "keypoints": names, "skeleton": [[1, 3]], **category}
        for number, name in categories
    ]
    return data


def custom(folder, **changes):
    unset = {"num_body_points": 0, "num_classes": 0}
    return settings(folder, **{"dataset_file": "custom", **unset, **changes})


def animal(number, image_id, category=7, **changes):
    return person(number, image_id, 3, category_id=category, **changes)


def test_keypoints_names_limbs_pairs_and_classes_are_the_files(tmp_path):
    write_custom(tmp_path, animals([animal(1, 1)]))
    write_custom(tmp_path, animals([animal(1, 2)]), "animals_val.json")
    sets, cfg = build_sets(("train", "val"), custom(tmp_path))
    skeleton = sets["train"].skeleton
    assert skeleton.names == tuple(NAMES) and skeleton.flip_pairs == ((0, 1),)
    assert skeleton.limbs == ((0, 2),) and skeleton.sigmas == (DEFAULT_SIGMA,) * 3
    assert str(sets["train"].poses) == (
        "3 keypoints, 1 left-right pairs, 1 limbs; sigmas: the default, 0.079 each, as nobody "
        "states them"
    )
    assert (cfg.num_body_points, cfg.num_classes, cfg.categories) == (3, 2, [[7, "cat"]])
    assert cfg.skeleton == skeleton.to_dict() and isinstance(cfg, Dict)
    with pytest.raises(KeyError):
        cfg.num_body_pionts  # noqa: B018 - still frozen
    image, target = sets["val"][1]
    assert image.shape[-1] > 60 and target["labels"].tolist() == [1]


def test_each_category_is_a_class_and_is_scored_on_its_own(tmp_path):
    people = [animal(1, 1, 9), animal(2, 2, 7)]
    data = animals(people, categories=((9, "fox"), (7, "cat")))
    write_custom(tmp_path, data)
    sets, cfg = build_sets(("train",), custom(tmp_path))
    dataset = sets["train"]
    assert cfg.categories == [[7, "cat"], [9, "fox"]] and cfg.num_classes == 3
    assert [dataset.view()[i][1]["labels"].tolist() for i in (0, 1)] == [[2], [1]]
    # the fox is found and called a fox, the cat is called a fox
    place = torch.tensor(people[0]["keypoints"]).reshape(1, 3, 3)[..., :2].float()
    found = {"scores": torch.tensor([0.9]), "labels": torch.tensor([2]), "keypoints": place}
    results = to_results([1, 2], [found, found], [7, 9])
    stats = keypoint_stats(dataset.annotation_file, results, by_category=True)
    assert stats["AP"] == pytest.approx(0.5)  # fox 1, cat 0; the wrong fox comes second
    assert keypoint_stats(dataset.annotation_file, results)["AP"] == pytest.approx(1.0)
    one = build_dataset("train", custom(tmp_path, num_classes=2))
    assert one.poses.categories == [] and one.view()[0][1]["labels"].tolist() == [1]


def test_classes_of_a_checkpoint_count_whatever_the_file_lists(tmp_path):
    data = animals([animal(1, 1, 9)], categories=((9, "fox"),))
    stored = {"categories": [[7, "cat"], [9, "fox"]], "num_classes": 3, "num_body_points": 3}
    dataset = build_dataset("train", custom(write_custom(tmp_path, data), **stored))
    assert dataset.view()[0][1]["labels"].tolist() == [2]
    with pytest.raises(InputError, match="annotation 1 has category_id 9, expected one of 7"):
        stored = {"categories": [[7, "cat"]], "num_classes": 2}
        build_dataset("train", custom(tmp_path, **stored))


def test_sigmas_of_the_file_of_a_known_skeleton_and_of_a_given_one(tmp_path):
    write_custom(tmp_path, animals([animal(1, 1)], sigmas=[0.1, 0.2, 0.3]))
    poses = build_dataset("train", custom(tmp_path)).poses
    assert poses.skeleton.sigmas == (0.1, 0.2, 0.3)
    assert poses.sigmas_from == "those of the annotation file"
    known = read_skeleton("mpii")
    data = animals([person(1, 1, 16, category_id=7)], names=[n.upper() for n in known.names])
    poses = build_dataset("train", custom(write_custom(tmp_path / "mpii", data))).poses
    assert poses.skeleton == known and poses.sigmas_from == "those of the skeleton mpii"
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"names": ["a", "b", "c"], "flip_pairs": [[1, 2]]}))
    given = build_dataset("train", custom(tmp_path, skeleton=str(file))).poses
    assert given.skeleton.names == ("a", "b", "c") and given.skeleton.flip_order == (0, 2, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_body_points": 17}, "annotations have 3 keypoints, num_body_points is 17; leave"),
        ({"num_classes": 5}, "num_classes is 5, the annotations have 1 categories"),
        ({"skeleton": "halpe26"}, "the skeleton has 26 keypoints, the annotations have 3"),
    ],
)
def test_settings_that_do_not_fit_the_file(tmp_path, change, message):
    write_custom(tmp_path, animals([animal(1, 1)]))
    with pytest.raises(InputError, match=message):
        build_dataset("train", custom(tmp_path, **change))


def test_categories_of_other_keypoints_are_refused(tmp_path):
    data = animals([animal(1, 1)])
    data["categories"].append({"id": 8, "name": "fish", "keypoints": ["fin"]})
    with pytest.raises(InputError, match="'cat' and 'fish' have different keypoints"):
        build_dataset("train", custom(write_custom(tmp_path, data)))


def test_missing_areas_and_boxes_are_taken_from_what_there_is():
    people = [
        animal(1, 1, area=0, bbox=[0, 0, 20, 10]),
        animal(2, 1, bbox=[0, 0, 0, 0]),
        animal(3, 1, keypoints=[100, 50, 2, 180, 50, 2, 0, 0, 0]),
    ]
    del people[0]["area"], people[2]["bbox"], people[2]["area"]
    first, second, third = completed(animals(people))["annotations"]
    assert first["area"] == pytest.approx(0.53 * 200)
    assert second["area"] == 600 and min(second["bbox"][2:]) == 32
    assert third["bbox"] == [90, 34, 100, 32]  # an eighth of 80 on either side; 32 at least
    assert third["area"] == pytest.approx(0.53 * 3200)


@pytest.mark.parametrize("size", [1, 200])
def test_one_keypoint_and_two_hundred(tmp_path, size):
    names = [f"{side}_{i}" for i in range(size // 2) for side in "lr"] or ["nose"]
    people = [person(1, 1, size, category_id=7), person(2, 1, size, category_id=7)]
    people[1]["keypoints"][:3] = [-5, 49, 2]  # outside the picture
    del people[0]["bbox"]
    dataset = build_dataset("train", custom(write_custom(tmp_path, animals(people, names))))
    assert len(dataset.skeleton.flip_pairs) == size // 2
    for epoch in range(4):
        dataset.set_epoch(epoch)
        _, target = dataset[0]
        assert target["keypoints"].shape[1:] == (size, 2)
        assert 0 <= target["keypoints"].min() and target["keypoints"].max() <= 1
        assert (target["area"] > 0).all()


def test_files_are_found_by_their_names(tmp_path):
    data = animals([animal(1, 1)])
    write_custom(tmp_path, data, "mouse-train2.json", "images/train")
    write_custom(tmp_path, data, "mouse_trainval.json", "images/train")
    assert len(build_dataset("train", custom(tmp_path))) == 1
    with pytest.raises(MissingFileError, match="mouse-train2.json.*'val' or 'test' in its name"):
        build_dataset("val", custom(tmp_path))
    val = build_dataset("val", custom(tmp_path, val_annotations="annotations/mouse_trainval.json",
                                      val_images="images/train"))  # fmt: skip
    assert len(val) == 2
    write_custom(tmp_path, data, "train.json", "images/train")
    with pytest.raises(MissingFileError, match="mouse-train2.json, annotations/train.json; expe"):
        build_dataset("train", custom(tmp_path))
    for file in (tmp_path / "images/train").iterdir():
        file.unlink()
    with pytest.raises(MissingFileError, match=r"no picture 001.png in .* set train_images=DIR"):
        build_dataset("train", custom(tmp_path, train_annotations="annotations/train.json"))
