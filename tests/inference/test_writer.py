import cv2
import numpy as np
import pytest

from grouppose.errors import InputError
from grouppose.inference.results import Keypoints, Result
from grouppose.inference.writer import MP4, WEBM, Annotations, Writer
from grouppose.skeleton import COCO
from tests.inference.conftest import noise


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
