import json

import pytest

from datasets.annotations import flat_annotations, read_annotations, read_labels
from datasets.cleaning import whole
from datasets.evaluate import keypoint_stats
from grouppose.errors import InputError
from tests.datasets.sets import contents, person

SIZES = {1: (50, 60), 2: (50, 60)}


def read(people, categories=(), **image_entries):
    """Annotations as they are read, and the texts of what was found with their ids."""
    data = contents(SIZES, people, **image_entries)
    data["categories"] += categories
    found, findings = read_labels(json.loads(json.dumps(data)))
    return found, {finding.text: finding.ids for finding in findings}


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *((value, 0) for value in (None, False, "false", "0", 0.0, "FALSE", " no ", "", "0.0")),
        *((value, 1) for value in (True, "true", "1", 1.0, "True", "YES", 2)),
    ],
)
def test_iscrowd_is_what_it_means(value, meant):
    found, findings = read([person(1, 1), person(2, 1, iscrowd=value)])
    assert [entry["iscrowd"] for entry in found["annotations"]] == [0, meant]
    assert findings == {
        "annotations have another 'iscrowd' than 0 or 1; read as what it means": [2]
    }
    assert len(flat_annotations(found, 17, False).area) == 2 - meant


@pytest.mark.parametrize("value", ["maybe", [1], {}])
def test_iscrowd_that_means_nothing(value):
    with pytest.raises(InputError, match="annotations: annotation 2 has iscrowd .*expected 0 or 1"):
        read([person(2, 1, iscrowd=value)])


@pytest.mark.parametrize("stated", [0, None, "17", 3, "many"])
def test_num_keypoints_are_those_of_the_points_in_evaluation_too(stated):
    people = [{**person(1, 1), "num_keypoints": stated}]
    found, findings = read(people)
    assert "num_keypoints" not in found["annotations"][0]
    assert list(findings.values()) == [[1]] and "'num_keypoints'" in next(iter(findings))
    result = {**person(1, 1), "score": 1.0}
    assert keypoint_stats(contents(SIZES, people), [result])["AP"] == pytest.approx(1)


def test_crowdpose_counts_all_but_head_and_neck():
    points = [1, 2, 0] * 12 + [3, 4, 2, 5, 6, 2]  # head and neck alone
    people = [{**person(1, 1, 14, keypoints=points), "num_keypoints": n} for n in (0, 2, 1)]
    found, _ = read_labels(contents(SIZES, people, 14))
    assert [entry.get("num_keypoints") for entry in found["annotations"]] == [0, 2, None]


@pytest.mark.parametrize(
    ("value", "meant"),
    [(96, 96), (96.0, 96), ("96", 96), ("96.0", 96), (" 7 ", 7)]
    + [(value, None) for value in (True, 96.5, "tall", "9_6", "1e3", None, [96], float("nan"))],
)
def test_whole_numbers(value, meant):
    assert whole(value) == meant


@pytest.mark.parametrize("size", [("50", "60"), (50.0, 60), ("50.0", 60.0)])
def test_sizes_as_text_or_fractions(size):
    found, findings = read([person(1, 1)], height=size[0], width=size[1])
    assert flat_annotations(found, 17, False).sizes.tolist() == [[50, 60]] * 2
    assert list(findings.values()) == [[1, 2]] and "'height' or 'width'" in next(iter(findings))


@pytest.mark.parametrize("size", [(0, 0), ("0", 60), (0.0, None)])
def test_a_size_of_nothing_is_not_known(size):
    found, findings = read([person(1, 1)], height=size[0], width=size[1])
    assert flat_annotations(found, 17, False).sizes.tolist() == [[0, 0]] * 2
    assert list(findings.values()) == [[1, 2]] and "of 0" in next(iter(findings))


@pytest.mark.parametrize("side", [-3, True, 96.5, "tall", [5]])
def test_sizes_that_mean_nothing_are_refused(side):
    found, _ = read([person(1, 1)], height=side)
    with pytest.raises(InputError, match="image 1 has height .*expected whole pixels"):
        flat_annotations(found, 17, False)


def test_points_that_are_not_there():
    nan = float("nan")
    points = person(1, 1)["keypoints"]
    gaps = [[nan, nan, 0], [None, None, 0], [None, None, None], [7, nan, 0]]
    people = [
        person(1, 1, keypoints=[*(v for gap in gaps for v in gap), *points[12:]]),
        person(2, 1, keypoints=[]),
        person(3, 1, keypoints=None),
        person(4, 1, keypoints=[None, 5, 2, *points[3:]]),
    ]
    found, findings = read(people[:3])
    first, *others = (entry["keypoints"] for entry in found["annotations"])
    assert first == [0, 0, 0] * 3 + [7, 0, 0] + points[12:] and others == [[0] * 51] * 2
    assert [1] in findings.values()
    assert len(flat_annotations(found, 17, False).area) == 1
    with pytest.raises(InputError, match="annotation 4 has something else than numbers in 'keyp"):
        flat_annotations(read(people)[0], 17, False)


@pytest.mark.parametrize("points", [[0] * 51, [0] * 6, [], None])
def test_a_category_without_keypoints_has_nobody(points):
    people = [person(1, 1), person(2, 1, category_id=2, keypoints=points)]
    found, findings = read(people, [{"id": 2, "name": "car"}])
    assert "keypoints" not in found["annotations"][1] and [2] in findings.values()
    assert flat_annotations(found, 17, False, [1]).labels.tolist() == [1]


def test_ids_as_text_and_a_category_that_is_not_said():
    data = contents({1: (50, 60)}, [person("5", 1.0, category_id=None), person(6, "1")])
    data["images"][0]["id"], data["categories"][0]["id"] = "1", "7"
    del data["annotations"][1]["category_id"]
    found = read_annotations(data)
    ids = [[e[k] for k in ("id", "image_id", "category_id")] for e in found["annotations"]]
    assert ids == [[5, 1, 7], [6, 1, 7]] and found["images"][0]["id"] == 1
    assert data["annotations"][0]["id"] == "5"  # nothing is changed in place


@pytest.mark.parametrize("category", [[1], {"id": 1}, "thing", 1.5, True])
def test_a_category_that_is_no_number(category):
    with pytest.raises(InputError, match="annotation 1 has category_id .*whole number of a categ"):
        read([person(1, 1, category_id=category)])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path, encoding):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(contents(SIZES, [person(1, 1)])), encoding=encoding)
    assert len(read_annotations(path)["annotations"]) == 1


def test_area_as_text_and_null():
    found, _ = read([person(1, 1, area="12.5"), person(2, 1, area=None)])
    assert found["annotations"][0]["area"] == 12.5 and "area" not in found["annotations"][1]
