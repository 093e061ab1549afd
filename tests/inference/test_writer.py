import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from datasets.build import build_sets
from datasets.check import check_file
from datasets.evaluate import keypoint_stats
from grouppose.errors import InputError
from grouppose.inference.results import Keypoints, Result
from grouppose.inference.writer import MP4, WEBM, Annotations, Writer
from grouppose.skeleton import COCO, Skeleton
from tests.datasets.sets import settings
from tests.inference.conftest import noise, write

CORNERS = Skeleton.from_names(["left_a", "right_a", "tail"], [(0, 1), (1, 2)])


def result(people=2, **changes):
    image = noise(48, 80)
    points = np.random.default_rng(0).uniform(0, 40, (people, 17, 2)).astype(np.float32)
    keypoints = Keypoints(points, np.ones((people, 17), np.float32), image.shape[:2])
    labels = np.ones(people, dtype=int)
    return Result(image, keypoints, np.linspace(0.9, 0.5, people), labels, COCO, **changes)


def test_annotations_number_pictures_and_people_from_1():
    notes = Annotations()
    for i, people in enumerate((2, 0, 1)):
        notes.add(result(people, path=f"{i}.png"))
    content = notes.content()
    assert [(i["id"], i["file_name"]) for i in content["images"]] == [
        (1, "0.png"), (2, "1.png"), (3, "2.png"),
    ]  # fmt: skip
    assert [(p["id"], p["image_id"]) for p in content["annotations"]] == [(1, 1), (2, 1), (3, 3)]
    assert content["categories"][0]["keypoints"] == list(COCO.names)


def pets(path, xy, labels):
    """A result of a model of 3 cat and 9 dog; 48 x 80 pixels."""
    xy = np.array(xy, dtype=np.float32)
    keypoints = Keypoints(xy, np.ones(xy.shape[:2], np.float32), (48, 80))
    scores = np.linspace(0.9, 0.5, len(xy))
    classes = {"skeleton": CORNERS, "path": path, "categories": ((3, "cat"), (9, "dog"))}
    return Result(noise(), keypoints, scores, np.array(labels), **classes)


CAT = [[10, 10], [30, 10], [20, 40]]
FLAT = [[5, 20], [25, 20], [75, 20]]  # on a line: a box without height


def test_annotations_have_the_categories_of_the_model():
    notes = Annotations()
    notes.add(pets("images/a.png", [CAT, FLAT], [2, 1]))
    content = notes.content()
    named = {"keypoints": ["left_a", "right_a", "tail"], "skeleton": [[1, 2], [2, 3]]}
    assert content["categories"] == [
        {"id": 3, "name": "cat"} | named,
        {"id": 9, "name": "dog"} | named,
    ]
    dog, cat = content["annotations"]
    assert (dog["category_id"], cat["category_id"]) == (9, 3)
    assert (dog["bbox"], dog["area"]) == ([10, 10, 20, 30], pytest.approx(0.53 * 600))
    assert (cat["bbox"], cat["area"]) == ([5, 20, 70, 1], pytest.approx(0.53 * 70))
    assert (dog["num_keypoints"], dog["iscrowd"]) == (3, 0)


def test_categories_state_sigmas_that_no_names_tell():
    notes = Annotations()
    skeleton = Skeleton.from_names(CORNERS.names, CORNERS.limbs, [0.1, 0.1, 0.2])
    notes.add(replace(pets("a.png", [CAT], [1]), skeleton=skeleton))
    assert notes.content()["categories"][0]["sigmas"] == [0.1, 0.1, 0.2]


def test_one_keypoint_is_labelled_with_a_box_inside_the_picture():
    skeleton = Skeleton.from_names(["tip"])
    points = Keypoints(np.array([[[80.0, 50.0]]]), np.ones((1, 1)), (48, 80))
    notes = Annotations()
    notes.add(Result(noise(), points, np.ones(1), np.ones(1, dtype=int), skeleton))
    (person,) = notes.content()["annotations"]
    assert person["bbox"] == [79, 47, 1, 1] and person["area"] == pytest.approx(0.53 * 32**2)


def test_missing_keypoints_are_not_counted():
    person = pets("a.png", [CAT], [1])
    person.keypoints.confidence[0, 1] = 0
    notes = Annotations()
    notes.add(person)
    (cat,) = notes.content()["annotations"]
    assert cat["keypoints"] == [10, 10, 2, 0, 0, 0, 20, 40, 2] and cat["num_keypoints"] == 2
    assert cat["bbox"] == [10, 10, 10, 30]
    assert cat["area"] == pytest.approx(0.53 * 32**2)  # two keypoints: a square


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["set/images/a.png", "set/images/b.png"], ["a.png", "b.png"]),
        (["set/a/x.png", "set/b/x.png"], ["a/x.png", "b/x.png"]),
        (["a.png", "more/b.png"], ["a.png", "more/b.png"]),
        (["/set/a.png"], ["a.png"]),
        (["/set/a.png", "b.png"], ["/set/a.png", "b.png"]),
        (["camera 0", ""], ["camera 0", ""]),
        (["http://host/a.png"], ["http://host/a.png"]),
    ],
)
def test_files_are_named_from_their_common_folder(paths, names):
    notes = Annotations()
    for path in paths:
        notes.add(result(1, path=path))
    assert [image["file_name"] for image in notes.content()["images"]] == names


def test_predictions_are_labels(tmp_path):
    """Nothing to correct, the same classes and skeleton, and COCO's tool finds everybody."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    with Writer(tmp_path / "labels", with_json=True) as writer:
        for name, people, labels in (("a", [CAT, FLAT], [2, 1]), ("b", [CAT], [1])):
            path = write(tmp_path / f"images/{name}.png", noise())
            writer.add(pets(path, people, labels))
    file = tmp_path / "labels/predictions.json"
    facts, findings, _ = check_file(file, tmp_path / "images")
    assert findings == [] and "2 pictures, 3 annotations with 3 keypoints, 2 categories" in facts[0]
    content = json.loads(file.read_text())
    free = {"dataset_file": "custom", "num_body_points": 0, "num_classes": 0}
    cfg = settings(tmp_path, **free, train_annotations="labels/predictions.json")
    sets, cfg = build_sets(("train",), cfg)
    assert len(sets["train"]) == 2 and sets["train"].skeleton == CORNERS
    assert cfg.categories == [[3, "cat"], [9, "dog"]]
    assert sets["train"][0][1]["labels"].tolist() == [2, 1]
    stats = keypoint_stats(file, content["annotations"], "coco", skeleton=CORNERS, by_category=True)
    assert stats["AP"] == 1.0


@pytest.mark.parametrize(("kind", "start"), [(MP4, b"\0\0\0"), (WEBM, b"\x1aE\xdf\xa3")])
def test_a_video_is_one_file_of_its_rate(tmp_path, kind, start):
    with Writer(tmp_path, with_json=True, video=kind) as writer:
        for frame in range(3):
            writer.add(result(path="street.mov", frame=frame, rate=12.0))
    assert [path.name for path in writer.written] == [f"street{kind[0]}", "predictions.json"]
    assert writer.written[0].read_bytes().startswith(start)
    video = cv2.VideoCapture(str(writer.written[0]))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    assert sum(video.read()[0] for _ in range(5)) == 3


def test_a_video_that_cannot_be_written_is_named(tmp_path):
    with Writer(tmp_path / "nowhere", with_json=False) as writer:
        with pytest.raises(InputError, match="could not write .*nowhere/street.mp4"):
            writer.add(result(path="street.mov", rate=12.0))
