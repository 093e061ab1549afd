import io
import multiprocessing
import os
import random
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from grouppose import archives
from grouppose.errors import InputError, MissingFileError
from grouppose.pictures import open_picture, read_picture

NOISE = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)


def png(array=NOISE):
    content = io.BytesIO()
    Image.fromarray(array).save(content, "png")
    return content.getvalue()


def pack(path, files, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("file", "member"),
    [
        ("images/train2017.zip", "a/1.png"),
        ("images/train2017.zip", "train2017/a/1.png"),
        ("images.zip", "train2017/a/1.png"),
        ("images.zip", "images/train2017/a/1.png"),
        ("images.zip", r"images\train2017\a\1.png"),
        ("images.zip", "./train2017/a/1.png"),
    ],
)
def test_a_zip_stands_for_its_folder(tmp_path, file, member, method):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    pack(tmp_path / file, {"0.txt": b"", member: png(), "z.txt": b"z"}, method)
    path = tmp_path / "images/train2017/a/1.png"
    assert torch.equal(read_picture(path), torch.from_numpy(NOISE).permute(2, 0, 1))
    with open_picture(path) as picture:
        assert np.array_equal(np.asarray(picture), NOISE)
    assert archives.is_file(path) and archives.is_folder(path.parent.parent)
    assert not archives.is_file(path.with_name("2.png"))
    assert archives.holder(tmp_path / "images/train2017") == tmp_path / file
    assert not archives.is_folder(tmp_path / "other") and not archives.is_file(tmp_path / "o/1.png")


def test_a_path_may_lead_through_the_zip(tmp_path, monkeypatch):
    pack(tmp_path / "mine.zip", {"mine/1.png": b"1", "mine/2.png": b"2", "2.png": b"own"})
    monkeypatch.chdir(tmp_path)
    assert archives.read_member("mine.zip/1.png").read() == b"1"
    assert archives.read_member("mine/2.png").read() == b"own"
    assert archives.holder(tmp_path / "mine.zip") == tmp_path / "mine.zip"


def test_folders_come_first(tmp_path):
    pack(tmp_path / "images.zip", {"1.png": png(), "2.png": png()})
    (tmp_path / "images").mkdir()
    Image.fromarray(NOISE[:10, :10]).save(tmp_path / "images/1.png")
    assert read_picture(tmp_path / "images/1.png").shape == (3, 10, 10)
    assert not archives.is_file(tmp_path / "images/2.png")  # a folder is what it seems to be
    with pytest.raises(MissingFileError, match=r"no picture .*images/2.png; check the path"):
        read_picture(tmp_path / "images/2.png")


def test_a_header_takes_a_piece_of_the_zip(tmp_path, monkeypatch):
    large = np.random.default_rng(0).integers(0, 256, (900, 800, 3), dtype=np.uint8)
    pack(tmp_path / "a.zip", {"1.png": png(large)}, zipfile.ZIP_DEFLATED)
    assert archives.is_folder(tmp_path / "a")
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda f, n, at: read.append(n) or pread(f, n, at))
    with open_picture(tmp_path / "a/1.png") as picture:
        assert picture.size == (800, 900)
    assert sum(read) <= 30 + archives.PIECE  # of 2 MB


def test_members_are_files(tmp_path):
    content = bytes(range(256)) * 500
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        pack(tmp_path / "a.zip", {"1": content, "empty": b""}, method)
        member = archives.open_member(tmp_path / "a/1")
        assert member.read(3) == content[:3] and member.seek(-300, os.SEEK_END) == 127_700
        assert member.read(100) == content[127_700:127_800] and member.tell() == 127_800
        assert member.seek(50) == 50 and member.read() == content[50:] and member.read() == b""
        assert archives.open_member(tmp_path / "a/empty").read() == b""
        (tmp_path / "a.zip").unlink()  # the next one is another file


def test_processes_and_threads_read_from_one_descriptor(tmp_path):
    contents = [bytes([i]) * 200_000 for i in range(8)]
    pack(tmp_path / "a.zip", {str(i): c for i, c in enumerate(contents)}, zipfile.ZIP_DEFLATED)
    paths = [tmp_path / "a" / str(i) for i in range(8)]
    whole = archives.read_member(paths[0]).read()  # opened before the fork
    assert whole == contents[0]
    with multiprocessing.get_context("fork").Pool(2) as pool, ThreadPoolExecutor(4) as threads:
        forked = pool.map_async(archives.read_member, paths * 4, chunksize=1)
        threaded = list(threads.map(archives.read_member, paths * 4))
        for found in (forked.get(), threaded):
            assert [file.read() for file in found] == contents * 4
    archive = archives._archive(str(tmp_path / "a.zip"))
    kept = [value for value in vars(archive).values() if isinstance(value, list | dict | tuple)]
    assert kept == []  # whose members' counts would make forked processes grow


def test_names_in_utf8_without_its_flag(tmp_path):
    pack(tmp_path / "a.zip", {"né.png": b"1", "ü/日本.png": b"2"})
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(data.replace(struct.pack("<H", 0x800), b"\0\0"))
    for name, content in (("né.png", b"1"), ("ü/日本.png", b"2")):
        assert archives.read_member(tmp_path / "a" / name).read() == content
        assert archives.read_member(tmp_path / "b" / name).read() == content


def test_what_is_missing_or_nested_otherwise_names_zip_and_member(tmp_path):
    pack(tmp_path / "a.zip", {"__MACOSX/x": b"", "coco/a/1.png": png(), "coco/a/2.png": png()})
    with pytest.raises(MissingFileError, match=r"^no 1.png in .*/a.zip, which holds 3 files such "):
        read_picture(tmp_path / "a/1.png")
    with pytest.raises(MissingFileError, match=r"such as coco/a/1.png; complete it, or pack the f"):
        open_picture(tmp_path / "a/1.png")
    assert archives.described(tmp_path / "a/1.png") == f"1.png in {tmp_path / 'a.zip'}"
    pack(tmp_path / "b.zip", {})
    with pytest.raises(MissingFileError, match="no 1.png in .*b.zip, which holds 0 files; "):
        read_picture(tmp_path / "b/1.png")


def test_damaged_files_are_unreadable_pictures(tmp_path):
    content = png()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = pack(tmp_path / "a.zip", {"a/1.png": content}, method).read_bytes()
        for place in (100, 50_000, 150_000):
            changed = bytearray(data)
            changed[place] ^= 0x10
            (tmp_path / "b.zip").write_bytes(changed)
            os.replace(tmp_path / "b.zip", tmp_path / "a.zip")
            with pytest.raises(InputError, match=r"^a/1.png in .*/a.zip is damaged \("):
                read_picture(tmp_path / "a/1.png")
    pack(tmp_path / "a.zip", {"1.png": content[:5000], "2.png": b"text"})
    with pytest.raises(InputError, match=r"^1.png in .*a.zip cannot be read as a picture \("):
        read_picture(tmp_path / "a/1.png")
    with pytest.raises(InputError, match=r"^2.png in .*a.zip cannot be read as a picture \("):
        read_picture(tmp_path / "a/2.png")


def test_zips_that_cannot_be_read_are_refused(tmp_path):
    whole = pack(tmp_path / "a.zip", {"a/1.png": png()}).read_bytes()
    for content in (b"", b"PK", whole[: len(whole) // 2], b"x" * 5000):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(InputError, match=r"/a.zip cannot be read as a zip \(.*; download or"):
            archives.is_folder(tmp_path / "a")
    pack(tmp_path / "a.zip", {"a/1.png": png()}, zipfile.ZIP_BZIP2)
    with pytest.raises(InputError, match="a/1.png is compressed by method 12, expected stored or"):
        archives.is_file(tmp_path / "a/1.png")


def test_encrypted_zips_are_refused(tmp_path):
    data = bytearray(pack(tmp_path / "a.zip", {"a/1.png": png()}).read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InputError, match="/a.zip: a/1.png is encrypted; unpack the zip, or"):
        archives.is_folder(tmp_path / "a")


def test_mutated_zips_give_the_picture_or_an_error(tmp_path):
    data = pack(
        tmp_path / "a.zip", {"1.png": png(NOISE[:8, :8])}, zipfile.ZIP_DEFLATED
    ).read_bytes()
    right = torch.from_numpy(NOISE[:8, :8]).permute(2, 0, 1)
    draw = random.Random(0)
    for number in range(200):
        changed = bytearray(data)
        for _ in range(draw.choice((1, 3))):
            changed[draw.randrange(len(data))] = draw.choice((0, 1, 127, 255, draw.randrange(256)))
        (tmp_path / f"{number}.zip").write_bytes(changed)
        try:
            assert torch.equal(read_picture(tmp_path / str(number) / "1.png"), right)
        except (InputError, MissingFileError) as error:
            assert f"{number}.zip" in str(error) and "\n" not in str(error)


def test_a_pipe_or_folder_of_that_name_is_no_zip(tmp_path):
    (tmp_path / "a.zip").mkdir()
    os.mkfifo(tmp_path / "b.zip")
    for name in ("a", "b"):
        assert not archives.is_folder(tmp_path / name)
    Image.fromarray(NOISE).save(tmp_path / "a.zip/1.png")
    assert read_picture(tmp_path / "a.zip/1.png").shape == (3, 300, 200)
