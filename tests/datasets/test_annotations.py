import json

import numpy as np
import pytest

from datasets.annotations import (
    flat_annotations,
    part_of,
    read_annotations,
    skeleton_in,
)
from grouppose.errors import InputError, MissingFileError
from grouppose.skeleton import COCO, CROWDPOSE
from tests.datasets.sets import contents, person

TWO = {7: (60, 80), 3: (50, 40)}


def unlabelled(number, image_id):
    return person(number, image_id, keypoints=[4.0, 5.0, 0] * 17, num_keypoints=0)


def test_people_are_grouped_by_picture_and_unusable_ones_left_out():
    data = contents(
        TWO,
        [
            person(11, 3, area=1.0),
            person(12, 7, area=2.0),
            person(13, 7, iscrowd=1),
            unlabelled(14, 3),
            person(15, 3, area=3.0, keypoints=[1, 2, 1] + [0] * 48),
        ],
    )
    flat = flat_annotations(read_annotations(data), 17, box_area=False)
    assert flat.image_ids.tolist() == [7, 3]
    assert flat.first.tolist() == [0, 1, 3]
    assert flat.area.tolist() == [2.0, 1.0, 3.0]
    assert flat.keypoints[2, :2].tolist() == [[1, 2, 1], [0, 0, 0]]
    assert flat.sizes.tolist() == [[60, 80], [50, 40]]


def test_area_is_the_box_for_crowdpose_and_where_the_file_gives_none():
    data = contents(TWO, [person(1, 7)])  # area 600, box 40 x 30
    assert flat_annotations(data, 17, box_area=False).area.tolist() == [600.0]
    assert flat_annotations(data, 17, box_area=True).area.tolist() == [1200.0]
    del data["annotations"][0]["area"]
    assert flat_annotations(data, 17, box_area=False).area.tolist() == [1200.0]


def test_arrays_hold_no_python_objects():
    flat = flat_annotations(contents(TWO, [person(1, 7)]), 17, box_area=False)
    assert all(
        isinstance(array, np.ndarray) and not array.dtype.hasobject for array in vars(flat).values()
    )


def test_take_keeps_the_people_of_the_chosen_pictures():
    data = contents(
        {1: (9, 9), 2: (9, 9), 3: (9, 9)},
        [person(n, i, area=float(n)) for n, i in ((1, 1), (2, 2), (3, 2), (4, 3))],
    )
    taken = flat_annotations(data, 17, box_area=False).take(np.array([1, 2]))
    assert taken.image_ids.tolist() == [2, 3]
    assert taken.first.tolist() == [0, 2, 3]
    assert taken.area.tolist() == [2, 3, 4]


def test_part_of_keeps_pictures_with_all_their_annotations():
    data = contents(TWO, [person(1, 7), unlabelled(2, 3), person(3, 3)])
    part = part_of(data, np.array([3]))
    assert [e["id"] for e in part["images"]] == [3]
    assert [e["id"] for e in part["annotations"]] == [2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "is not JSON"),
        ("\udcff", "is not JSON"),
        ("[1, 2]", "holds a list; expected COCO's format"),
        ('{"images": [], "annotations": []}', "has no 'categories'"),
        ('{"images": {}, "annotations": [], "categories": []}', "has a dict as 'images'"),
        ('{"images": [{}], "annotations": [], "categories": []}', r"images\[0\] has no 'id'"),
        ('{"images": [5], "annotations": [], "categories": []}', r"images\[0\] is a int"),
        (
            '{"images": [{"id": "a"}], "annotations": [], "categories": []}',
            "has 'id' 'a'; expected a whole number",
        ),
        (
            '{"images": [{"id": 1}, {"id": 1}], "annotations": [], "categories": []}',
            "lists image id 1 twice",
        ),
        (
            '{"images": [], "annotations": [{"id": 5}], "categories": []}',
            "annotation 5 has no 'image_id'",
        ),
        (
            '{"images": [], "annotations": [{"id": 5, "image_id": 9}], "categories": []}',
            "annotation 5 belongs to image 9, which 'images' does not list",
        ),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, text, message):
    path = tmp_path / "file.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=message) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="no annotation file .*nowhere.json.*--coco_path"):
        read_annotations(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"keypoints": [1, 2, 2] * 14},
            "annotation 8 has a list of 42 as .*, expected 51",
        ),
        ({"keypoints": "no"}, "annotation 8 has 'no' as 'keypoints', expected 51"),
        ({"keypoints": [None] * 51}, "annotation 8 has something else than numbers in 'keypoints'"),
        (
            {"keypoints": [float("nan")] * 51},
            "annotation 8 has a number .* not finite",
        ),
        (
            {"bbox": [1, 2, float("inf"), 4]},
            "number in 'bbox' that is not finite",
        ),
        ({"bbox": [1, 2, 3]}, r"annotation 8 has a list of 3 as 'bbox', expected \[x, y, width"),
        ({"area": float("nan")}, "annotation 8 has a number in 'area' that is not finite"),
    ],
)
def test_wrong_annotations_are_named(change, message):
    data = contents(TWO, [person(4, 7), person(8, 3, **change)])
    with pytest.raises(InputError, match=message):
        flat_annotations(json.loads(json.dumps(data)), 17, box_area=False)


def test_number_of_keypoints_names_the_setting():
    with pytest.raises(InputError, match="num_body_points=14"):
        flat_annotations(contents(TWO, [person(1, 7)]), 14, box_area=False)


def test_instance_file_without_keypoints_is_refused():
    data = contents(TWO, [{"id": 1, "image_id": 7, "bbox": [0, 0, 1, 1]}])
    with pytest.raises(InputError, match="none of the 1 annotations has 'keypoints'"):
        flat_annotations(data, 17, box_area=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file_name": None}, "file_name None"),
        ({"file_name": "\ud800.png"}, "file_name .*ud800"),
        ({"file_name": "a.png\0"}, "file_name .*x00"),
        ({"height": -3}, "height -3"),
        ({"width": 2.5}, "2.5"),
    ],
)
def test_wrong_image_entries_are_named(change, message):
    with pytest.raises(InputError, match=f"image 7 has .*{message}"):
        flat_annotations(contents({7: (9, 9)}, [], **change), 17, box_area=False)


def test_published_skeletons_are_recognised_by_name():
    assert skeleton_in(contents(TWO, []), 17) is COCO
    crowdpose = contents(TWO, [], num_keypoints=14)
    crowdpose["categories"][0]["keypoints"][12] = "head"  # as CrowdPose's own files have it
    assert skeleton_in(crowdpose, 14) is CROWDPOSE
    assert skeleton_in({"categories": [{"id": 1}]}, 17) is COCO
    backwards = contents(TWO, [])
    backwards["categories"][0]["keypoints"].reverse()
    found = skeleton_in(backwards, 17)
    assert found.names == COCO.names[::-1] and found.sigmas == COCO.sigmas[::-1]


def test_other_names_bring_their_own_flip_pairs_and_limbs():
    names = ["L_Eye", "R_Eye", "Nose"]
    category = {"id": 1, "keypoints": names, "skeleton": [[1, 3], [2, 3], [3, 9]]}
    skeleton = skeleton_in({"categories": [{"id": 2}, category]}, 3)
    assert skeleton.flip_pairs == ((0, 1),)
    assert skeleton.limbs == ((0, 2), (1, 2))  # the file counts from 1; 9 does not exist
    category["skeleton"] = [[0, 2]]
    assert skeleton_in({"categories": [category]}, 3).limbs == ((0, 2),)


def test_seventeen_animal_keypoints_are_not_mirrored_as_people():
    sides = [f"{side}_{joint}" for joint in "abcdefgh" for side in ("left", "right")]
    category = {"id": 1, "keypoints": [*sides, "tail"]}
    skeleton = skeleton_in({"categories": [category]}, 17)
    assert skeleton.flip_pairs[0] == (0, 1) and skeleton.flip_pairs != COCO.flip_pairs
    assert skeleton.sigmas == COCO.sigmas  # as COCO's own tool scores any 17 keypoints
