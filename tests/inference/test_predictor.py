import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import grouppose
from grouppose.errors import InputError, MissingFileError
from grouppose.inference.predictor import Predictor
from grouppose.inference.sources import frames
from grouppose.skeleton import Skeleton
from tests.inference.conftest import noise, save_small_model, write, write_video


def predictor(weights, **changes):
    arguments = {"device": "cpu", "threshold": 0.0, "size": 64}
    return Predictor(weights, **{**arguments, **changes})


def test_it_gives_what_model_and_postprocess_give_in_pixels_of_the_file(weights):
    image = noise(64, 96)
    (result,) = predictor(weights)(image)
    model = grouppose.load_model(weights)
    with torch.no_grad():
        outputs = model(torch.from_numpy(image).permute(2, 0, 1)[None])
    (found,) = grouppose.postprocess(outputs, torch.tensor([[64, 96]]), num_select=12)
    person = found["labels"] == 1
    np.testing.assert_allclose(result.scores, found["scores"][person], atol=1e-5)
    np.testing.assert_allclose(result.keypoints.xy, found["keypoints"][person], atol=1e-2)
    np.testing.assert_allclose(result.keypoints.confidence, found["confidence"][person], atol=1e-3)
    assert (result.image == image).all() and result.skeleton == grouppose.skeleton.COCO


def test_twice_as_large_a_picture_gives_twice_the_coordinates(weights):
    image = np.full((64, 96, 3), 77, dtype=np.uint8)  # the same at any size
    small, large = predictor(weights)([image, image.repeat(2, 0).repeat(2, 1)])
    np.testing.assert_allclose(2 * small.keypoints.xy, large.keypoints.xy, atol=1e-2)


def test_every_kind_of_source_gives_the_same(weights, tmp_path):
    image = noise()
    path = write(tmp_path / "a.png", image)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    sources = [
        path,
        str(tmp_path),
        str(tmp_path / "*.png"),
        tmp_path / "a.png",
        Image.fromarray(image),
        image,
        tensor,
        tensor[None],
        (tensor / 255).double(),
        [path],
    ]
    run = predictor(weights)
    expected = next(run(image)).keypoints.xy
    for source in sources:
        (result,) = run(source)
        assert np.array_equal(result.keypoints.xy, expected), source
    (result,) = predictor(weights, bgr=True)(image[..., ::-1])
    assert np.array_equal(result.keypoints.xy, expected)


def test_a_batch_computes_what_single_pictures_do(weights):
    images = [noise(seed=i) for i in range(3)] + [noise(60, 40, seed=9)]
    together = list(predictor(weights, batch_size=2)(images))
    for image, result in zip(images, together, strict=True):
        (alone,) = predictor(weights)(image)
        np.testing.assert_allclose(result.keypoints.xy, alone.keypoints.xy, atol=1e-2)
        assert (result.image == image).all()


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("one.png", Image.new("RGB", (1, 1))),
        ("long.png", Image.new("RGB", (3000, 15))),
        ("grey.png", Image.new("L", (40, 30))),
        ("deep.png", Image.new("I;16", (40, 30))),
        ("clear.png", Image.new("RGBA", (40, 30))),
        ("moving.gif", Image.new("P", (40, 30))),
        ("print.jpg", Image.new("CMYK", (40, 30))),
    ],
)
def test_odd_pictures_give_people_in_their_own_pixels(weights, tmp_path, name, picture):
    extra = {"save_all": True, "append_images": [picture]} if name.endswith("gif") else {}
    picture.save(tmp_path / name, **extra)
    (result,) = predictor(weights, longest=200)(tmp_path / name)
    assert result.image.shape == (picture.height, picture.width, 3)
    assert len(result) == 6 and np.isfinite(result.keypoints.xy).all()


def test_a_rotated_photograph_is_seen_upright(weights, tmp_path):
    image = Image.fromarray(noise())
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    (result,) = predictor(weights)(tmp_path / "a.png")
    assert result.image.shape == (80, 48, 3)


def test_a_folder_goes_on_past_bad_files_and_notes_them(weights, tmp_path):
    write(tmp_path / "a.png", noise())
    (tmp_path / "b.jpg").write_text("no picture")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "c.png").write_bytes(data[: len(data) // 2])
    write(tmp_path / "d.png", noise(seed=1))
    (tmp_path / "notes.txt").write_text("not looked at")
    run = predictor(weights)
    assert [r.path[-5:] for r in run(tmp_path)] == ["a.png", "d.png"]
    assert [path[-5:] for path, _ in run.failed] == ["b.jpg", "c.png"]
    assert "cannot be read as a picture" in run.failed[0][1]


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("none.jpg", MissingFileError, "no picture none.jpg"),
        ("none.mp4", MissingFileError, "no video none.mp4"),
        ("none*.jpg", MissingFileError, "nothing matches none"),
        (3.5, InputError, "the source is a float"),
        (True, InputError, "the source is True"),
        (np.zeros((4, 4, 3)), InputError, "an array is float64"),
        (np.zeros((4, 4, 5), dtype=np.uint8), InputError, "5 channels"),
        (torch.zeros(4, 4), InputError, r"a tensor is \(4, 4\)"),
        (torch.full((3, 4, 4), 7.0), InputError, "from 7 to 7"),
    ],
)
def test_what_is_no_source_is_named(source, error, message):
    with pytest.raises(error, match=message):
        list(frames(source))


def test_a_video_streams_frame_by_frame(weights, tmp_path):
    write_video(tmp_path / "a.mp4")
    results = list(predictor(weights, batch_size=2)(tmp_path / "a.mp4"))
    assert [r.frame for r in results] == [0, 1, 2, 3, 4]
    assert {r.rate for r in results} == {12.0}
    tracked = list(predictor(weights, tracker="oks")(tmp_path / "a.mp4"))
    assert all(len(r.ids) == len(r) for r in tracked)
    (tmp_path / "b.mp4").write_text("no video")
    with pytest.raises(InputError, match="cannot be opened as a video"):
        list(predictor(weights)(tmp_path / "b.mp4"))


@pytest.mark.parametrize(("said", "rate"), [(0, 25), (1000, 25), (float("nan"), 25), (60, 60)])
def test_a_video_that_says_no_sensible_rate_has_the_usual_one(tmp_path, monkeypatch, said, rate):
    write_video(tmp_path / "a.mp4", count=1)

    class Video:  # a subclass of OpenCV's would break Python's garbage collection
        def __init__(self, *source):
            self._video = opened(*source)

        def __getattr__(self, name):
            return getattr(self._video, name)

        def get(self, key):
            return said if key == cv2.CAP_PROP_FPS else self._video.get(key)

    opened = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Video)
    (frame,) = frames(str(tmp_path / "a.mp4"))
    assert frame.rate == rate


def test_a_pil_picture_that_breaks_off_is_named(weights):
    stored = io.BytesIO()
    Image.fromarray(noise()).save(stored, "PNG")
    broken = Image.open(io.BytesIO(stored.getvalue()[:2000]))
    with pytest.raises(InputError, match="the picture cannot be decoded"):
        list(predictor(weights)(broken))


def test_flip_test_does_not_care_which_way_round_a_picture_is(weights):
    image = noise()
    run = predictor(weights, flip_test=True)
    (a,), (b,) = run(image), run(image[:, ::-1])
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
    mirrored = b.keypoints.xy[:, list(a.skeleton.flip_order)].copy()
    mirrored[..., 0] = 79 - mirrored[..., 0]
    sums = [points.sum(0) for points in (a.keypoints.xy, mirrored)]  # whatever the order
    np.testing.assert_allclose(*sums, atol=0.1)


def test_flip_test_is_off_by_itself_where_keypoints_have_no_sides(weights, caplog):
    def views(wanted, skeleton=None):
        return predictor(weights, flip_test=wanted, skeleton=skeleton).views

    unpaired = Skeleton.from_names([f"{i}" for i in range(17)])
    assert [views("auto"), views("auto", unpaired), views(False, unpaired)] == [2, 1, 1]
    assert not caplog.messages
    assert views(True, unpaired) == 2
    (message,) = caplog.messages
    assert message.startswith("flip_test=True, but no keypoint has a counterpart")


def test_scales_are_merged_and_people_limited(weights):
    image = noise()
    (result,) = predictor(weights, scales=(64, 96), max_people=2)(image)
    assert len(result) == 2 and result.scores[0] >= result.scores[1]
    (fewer,) = predictor(weights, suppress=1e-5)(image)
    assert 1 <= len(fewer) < 6  # random poses all overlap a little
    (none,) = predictor(weights, threshold=1.0)(image)
    assert len(none) == 0 and none.plot().shape == image.shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"tracker": "sort"}, "tracker is 'sort'"),
        ({"batch_size": 0}, "must be at least 1"),
        ({"device": "tpu9"}, "no device 'tpu9'"),
        ({"skeleton": grouppose.skeleton.CROWDPOSE}, "the skeleton has 14 keypoints, the model 17"),
    ],
)
def test_wrong_settings_are_named(weights, changes, message):
    with pytest.raises(InputError, match=message):
        predictor(weights, **changes)


def test_too_little_memory_is_one_line(weights, monkeypatch):
    predictor = grouppose.Predictor(weights, size=64)

    def fail(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(predictor.finder.model, "forward", fail)
    with pytest.raises(InputError, match="out of memory with 2 pictures at 106 x 64.*batch_size"):
        list(predictor([noise(), noise(seed=1)]))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ((1, "person"),)),
        ({"categories": [[7, "horse"]]}, ((7, "horse"),)),
        ({"num_classes": 3, "categories": [[3, "cat"], [9, "dog"]]}, ((3, "cat"), (9, "dog"))),
        ({"num_classes": 3}, ((1, "person"), (2, "class_2"))),
    ],
)
def test_classes_are_those_of_the_model(tmp_path, settings, expected):
    path = save_small_model(tmp_path, **settings)
    predictor = grouppose.Predictor(path, device="cpu", threshold=float("-inf"))
    (result,) = predictor(noise())
    assert predictor.categories == result.categories == expected
    ids = {number for number, _ in expected}
    assert {person["category_id"] for person in result.to_coco()} <= ids and len(result)


def test_the_times_of_each_picture(weights):
    predictor = grouppose.Predictor(weights, device="cpu", size=48, batch_size=2)
    for result in predictor([noise(seed=i) for i in range(3)]):
        assert list(result.speed) == ["read", "network"]
        assert 0 <= result.speed["read"] < result.speed["network"]


class Standing:
    """Instead of the model: two people, at the left and the right; the other way round in every
    second picture."""

    def __init__(self, run):
        self.run, self.seen = run, 0

    def __call__(self, batch):
        found = []
        for _ in batch:
            spots = [(20.0, 20.0), (60.0, 20.0)][:: -1 if self.seen % 2 else 1]
            shape = torch.tensor([[x, y] for x in (0.0, 9.0) for y in range(9)])[:17]
            points = torch.stack([shape + torch.tensor(spot) for spot in spots])
            found.append(
                {
                    "scores": torch.tensor([0.9, 0.8]),
                    "labels": torch.ones(2),
                    "keypoints": points,
                    "confidence": torch.ones(2, 17),
                }
            )
            self.seen += 1
        return found


@pytest.fixture
def standing(weights, monkeypatch):
    run = predictor(weights, tracker="oks")
    monkeypatch.setattr(run, "_compute", Standing(run))
    return run


def left_and_right(results):
    """The numbers of the person at the left and of the one at the right, in each picture."""
    return [
        tuple(result.ids[np.argsort(result.keypoints.xy[:, 0, 0])].tolist()) for result in results
    ]


def test_numbers_go_on_through_pictures_given_one_by_one(standing, tmp_path):
    paths = [write(tmp_path / f"{name}.png", noise()) for name in "abc"]
    found = [next(standing(source)) for source in (noise(), paths[0], paths[1], noise())]
    assert left_and_right(found) == [(1, 2)] * 4
    assert left_and_right(standing.track([noise(), noise()])) == [(1, 2)] * 2
    standing._compute.seen = 1  # who was second comes first
    assert left_and_right(standing(noise())) == [(1, 2)]
    standing.reset()
    standing._compute.seen = 1
    assert left_and_right(standing(noise())) == [(2, 1)]


def test_numbers_go_on_through_numbered_pictures_and_begin_anew_with_a_video(standing, tmp_path):
    for number in range(8, 12):
        write(tmp_path / f"{number}.png", noise())
    write_video(tmp_path / "a.mp4", count=3)
    results = list(standing(tmp_path))
    assert [r.path.rpartition("/")[2] for r in results[:4]] == [f"{i}.png" for i in range(8, 12)]
    assert left_and_right(results) == [(1, 2)] * 7
    standing._compute.seen = 1
    assert left_and_right(standing(tmp_path / "a.mp4")) == [(2, 1)] * 3
    standing._compute.seen = 1
    assert left_and_right(standing.track(tmp_path / "a.mp4", persist=True)) == [(2, 1)] * 3
    assert left_and_right(standing.track(noise())) == [(2, 1)]


def test_without_tracking_nobody_has_a_number(weights):
    run = predictor(weights)
    assert next(run(noise())).ids is None and next(run.track(noise())).ids is not None


def test_a_damaged_videos_missing_rest_is_noted(weights, tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", count=3)
    opened = cv2.VideoCapture

    class Video:  # reads two pictures and no more
        def __init__(self, *source):
            self._video, self._left = opened(*source), 2

        def __getattr__(self, name):
            return getattr(self._video, name)

        def read(self):
            self._left -= 1
            return self._video.read() if self._left >= 0 else (False, None)

    monkeypatch.setattr(cv2, "VideoCapture", Video)
    run = predictor(weights)
    assert len(list(run(tmp_path / "a.mp4"))) == 2
    ((path, reason),) = run.failed
    assert path.endswith("a.mp4") and "2 of 3 pictures could be read" in reason


@pytest.mark.parametrize("device", ["mps", "xpu", "meta", "cuda:99", "fpga"])
def test_a_device_that_is_not_here_is_refused(device):
    with pytest.raises(InputError, match=f"no device '{device}' here; expected auto, cpu or cuda"):
        Predictor("not even looked at.pth", device=device)
