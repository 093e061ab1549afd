import pytest

from datasets.examination import examine, refusal, skeleton_facts
from grouppose.skeleton import COCO, Skeleton
from tests.datasets.sets import contents, person, write_custom


def found(data, tmp_path):
    """Ids by the beginning of what is wrong with them."""
    _, findings = examine(data, tmp_path / "images")
    return {finding.text[:40]: finding.ids for finding in findings}


@pytest.fixture
def data(tmp_path):
    """Two pictures of which one has three people."""
    data = contents({1: (60, 80), 2: (60, 80)}, [person(i, 1) for i in (1, 2, 3)])
    write_custom(tmp_path, data)
    return data


def test_facts_of_a_set_and_a_picture_with_nobody(data, tmp_path):
    facts, findings = examine(data, tmp_path / "images")
    assert facts == ["2 pictures, 3 annotations with 17 keypoints, 1 categories"]
    (nobody,) = findings
    assert nobody.ids == [2] and not nobody.serious and nobody.text.startswith("pictures have nobo")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"keypoints": [1, 2, 2]}, "annotations have another number of value"),
        ({"keypoints": ["x"] * 51}, "annotations have another number of value"),
        ({"id": 1}, "annotation ids are used twice; give each"),
        ({"bbox": [1, 2, 0, 4]}, "annotations have no 'bbox' [x, y, width,"),
        ({"area": 0}, "annotations have an 'area' of 0 or no nu"),
        ({"keypoints": [90, 9, 2] * 17}, "annotations have visible keypoints outsi"),
        ({"keypoints": [0, 0, 0] * 17}, "annotations have no labelled keypoint; t"),
        ({"category_id": 7}, "annotations have a 'category_id' that no"),
    ],
)
def test_each_problem_names_the_annotation(data, tmp_path, change, text):
    data["annotations"][1].update(change)
    assert found(data, tmp_path)[text] == [change.get("id", 2)]


def test_pictures_that_stand_there_twice_or_have_no_size(data, tmp_path):
    data["images"] += [{**data["images"][0], "id": 3, "width": -1}]
    problems = found(data, tmp_path)
    assert problems["pictures have a 'file_name' that stands "] == [1, 3]
    assert problems["pictures have a 'height' or 'width' that"] == [3]


def test_what_mirroring_does_in_words():
    flips, limbs = skeleton_facts(Skeleton.from_names(["left_ear", "right_ear", "tail"]))
    assert flips == "  flipping exchanges left_ear - right_ear; it leaves tail in place"
    assert limbs == "  0 limbs; sigmas all 0.079, as nobody stated them"
    assert skeleton_facts(COCO)[1].endswith("sigmas of the published set")


def test_the_refusal_is_that_of_training(data, tmp_path):
    poses, findings = refusal(data, tmp_path / "a.json", None, None)
    assert poses.skeleton == COCO and findings == []
    nobody = {**data, "annotations": [person(1, 1, keypoints=[0] * 51)]}
    poses, (finding,) = refusal(nobody, tmp_path / "a.json", "coco", None)
    assert poses is None and "has a person with labelled keypoints" in finding.ids[0]
