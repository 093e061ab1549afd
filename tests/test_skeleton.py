import json

import pytest

from grouppose.errors import InputError, MissingFileError
from grouppose.skeleton import (
    COCO,
    CROWDPOSE,
    DEFAULT_SIGMA,
    Skeleton,
    mirrors,
    places_of,
    read_skeleton,
    shipped,
    skeleton_of,
)

SIZES = {
    "ap10k": 17,
    "coco": 17,
    "coco_wholebody": 133,
    "crowdpose": 14,
    "halpe26": 26,
    "hand21": 21,
    "mpii": 16,
    "ochuman19": 19,
}


def test_skeletons_that_come_with_the_package():
    assert set(shipped()) == set(SIZES)
    for name, size in SIZES.items():
        skeleton = read_skeleton(name)
        assert skeleton.num_keypoints == size
        sides = [n for n in skeleton.names if n.startswith(("left_", "right_"))]
        face = 29 if name == "coco_wholebody" else 0  # its face has numbers for names
        assert len(skeleton.flip_pairs) == len(sides) / 2 + face
        joined = {i for limb in skeleton.limbs for i in limb}
        assert len(joined) == size  # every keypoint is at the end of a line
        assert len(set(map(frozenset, skeleton.limbs))) == len(skeleton.limbs)
        order = skeleton.flip_order
        assert [order[i] for i in order] == list(range(size))
        for a, b in skeleton.flip_pairs:  # left and right are as hard to label
            if name != "coco_wholebody":
                assert skeleton.sigmas[a] == skeleton.sigmas[b]


def test_published_sigmas():
    """COCO's k_i are 2 sigma; the sums are of the lists that the sets publish."""
    assert [round(2 * sigma, 3) for sigma in COCO.sigmas[:3]] == [0.052, 0.05, 0.05]
    assert CROWDPOSE.sigmas[-2:] == (0.079, 0.079)
    whole = read_skeleton("coco_wholebody")
    assert whole.sigmas[:17] == COCO.sigmas
    assert whole.sigmas[17:23] == (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
    assert whole.sigmas[91:112] == whole.sigmas[112:] == read_skeleton("hand21").sigmas
    assert sum(whole.sigmas[23:91]) == pytest.approx(1.137, abs=5e-4)


def test_a_face_mirrors_onto_itself():
    whole = read_skeleton("coco_wholebody")
    order, first = whole.flip_order, whole.names.index("face_0")
    mirrored = [order[first + i] - first for i in range(68)]
    assert mirrored[:17] == list(range(16, -1, -1))  # the jaw
    assert mirrored[27:31] == [27, 28, 29, 30]  # the ridge of the nose
    assert mirrored[36:42] == [45, 44, 43, 42, 47, 46]  # right eye onto left
    assert whole.sides[first] == "right" and whole.sides[first + 16] == "left"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_eye", "right_eye"),
        ("L_Eye", "R_Eye"),
        ("l_eye", "r_eye"),
        ("Eye_L", "Eye_R"),
        ("eye.l", "eye.r"),
        ("LEye", "REye"),
        ("leftEye", "rightEye"),
        ("Left Eye", "Right Eye"),
        ("L_F_Paw", "R_F_Paw"),
    ],
)
def test_sides_are_read_from_names(left, right):
    skeleton = Skeleton.from_names(["tail", right, left, "ruler", "loin"])
    assert skeleton.flip_pairs == ((2, 1),)
    assert skeleton.sides == ("middle", "right", "left", "middle", "middle")


def test_a_file_may_leave_out_what_follows_from_the_names(tmp_path):
    path = tmp_path / "mouse.json"
    path.write_text(json.dumps({"names": ["l_ear", "r_ear", "tail"], "limbs": [["l_ear", 2]]}))
    skeleton = read_skeleton(path)
    assert skeleton.flip_pairs == ((0, 1),) and skeleton.limbs == ((0, 2),)
    assert skeleton.sigmas == (DEFAULT_SIGMA,) * 3
    assert read_skeleton(skeleton.to_dict()) == skeleton
    path.write_text(json.dumps({"names": ["a", "b"], "flip_pairs": [["b", "a"]]}))
    assert read_skeleton(str(path)).sides == ("right", "left")
    path.write_text(json.dumps({"names": ["l_ear", "r_ear"], "flip_pairs": []}))
    assert read_skeleton(path).flip_pairs == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], 'has no "names"'),
        ({"names": ["a", "a"]}, "has a name twice"),
        ({"names": []}, "without keypoint names"),
        ({"names": ["ear"], "limb": []}, "has 'limb'; did you mean 'limbs'"),
        ({"names": ["ear", "eye"], "limbs": [["ear", "eys"]]}, "limbs names 'eys'; did you mean"),
        ({"names": ["a", "b"], "limbs": [[0, 2]]}, r"limbs holds \[0, 2\], expected two indices"),
        ({"names": ["a", "b"], "flip_pairs": [[0]]}, r"flip_pairs holds \[0\], expected two"),
        ({"names": ["a", "b", "c"], "flip_pairs": [[0, 1], [0, 2]]}, "flip_pairs name 'a' twice"),
        ({"names": ["a", "b"], "sigmas": [0.1]}, "2 keypoint names but 1 sigmas"),
        ({"names": ["a"], "sigmas": [0.0]}, "sigmas hold 0.0, expected numbers above 0"),
        ({"names": ["a"], "sigmas": ["x"]}, "sigmas are no list of numbers"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, message):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_skeleton(path)


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(MissingFileError, match="no skeleton 'halpe'; expected a JSON file or one"):
        read_skeleton("halpe")
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(InputError, match="s.json is not JSON"):
        read_skeleton(tmp_path / "s.json")


def test_the_skeleton_of_a_model():
    assert skeleton_of(17) is COCO
    assert skeleton_of(26, "halpe26").names[17] == "head"
    assert skeleton_of(3).names == ("keypoint_0", "keypoint_1", "keypoint_2")
    with pytest.raises(InputError, match="the skeleton has 26 keypoints, num_body_points is 17"):
        skeleton_of(17, "halpe26")


def test_pictures_are_mirrored_where_keypoints_change_places():
    chiral = Skeleton.from_names(["1", "2", "3", "4"])
    assert [mirrors(wanted, COCO) for wanted in ("auto", True, False)] == [True, True, False]
    assert [mirrors(wanted, chiral) for wanted in ("auto", True, False)] == [False, True, False]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_does_not_count(tmp_path, encoding):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"names": ["nez_\u00e9"]}), encoding=encoding)
    assert read_skeleton(path).names == ("nez_\u00e9",)


def test_places_of_names_however_they_are_spelt():
    assert places_of(["left_x", "nose"], ["Nose", "L_x"]) == (1, 0)
    assert places_of(["a", "b"], ["a", "c"]) is None
    assert places_of(["a", "a"], ["a", "a"]) == (0, 1)
    assert places_of(["a", "b"], ["a", "a"]) is None


def test_a_skeleton_in_the_order_of_a_file():
    skeleton = Skeleton(("a", "b", "c"), ((0, 1),), (0.1, 0.2, 0.3), ((1, 2),))
    other = skeleton.in_order((2, 0, 1))  # a is listed last
    assert other.names == ("b", "c", "a") and other.sigmas == (0.2, 0.3, 0.1)
    assert other.flip_pairs == ((2, 0),) and other.limbs == ((0, 1),)
