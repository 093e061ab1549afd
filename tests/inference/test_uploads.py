import os
import time

import numpy as np
import pytest
from PIL import Image

from grouppose.errors import InputError
from grouppose.inference.uploads import Limits, delete_older, examine
from tests.inference.conftest import noise, write, write_video


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "a.ppm", "a"])
def test_pictures_pass(tmp_path, name):
    Image.fromarray(noise()).save(tmp_path / name, format=None if "." in name else "PNG")
    assert examine(tmp_path / name, Limits()) is False


def test_videos_pass(tmp_path):
    write_video(tmp_path / "a.mp4")
    write_video(tmp_path / "b.avi")
    assert examine(tmp_path / "a.mp4", Limits()) and examine(tmp_path / "b.avi", Limits())


def test_what_is_too_large_is_refused_from_its_header(tmp_path):
    path = tmp_path / "a.png"
    write(path, np.zeros((100, 101, 3), np.uint8))
    with pytest.raises(InputError, match=r"is 101 x 100, at most 0.01 megapixels"):
        examine(path, Limits(megapixels=0.01))
    assert examine(path, Limits(megapixels=0.0101)) is False
    with pytest.raises(InputError, match=r"MB, at most 0.0001 MB are taken"):
        examine(path, Limits(megabytes=0.0001))
    write_video(tmp_path / "a.mp4", count=13, rate=6.0)
    with pytest.raises(InputError, match="the video lasts 2.2 s, at most 2 s are taken"):
        examine(tmp_path / "a.mp4", Limits(seconds=2))
    with pytest.raises(InputError, match="is 80 x 48, at most 0.003 megapixels"):
        examine(tmp_path / "a.mp4", Limits(megapixels=0.003))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jpg", b"text"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),  # would start a program
        ("a.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n"),
        ("a.avi", b"ffconcat version 1.0\nfile /etc/passwd\n"),
        ("a.webm", b""),
    ],
)
def test_what_only_claims_to_be_one_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match="that can be read; expected"):
        examine(tmp_path / name, Limits())


def test_only_old_files_are_deleted(tmp_path):
    for name in ("old/a.png", "mixed/old.png", "mixed/new.png", "new.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    past = time.time() - 100
    for name in ("old/a.png", "old", "mixed/old.png", "mixed"):
        os.utime(tmp_path / name, (past, past))
    delete_older(tmp_path, 50)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left - {"old"} == {"mixed", "mixed/new.png", "new.png"}
    for path in tmp_path.rglob("*"):
        os.utime(path, (past, past))
    delete_older(tmp_path, 50)
    os.utime(tmp_path / "mixed", (past, past))  # emptying a folder is writing to it
    delete_older(tmp_path, 50)
    assert list(tmp_path.rglob("*.png")) == []


def test_an_animation_counts_as_a_video(tmp_path):
    stills = [Image.new("RGB", (64, 48), (grey,) * 3) for grey in (0, 255)]
    stills[0].save(tmp_path / "a.gif", save_all=True, append_images=stills[1:])
    stills[0].save(tmp_path / "b.gif")
    assert examine(tmp_path / "a.gif", Limits()) and not examine(tmp_path / "b.gif", Limits())
