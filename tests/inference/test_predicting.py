import json
import os
import shutil
import sys

import cv2
import numpy as np
import pytest

from grouppose.errors import InputError
from grouppose.inference import predicting
from grouppose.inference.predicting import Job, predict_into
from grouppose.inference.predictor import Predictor
from tests.inference.conftest import noise, write, write_video


@pytest.fixture(scope="module")
def run(weights):
    return Predictor(weights, device="cpu", threshold=0.0, size=64)


def predict(run, source, folder, **job):
    return predict_into(Job(source, folder, **job), lambda: run)


def counted(path):
    video = cv2.VideoCapture(str(path))
    return int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_two_videos_of_one_name_give_two_whole_ones(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_video(folder / "clip.mp4", count=3)
    write_video(folder / "clip.m4v", count=5)
    for _ in range(2):  # also into its own output
        assert predict(run, str(folder), tmp_path / "out", quiet=True) == 0
        assert names(tmp_path / "out") == ["clip.mp4", "clip_2.mp4"]
        assert counted(tmp_path / "out" / "clip.mp4")[0] == 3
        assert counted(tmp_path / "out" / "clip_2.mp4")[0] == 5
    video = str(folder / "clip.mp4")
    assert predict(run, [video, video], tmp_path / "twice", quiet=True) == 0
    assert [counted(tmp_path / "twice" / n)[0] for n in ("clip.mp4", "clip_2.mp4")] == [3, 3]


@pytest.mark.parametrize("rate", [480, 30000 / 1001, 7.5])
def test_what_is_drawn_lasts_as_long_as_the_source(run, tmp_path, rate):
    write_video(tmp_path / "a.mp4", count=6, rate=rate)
    assert predict(run, str(tmp_path / "a.mp4"), tmp_path / "out", csv=True, quiet=True) == 0
    assert counted(tmp_path / "out" / "a.mp4") == (6, pytest.approx(rate, abs=0.01))
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    columns = [line.split(",") for line in lines]
    assert columns[0][1:3] == ["frame", "time"]
    times = {int(row[1]): float(row[2]) for row in columns[1:]}
    assert times == pytest.approx({i: i / rate for i in range(6)}, abs=1e-4)


def test_sources_and_results_of_others_stay_as_they_are(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.png", noise())
    write_video(folder / "b.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.json").write_text('{"mine": 1}')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    never = pytest.fail  # nobody asks for the model
    for source in (folder, str(folder / "*"), str(folder / "b.mp4"), [str(folder / "a.png")]):
        with pytest.raises(InputError, match="--out .*would be written over"):
            predict_into(Job(source, folder), never)
    with pytest.raises(InputError, match="--output_dir"):
        predict_into(Job(folder, folder / ".." / "in", flag="--output_dir", json=True), never)
    with pytest.raises(InputError, match="out/predictions.json was not written by this program"):
        predict_into(Job(folder, tmp_path / "out", json=True), never)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_into_its_own_results_replaces_them(run, tmp_path):
    write(tmp_path / "a.png", noise())
    out = tmp_path / "out"
    for _ in range(2):
        assert predict(run, str(tmp_path / "a.png"), out, json=True, csv=True, quiet=True) == 0
        assert names(out) == ["a.png", "predictions.csv", "predictions.json"]
    people = json.loads((out / "predictions.json").read_text())["annotations"]
    lines = (out / "predictions.csv").read_text().splitlines()
    assert lines[0].startswith("path,frame,time,person,track,") and len(people) == 6
    assert len(lines) == 1 + 6 * 17
    first = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert first["name"] == "nose" and first["time"] == first["track"] == ""
    assert float(first["x"]) == people[0]["keypoints"][0]


def test_pages_of_a_stack_do_not_take_the_name_of_a_file_beside_it(run, tmp_path):
    from PIL import Image

    pages = [Image.fromarray(noise(seed=i)) for i in range(2)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    write(tmp_path / "s_1.png", noise())
    kept = (tmp_path / "s_1.png").read_bytes()
    assert predict(run, str(tmp_path / "s.tif"), tmp_path, quiet=True) == 0
    assert names(tmp_path) == ["s.png", "s.tif", "s_1.png", "s_1_2.png"]
    assert (tmp_path / "s_1.png").read_bytes() == kept


def test_a_run_that_breaks_off_leaves_the_earlier_results(run, tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", count=4)
    out = tmp_path / "out"
    assert predict(run, str(tmp_path / "a.mp4"), out, json=True, quiet=True) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def breaks(result):
        if result.frame == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(predicting.Lines, "add", lambda self, result: breaks(result))
    with pytest.raises(KeyboardInterrupt):
        predict(run, str(tmp_path / "a.mp4"), out, json=True, quiet=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_camera_is_written_until_it_is_stopped(run, tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", count=9)
    opened = cv2.VideoCapture
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda place, *more: opened(place or str(tmp_path / "a.mp4"), *more)
    )
    add = predicting.Lines.add

    def breaks(self, result):
        add(self, result)
        if result.frame == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(predicting.Lines, "add", breaks)
    with pytest.raises(KeyboardInterrupt):
        predict(run, 0, tmp_path / "out", json=True, quiet=True)
    assert names(tmp_path / "out") == ["camera 0.mp4", "predictions.json"]
    assert counted(tmp_path / "out" / "camera 0.mp4")[0] == 5


def test_a_line_a_picture_and_video_and_what_was_left_out(run, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.png", noise())
    write_video(folder / "b.mp4", count=3)
    (folder / "c.heic").write_text("no picture")
    for i in range(7):
        (folder / f"notes{i}.txt").write_text("text")
    assert predict(run, str(folder), tmp_path / "out") == 1
    told = capsys.readouterr()
    picture, video, summary = told.out.splitlines()
    assert picture.startswith(f"6 people in {folder}/a.png, ") and picture.endswith(" ms")
    assert video.startswith(f"6 people at a time in {folder}/b.mp4, 3 pictures, ")
    assert summary == f"24 people in 4 pictures; see {tmp_path / 'out'}"
    assert "left out: " in told.err and "c.heic" in told.err
    assert "by their ending: " in told.err and "notes4.txt and 2 more\n" in told.err
    (folder / "c.heic").unlink()
    assert predict(run, str(folder), tmp_path / "out", quiet=True) == 0
    assert capsys.readouterr() == ("", "")


def test_without_a_display_nothing_is_shown_or_written(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(InputError, match="--show needs a screen"):
        predict_into(Job("a.png", tmp_path / "out", show=True), pytest.fail)
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_not_there_leaves_no_folder(run, tmp_path):
    for source in (str(tmp_path / "none.png"), 99, "http://127.0.0.1:1/a.png"):
        with pytest.raises((InputError, FileNotFoundError)):
            predict(run, source, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_pictures_keep_their_size_and_ending(run, tmp_path):
    write(tmp_path / "a.jpg", noise())
    shutil.copy(tmp_path / "a.jpg", tmp_path / "b.jfif")
    files = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jfif")]
    assert predict(run, files, tmp_path / "out", quiet=True) == 0
    assert names(tmp_path / "out") == ["a.jpg", "b.png"]
    drawn = cv2.imread(str(tmp_path / "out" / "b.png"))
    (result,) = run(files[1])
    assert np.array_equal(drawn[..., ::-1], result.plot()) and os.path.exists(files[1])


def test_long_names_and_names_that_are_no_text(run, tmp_path):
    kept = ["街" * 80 + ".png"]
    if sys.platform == "linux":  # elsewhere names are text
        kept.append(os.fsdecode(b"caf\xe9.png"))
    (tmp_path / "in").mkdir()
    for name in kept:
        shutil.copy(write(tmp_path / "a.png", noise()), tmp_path / "in" / name)
    assert predict(run, str(tmp_path / "in"), tmp_path / "out", json=True, csv=True) == 0
    assert names(tmp_path / "out") == sorted([*kept, "predictions.csv", "predictions.json"])
