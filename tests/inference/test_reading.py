import http.server
import threading

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from grouppose.errors import InputError, MissingFileError
from grouppose.inference import reading
from grouppose.inference.reading import from_address, from_file, is_moving
from tests.inference.conftest import noise, write, write_video

GREYS = (10, 120, 240)


def greys(frames):
    """The value of each picture's middle, to the nearest 10."""
    return [round(int(frame.image[0, 24, 40]) / 10) * 10 for frame in frames]


@pytest.fixture
def stills():
    return [Image.new("RGB", (80, 48), (grey,) * 3) for grey in GREYS]


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "avif"])
def test_an_animation_is_a_video_that_lasts_as_long(tmp_path, stills, ending):
    path = tmp_path / f"a.{ending}"
    durations = [100, 100, 400]  # ms
    stills[0].save(path, save_all=True, append_images=stills[1:], duration=durations)
    frames = list(from_file(str(path)))
    assert greys(frames) == list(GREYS)
    assert [frame.number for frame in frames] == [0, 1, 2]
    assert [frame.rate for frame in frames] == [pytest.approx(3 / 0.6)] * 3
    assert is_moving(str(path))


def test_an_animation_that_says_no_time_shows_ten_pictures_a_second(tmp_path, stills):
    stills[0].save(tmp_path / "a.gif", save_all=True, append_images=stills[1:])
    assert [frame.rate for frame in from_file(str(tmp_path / "a.gif"))] == [pytest.approx(10)] * 3


def test_pages_of_a_tiff_are_pictures_and_previews_are_not(tmp_path, stills):
    path = str(tmp_path / "a.tif")
    stills[0].save(path, save_all=True, append_images=stills[1:])
    frames = list(from_file(path))
    assert greys(frames) == list(GREYS) and {frame.rate for frame in frames} == {0.0}
    assert [frame.number for frame in frames] == [0, 1, 2] and not is_moving(path)
    stills[1].encoderinfo = {"tiffinfo": {254: 1}}
    stills[0].save(path, save_all=True, append_images=stills[1:])
    assert greys(from_file(path)) == [10, 240]


def test_a_photograph_with_a_second_picture_inside_is_one(tmp_path, stills):
    path = tmp_path / "a.jpg"
    stills[0].save(path, format="MPO", save_all=True, append_images=stills[1:])
    assert greys(from_file(str(path))) == [10] and not is_moving(str(path))


@pytest.mark.parametrize(("ending", "codec"), [("ts", "mp4v"), ("3gp", "mp4v"), ("m4v", "mp4v")])
def test_endings_of_cameras_are_videos(tmp_path, ending, codec):
    path = tmp_path / f"a.{ending}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (80, 48))
    for _ in range(3):
        writer.write(noise())
    writer.release()
    assert len(list(from_file(str(path)))) == 3


@pytest.mark.parametrize("rate", [300, 480, 600, 960])
def test_high_speed_cameras_keep_their_rate(tmp_path, rate):
    write_video(tmp_path / "a.mp4", count=2, rate=rate)
    assert {frame.rate for frame in from_file(str(tmp_path / "a.mp4"))} == {rate}


def test_whatever_its_name_says_a_video_is_one_and_text_is_none(tmp_path):
    write_video(tmp_path / "a.mp4", count=2)
    (tmp_path / "a.mp4").rename(tmp_path / "recording.bin")
    assert len(list(from_file(str(tmp_path / "recording.bin")))) == 2
    assert is_moving(str(tmp_path / "recording.bin"))
    (tmp_path / "notes.txt").write_text("which ffmpeg takes for a terminal\n" * 9)
    with pytest.raises(InputError, match="notes.txt cannot be read as a picture"):
        list(from_file(str(tmp_path / "notes.txt")))


def shortened(tmp_path):
    """A video whose list of pictures comes first, without its last third."""
    write_video(tmp_path / "whole.mp4", count=9)
    content = (tmp_path / "whole.mp4").read_bytes()
    boxes, at = {}, 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        boxes[content[at + 4 : at + 8]] = content[at : at + size]
        at += size
    # with the list behind it, the data would begin later than it says: blank what is left out
    data = boxes[b"mdat"]
    kept = len(data) * 2 // 3
    boxes[b"mdat"] = data[:kept] + bytes(len(data) - kept)
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"".join(boxes.values()))
    return str(path)


def test_a_damaged_video_says_how_many_of_how_many(tmp_path):
    path, notes = shortened(tmp_path), []
    frames = list(from_file(path, lambda name, error: notes.append((name, str(error)))))
    assert 0 < len(frames) < 9
    (note,) = notes
    assert note[0] == path and f"{len(frames)} of 9 pictures could be read" in note[1]
    with pytest.raises(InputError, match=f"{len(frames)} of 9 pictures"):
        list(from_file(path))


def test_what_opencv_alone_reads_is_read(tmp_path):
    image = noise()
    write(tmp_path / "a.pam", image)
    (frame,) = from_file(str(tmp_path / "a.pam"))
    assert torch.equal(frame.image, torch.from_numpy(image).permute(2, 0, 1))


def test_missing_files_and_large_ones_are_named(tmp_path):
    for name, message in (("a.jpg", "no picture .*a.jpg; check"), ("a.ts", "no video .*a.ts")):
        with pytest.raises(MissingFileError, match=message):
            list(from_file(str(tmp_path / name)))
    write(tmp_path / "b.png", noise())
    with pytest.raises(InputError, match="b.png has 80 x 48 pixels, over 0.001 million"):
        list(from_file(str(tmp_path / "b.png"), max_megapixels=0.001))
    assert len(list(from_file(str(tmp_path / "b.png"), max_megapixels=0.004))) == 1


@pytest.fixture
def site(tmp_path):
    """The address of a folder that a server of this machine gives."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_addresses_of_the_web_are_read(tmp_path, site, stills):
    image = noise()
    write(tmp_path / "a.png", image)
    write_video(tmp_path / "b.mp4", count=3)
    stills[0].save(tmp_path / "c.gif", save_all=True, append_images=stills[1:])
    (frame,) = from_address(f"{site}/a.png?size=large")
    assert torch.equal(frame.image, torch.from_numpy(image).permute(2, 0, 1))
    assert frame.path == f"{site}/a.png?size=large"
    assert len(list(from_address(f"{site}/b.mp4"))) == 3
    assert greys(from_address(f"{site}/c.gif")) == list(GREYS)


def test_addresses_that_cannot_be_read_are_named(tmp_path, site, monkeypatch):
    (tmp_path / "page.html").write_text("<html>")
    write(tmp_path / "a.png", np.zeros((300, 300, 3), np.uint8))
    for address, message in (
        (f"{site}/none.png", "none.png cannot be fetched .404 .*; check the address, or download"),
        (f"{site}/page.html", "page.html cannot be read as a picture"),
        ("http://127.0.0.1:1/a.png", "cannot be fetched .*refused"),
        ("http://[broken/a.png", "is no address"),
        ("ftp://here/a.png", "ftp addresses are not read, expected http"),
        ("file:///etc/passwd", "file addresses are not read"),
    ):
        with pytest.raises(InputError, match=message):
            list(from_address(address))
    monkeypatch.setattr(reading, "_LARGEST", 100)
    with pytest.raises(InputError, match="a.png has more than .* MB; download it"):
        list(from_address(f"{site}/a.png"))
    monkeypatch.setattr(reading, "_LARGEST", 1 << 20)
    monkeypatch.setattr(reading, "_LONGEST", 0)
    with pytest.raises(InputError, match="a.png took more than 0 s; download it"):
        list(from_address(f"{site}/a.png"))
