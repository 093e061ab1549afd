import json
import subprocess
import sys

import cv2
import pytest

import grouppose
from grouppose import demo
from grouppose.inference.cli import main
from tests.inference.conftest import noise, write, write_video


def test_a_folder_is_drawn_and_written_as_coco(weights, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write(folder / "a.png", noise())
    write(folder / "b.jpg", noise(seed=1))
    (folder / "c.jpg").write_text("no picture")
    arguments = ["predict", str(folder), "--weights", str(weights), "--out", str(out)]
    code = main([*arguments, "--json", "--threshold", "0", "--size", "64"])
    assert code == 1  # as a file could not be read
    printed = capsys.readouterr()
    assert "12 people in 2 pictures" in printed.out
    assert "left out: " in printed.err and "c.jpg cannot be read" in printed.err
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.jpg", "predictions.json"]
    content = json.loads((out / "predictions.json").read_text())
    assert [image["id"] for image in content["images"]] == [1, 2]
    assert [person["id"] for person in content["annotations"]] == list(range(1, 13))
    assert {person["image_id"] for person in content["annotations"]} == {1, 2}
    assert content["categories"][0]["keypoints"][0] == "nose"


def test_a_video_becomes_an_mp4_of_the_same_rate(weights, tmp_path):
    write_video(tmp_path / "a.mp4", count=4, rate=12.0)
    out = tmp_path / "out"
    arguments = ["predict", str(tmp_path / "a.mp4"), "--weights", str(weights), "--out", str(out)]
    assert main([*arguments, "--track", "--quiet", "--size", "64"]) == 0
    video = cv2.VideoCapture(str(out / "a.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12)


def test_files_of_one_name_do_not_overwrite_each_other(weights, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.png", noise())
    out = tmp_path / "out"
    pattern = str(tmp_path / "[xy]" / "a.png")
    arguments = ["--weights", str(weights), "--out", str(out), "--size", "64", "--quiet"]
    assert main(["predict", pattern, *arguments]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_2.png"]


def test_info_tells_what_a_checkpoint_holds(weights, capsys):
    assert main(["info", str(weights)]) == 0
    printed = capsys.readouterr().out
    model = grouppose.load_model(weights)
    count = sum(value.numel() for value in model.state_dict().values())
    assert f"{count / 1e6:.2f} M numbers" in printed
    assert "backbone = 'resnet18s'" in printed and "num_body_points = 17" in printed


def test_mistakes_end_with_one_line(tmp_path, capsys):
    for arguments, message in (
        (["info", "none.pth"], "no file none.pth"),
        (["predict", "a.jpg", "--weights", "none.pth"], "no file none.pth"),
    ):
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_the_command_starts():
    done = subprocess.run(
        [sys.executable, "-m", "grouppose.inference.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "predict" in done.stdout and "doctor" in done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has DISPLAY")
def test_show_without_a_screen_is_refused_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DISPLAY", "")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    out = tmp_path / "out"
    assert main(["predict", str(demo.PICTURE), "--show", "--device", "cpu", "--out", str(out)]) == 1
    assert "--show needs a screen" in capsys.readouterr().err and not out.exists()


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"grouppose {grouppose.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "3"], "argument --threshold: it is 3, must be from 0 to 1"),
        (["--threshold", "nan"], "argument --threshold: it is nan"),
        (["--size", "0"], "argument --size: it is 0, must be from 1 to 100000"),
        (["--scales", "480", "-1"], "argument --scales: it is -1"),
        (["--suppress", "5"], "argument --suppress: it is 5"),
        (["--max-people", "0"], "argument --max-people: it is 0"),
        (["--longest", "x"], "argument --longest: it is 'x'"),
        (["--batch-size", "1.5"], "argument --batch-size: it is '1.5'"),
        (["--max-megapixels", "-1"], "argument --max-megapixels: it is -1, must be a number"),
        (["--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
        (["--device", "mps"], "no device 'mps' here; expected auto, cpu or cuda"),
    ],
)
def test_wrong_options_end_in_a_line_that_names_them(tmp_path, capsys, arguments, message):
    write(tmp_path / "a.png", noise())
    out = tmp_path / "out"
    try:
        code = main(["predict", str(tmp_path / "a.png"), "--out", str(out), *arguments])
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code and message in error and error.count("\n") == 1 and not out.exists()


def test_options_of_the_predictor_are_options_of_the_command(weights, tmp_path, capsys):
    paths = [write(tmp_path / f"{name}.png", noise()) for name in "ab"]
    arguments = ["--weights", str(weights), "--out", str(tmp_path / "out"), "--threshold", "0"]
    sizes = ["--size", "64", "--longest", "70", "--batch-size", "1"]
    assert main(["predict", *paths, *arguments, *sizes, "--max-people", "2"]) == 0
    assert "4 people in 2 pictures" in capsys.readouterr().out
    assert main(["predict", *paths, *arguments, *sizes, "--suppress", "0.00001"]) == 0
    assert "12 people" not in capsys.readouterr().out
    assert main(["predict", paths[0], *arguments, "--max-megapixels", "0.001"]) == 1
    assert "80 x 48 pixels, over 0.001 million" in capsys.readouterr().err


def test_files_to_write_are_looked_at_before_the_work(weights, tmp_path, capsys):
    for arguments, message in (
        (["export", "--weights", str(weights), "--out", str(tmp_path)], "is a folder"),
        (["export", "--weights", str(weights), "--out", "/proc/x.onnx"], "change --out"),
        (["export", "--weights", str(weights), "--out", str(weights)], "is what is read"),
        (["convert", str(weights), str(weights)], "is what is read"),
    ):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err


def test_help_is_a_command_too(capsys):
    for asked, said in ((["help"], "usage: grouppose [-h]"), (["help", "info"], "grouppose info")):
        with pytest.raises(SystemExit) as ended:
            main(asked)
        assert ended.value.code == 0 and said in capsys.readouterr().out


def test_an_empty_folder_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "0", "--out", ""])
    assert "error: argument --out: it is empty, expected a folder" in capsys.readouterr().err
