import json

import pytest

from datasets.lists import listed_rows, read_list
from grouppose.errors import InputError, MissingFileError

NAMES = ["my photo 1.png", "my photo 2.png", "a/1.png", "b/1.png", "a/2.png", "000000000139.jpg"]
IDS = [21, 22, 23, 24, 25, 139]


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("my photo 1.png", [0]),
        ("my photo 1", [0]),
        ("a/1.png", [2]),
        ("b/1", [3]),
        ("b\\1.png", [3]),
        ("./a/2.png", [4]),
        ("/data/set/a/1.png", [2]),
        ("24", [3]),
        ("139", [5]),
        ("000000000139", [5]),
        ("train2017/000000000139.png", [5]),
        ("c/1.png", []),
        ("20", []),
        ("photo 1.png", []),
    ],
)
def test_what_a_line_means(line, rows):
    assert listed_rows({line}, NAMES, IDS) == (rows, [] if rows else [line])


def test_an_id_before_a_name_without_its_ending():
    assert listed_rows({"1"}, ["1.png", "2.png"], [2, 1])[0] == [1]
    assert listed_rows({"1.png"}, ["1.png", "2.png"], [2, 1])[0] == [0]


def test_a_line_that_may_be_several_pictures():
    with pytest.raises(InputError, match="has '1.png', which may be a/1.png, b/1.png; write"):
        listed_rows({"1.png"}, NAMES, IDS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_line_ends_and_empty_lines(tmp_path, encoding):
    path = tmp_path / "list.txt"
    path.write_bytes("my photo 1.png\r\n\r\n  a/1.png \r\n7\n".encode(encoding))
    assert read_list(path) == {"my photo 1.png", "a/1.png", "7"}


def test_a_coco_file_and_what_is_no_list(tmp_path):
    path = tmp_path / "list.JSON"
    path.write_text(json.dumps({"images": [{"id": 3, "file_name": "a/1.png"}, {"id": 4}]}))
    assert read_list(path) == {"a/1.png", "4"}
    path.write_text("[1]")
    with pytest.raises(InputError, match="has no 'images'"):
        read_list(path)
    with pytest.raises(MissingFileError, match="no list of pictures"):
        read_list(tmp_path)
    (tmp_path / "list.txt").write_bytes(b"\xff\xfa\x00")
    with pytest.raises(InputError, match="list.txt is no text"):
        read_list(tmp_path / "list.txt")
