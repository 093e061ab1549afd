import numpy as np
import pytest
from PIL import Image

from grouppose.errors import InputError, MissingFileError
from grouppose.inference.sources import Reading, camera_or_path, frames, listed, natural_order
from tests.inference.conftest import noise, write, write_video


def names(source, **reading):
    return [frame.path.rpartition("/")[2] for frame in frames(source, Reading(**reading))]


@pytest.fixture
def walk(tmp_path):
    """Numbered pictures without leading zeros, and what else lies in such a folder."""
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in (1, 2, 9, 10, 11):
        write(folder / f"frame {number}.png", noise())
    (folder / "notes.txt").write_text("text")
    (folder / ".hidden.png").write_text("no picture")
    (folder / "inner.png").mkdir()
    return folder


WALK = [f"frame {number}.png" for number in (1, 2, 9, 10, 11)]


def test_numbered_pictures_come_in_the_order_of_their_numbers(walk):
    assert names(walk) == WALK
    assert names(str(walk / "frame*")) == WALK
    mixed = sorted(str(path) for path in walk.glob("frame*"))  # 1, 10, 11, 2, 9
    assert names(mixed, in_order=True) == WALK
    assert names(mixed) == [path.rpartition("/")[2] for path in mixed]  # as given


def test_numbers_in_names_sort_as_numbers():
    assert sorted(["a10b2", "a9", "a10b10", "a09", "b"], key=natural_order) == [
        "a9", "a09", "a10b2", "a10b10", "b",
    ]  # fmt: skip


def test_numbered_pictures_of_a_folder_are_a_sequence_and_each_video_is_one(walk):
    write(walk / "face.png", noise())
    for name in ("a.mp4", "b.mp4"):
        write_video(walk / name, count=2)
    found = [(f.path.rpartition("/")[2], f.sequence) for f in frames(walk)]
    assert {sequence for name, sequence in found if name in WALK} == {str(walk)}
    others = [sequence for name, sequence in found if name not in WALK]
    assert len(others) == 5 and len(set(others)) == 3  # two pictures of each video, one of a face
    video = str(walk / "a.mp4")
    assert len({f.sequence for f in frames([video, video])}) == 2
    for given in (walk / "frame 1.png", [walk / "frame 1.png"], noise(), [noise(), noise()]):
        assert {frame.sequence for frame in frames(given)} == {""}
    assert next(frames(video)).sequence == video


def test_files_of_a_source_are_known_before_any_is_read(walk):
    files, others = listed(walk)
    assert [path.rpartition("/")[2] for path in files] == WALK
    assert others == [str(walk / "notes.txt")]
    assert listed([str(walk / "frame 2.png"), str(walk / "frame 1*")])[0] == [
        str(walk / f"frame {number}.png") for number in (2, 1, 10, 11)
    ]
    assert listed(str(walk.parent / "*"))[0] == files
    assert listed(noise()) == listed(0) == listed("http://127.0.0.1/a.jpg") == ([], [])
    for path in ("none.jpg", "none*.jpg", walk / "frame 1.png" / "x.jpg"):
        with pytest.raises(MissingFileError):
            listed(path)
    with pytest.raises(InputError, match="holds no picture and no video"):
        listed(walk / "inner.png")


def test_every_ending_that_the_libraries_know_is_looked_at(tmp_path):
    picture = Image.new("RGB", (64, 48))
    for name in ("a.jfif", "b.jp2", "c.avif", "d.qoi", "e.tga", "F.JPE", "g.apng", "j.mpo"):
        picture.save(tmp_path / name, format={"g.apng": "PNG", "j.mpo": "JPEG"}.get(name))
    (tmp_path / "h.heic").write_text("no picture")
    (tmp_path / "i.cr2").write_text("no picture")
    failed = []
    assert names(tmp_path, failed=lambda name, error: failed.append(name)) == [
        "F.JPE", "a.jfif", "b.jp2", "c.avif", "d.qoi", "e.tga", "g.apng", "j.mpo",
    ]  # fmt: skip
    assert [name.rpartition("/")[2] for name in failed] == ["h.heic", "i.cr2"]


def test_digits_are_a_camera_where_nothing_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024").mkdir()
    assert camera_or_path("2024") == "2024"
    assert camera_or_path("0") == 0 and camera_or_path("12") == 12
    for text in ("²", "٣", "-1", "1.5", ""):
        assert camera_or_path(text) == text
    with pytest.raises(MissingFileError, match="no picture ²; check the path"):
        list(frames("²"))
    for number in (-1, -5, 10**20):  # with which OpenCV crashes
        with pytest.raises(InputError, match=f"there is no camera {number}; the first is 0"):
            list(frames(number))


def test_an_iterator_is_read_as_it_goes():
    taken = []

    def pictures():
        for i in range(3):
            taken.append(i)
            yield noise(seed=i)

    read = frames(pictures())
    for i in range(3):
        assert np.array_equal(next(read).image.permute(1, 2, 0), noise(seed=i))
        assert taken == list(range(i + 1))
    assert next(read, None) is None
