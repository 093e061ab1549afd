import json
import os

import pytest

from grouppose.errors import InputError
from grouppose.inference.outputs import Names, check_folder, signed
from tests.inference.conftest import noise, write


def test_two_sources_never_share_a_name():
    files = ["x/a.png", "y/a.png", "z/a_2.png", "b.JPG", "c.bmp", "c.png", "A.png", "v.mp4", "v.ts"]
    names = Names(files)
    assert [names.of(path, 0, moving=path[0] == "v") for path in files] == [
        "a.png", "a_3.png", "a_2.png", "b.jpg", "c_2.png", "c.png", "A_4.png", "v.mp4", "v_2.mp4",
    ]  # fmt: skip
    assert names.of("x/a.png", 0, moving=False) == "a_5.png"  # nobody planned it again


def test_names_of_what_is_no_file():
    names = Names(video=".webm")
    assert names.of("http://here.org/in/a.jpg?size=1", 0, moving=False) == "a.jpg"
    assert names.of("rtsp://here.org:554/", 0, moving=True) == "here.webm"
    assert names.of("array", 0, moving=False) == "array.png"
    assert names.of("stack.tif", 0, moving=False) == "stack.png"
    assert names.of("stack.tif", 2, moving=False) == "stack_2.png"
    assert names.of("", 0, moving=False) == "picture.png"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return [write(folder / "a.png", noise()), write(folder / "b.png", noise())]


def links(tmp_path):
    """Folders whose a.png is that of photos in another guise."""
    photos = tmp_path / "photos"
    (tmp_path / "folder").symlink_to(photos)
    for name, link in (("soft", os.symlink), ("hard", os.link)):
        (tmp_path / name).mkdir()
        link(photos / "a.png", tmp_path / name / "a.png")
    return [photos, photos / ".." / "photos", *(tmp_path / n for n in ("folder", "soft", "hard"))]


def test_no_source_is_written_over(tmp_path, photos):
    for folder in links(tmp_path):
        with pytest.raises(InputError, match="--out .*a.png is one of the sources and would"):
            check_folder(folder, ["a.png"], photos, "--out")
    check_folder(tmp_path / "photos", ["c.png"], photos, "--out")
    check_folder(tmp_path / "new" / "folder", ["a.png", "predictions.json"], photos, "--out")
    assert not (tmp_path / "new").exists()
    (tmp_path / "photos" / "c.mp4").touch()  # somebody's, as nothing else is drawn here
    with pytest.raises(InputError, match="--output_dir .*c.mp4 lies among the sources"):
        check_folder(tmp_path / "photos", ["c.mp4"], photos, "--output_dir")


@pytest.mark.parametrize("name", ["predictions.json", "predictions.csv"])
def test_results_of_others_are_not_replaced(tmp_path, name):
    for content in (b"", b'{"images": []}', b"a,b\n", b"\xff\xfe\0"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} was not written by this program"):
            check_folder(tmp_path, [name], [], "--out")


def test_results_that_somebody_corrected_are_not_replaced(tmp_path):
    content = {"images": [{"file_name": "a}, b"}], "annotations": [], "categories": []}
    path = tmp_path / "predictions.json"
    path.write_bytes(signed(content))
    assert json.loads(path.read_bytes()).items() >= content.items()
    check_folder(tmp_path, [path.name], [], "--out")
    path.write_text(path.read_text().replace("a}, b", "c.png"))
    with pytest.raises(InputError, match="predictions.json was not .* or was changed since"):
        check_folder(tmp_path, [path.name], [], "--out")


def test_places_that_cannot_be_are_refused(tmp_path, photos):
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    for folder, message in (
        (tmp_path / "photos" / "a.png", "a.png is a file, expected a folder"),
        (tmp_path / "photos" / "a.png" / "b" / "c", "a.png is a file, expected a folder"),
        (tmp_path / "out", "out/a.png is a folder, where a file is to be written"),
    ):
        with pytest.raises(InputError, match=message):
            check_folder(folder, ["a.png"], photos, "--out")


def test_an_animation_is_planned_as_a_video(tmp_path):
    from PIL import Image

    stills = [Image.new("L", (64, 48), grey) for grey in (0, 255)]
    stills[0].save(tmp_path / "a.gif", save_all=True, append_images=stills[1:])
    stills[0].save(tmp_path / "b.gif")
    (tmp_path / "d.jpg").write_text("no picture")
    files = [str(tmp_path / name) for name in ("a.gif", "b.gif", "d.jpg")]
    assert Names(files).planned == ["a.mp4", "b.png", "d.jpg"]
