import pytest

from datasets.build import build_dataset
from datasets.evaluate import keypoint_stats
from grouppose.errors import InputError, MissingFileError
from grouppose.skeleton import COCO, CROWDPOSE
from tests.datasets.sets import contents, person, settings, write_set

SIZES = {1: (50, 60), 2: (50, 60), 3: (50, 60), 4: (50, 60)}


def coco_set(folder):
    train = contents(SIZES, [person(n, i) for n, i in ((1, 2), (2, 3), (3, 3), (4, 4))])
    return write_set(folder, train, contents({9: (40, 40)}, [person(7, 9)]))


def test_coco_layout(tmp_path):
    train, val = (build_dataset(s, settings(coco_set(tmp_path))) for s in ("train", "val"))
    assert (train.split, val.split) == ("train", "val")
    assert train.image_ids.tolist() == [2, 3, 4] and val.image_ids.tolist() == [9]
    assert val.annotation_file == tmp_path / "annotations/person_keypoints_val2017.json"
    assert val.protocol == "coco" and val.skeleton is COCO


def test_crowdpose_layout_takes_box_areas(tmp_path):
    data = contents({1: (50, 60)}, [person(1, 1, 14)], 14, crowdIndex=0.5)
    write_set(tmp_path, data, layout="crowdpose")
    cfg = settings(tmp_path, dataset_file="crowdpose", num_body_points=14)
    val = build_dataset("val", cfg)
    assert val.annotation_file == tmp_path / "json/crowdpose_test.json"
    assert val.protocol == "crowdpose" and val.skeleton is CROWDPOSE
    _, target = val[0]
    assert target["area"].tolist() == pytest.approx([40 * 30 / 3000])
    train = build_dataset("train", cfg)
    assert train.annotation_file == tmp_path / "json/crowdpose_trainval.json"


def test_subset_is_the_same_training_pictures_for_both_splits(tmp_path):
    cfg = settings(coco_set(tmp_path), subset=2)
    train, val = build_dataset("train", cfg), build_dataset("val", cfg)
    assert train.image_ids.tolist() == val.image_ids.tolist() == [2, 3]
    assert (train.split, val.split) == ("train", "val")
    found = [
        {
            "image_id": entry["image_id"],
            "category_id": 1,
            "keypoints": entry["keypoints"],
            "score": 1.0,
        }
        for entry in (person(1, 2), person(2, 3), person(3, 3))
    ]
    # the three people of these pictures are all that is asked for; two share a place, both count
    assert keypoint_stats(val.annotation_file, found, val.protocol)["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("subset", [4, -1])
def test_impossible_subsets_are_refused(tmp_path, subset):
    with pytest.raises(InputError, match=f"subset is {subset}, but .* has 3 pictures .*1 to 3"):
        build_dataset("train", settings(coco_set(tmp_path), subset=subset))


def test_training_without_people_is_refused(tmp_path):
    folder = write_set(tmp_path, contents(SIZES, []))
    with pytest.raises(InputError, match="no picture in .* has a person with labelled keypoints"):
        build_dataset("train", settings(folder))
    assert len(build_dataset("val", settings(folder))) == 4


def test_unknown_names_and_missing_folders(tmp_path):
    with pytest.raises(InputError, match="dataset_file is 'cocoa'; did you mean 'coco'"):
        build_dataset("train", settings(tmp_path, dataset_file="cocoa"))
    with pytest.raises(MissingFileError, match="no folder .*nowhere; set --coco_path"):
        build_dataset("train", settings(tmp_path / "nowhere"))
    with pytest.raises(MissingFileError, match="no folder of the data set is given"):
        build_dataset("train", settings(""))
    with pytest.raises(MissingFileError, match="no folder .*images/train2017; a coco set has"):
        build_dataset("train", settings(tmp_path))
    (tmp_path / "images/train2017").mkdir(parents=True)
    with pytest.raises(MissingFileError, match="no annotation file .*person_keypoints_train2017"):
        build_dataset("train", settings(tmp_path))


def test_another_number_of_keypoints_names_annotation_and_setting(tmp_path):
    cfg = settings(coco_set(tmp_path), num_body_points=14)
    with pytest.raises(InputError, match="annotation 1 has a list of 51 .*num_body_points=14"):
        build_dataset("train", cfg)


def test_twenty_keypoints_of_animals_need_only_the_setting(tmp_path):
    data = contents(SIZES, [person(1, 1, 20)], 20)
    data["categories"][0]["keypoints"] = [f"{side}_{i}" for i in range(10) for side in "LR"]
    dataset = build_dataset("train", settings(write_set(tmp_path, data), num_body_points=20))
    assert dataset[0][1]["keypoints"].shape[1:] == (20, 2)
    assert dataset.skeleton.flip_pairs == tuple((i, i + 1) for i in range(0, 20, 2))


SYNTHETIC = {
    "dataset_file": "synthetic",
    "synthetic_train": 4,
    "synthetic_val": 1,
    "synthetic_seed": 3,
    "synthetic_size": 50,
}


@pytest.mark.parametrize(
    ("num_body_points", "protocol", "annotation_file"),
    [
        (17, "coco", "annotations/person_keypoints_val2017.json"),
        (14, "crowdpose", "json/crowdpose_test.json"),
    ],
)
def test_synthetic_set_is_drawn_when_missing(tmp_path, num_body_points, protocol, annotation_file):
    folder = tmp_path / "new" / "data"
    cfg = settings(folder, **SYNTHETIC, num_body_points=num_body_points)
    assert build_dataset("train", cfg).image_ids.tolist() == [1, 2, 3, 4]
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    val = build_dataset("val", cfg)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == written
    assert val.protocol == protocol and val.annotation_file == folder / annotation_file
    _, target = val[0]
    assert target["visible"].any() and target["orig_size"].tolist() == [50, 50]


def test_synthetic_set_of_other_settings_is_refused(tmp_path):
    build_dataset("train", settings(tmp_path / "data", **SYNTHETIC))
    other = settings(tmp_path / "data", **{**SYNTHETIC, "synthetic_seed": 4})
    with pytest.raises(InputError, match="seed 3 instead of 4"):
        build_dataset("train", other)
