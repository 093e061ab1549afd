"""Files written whole or not at all."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from grouppose.errors import InputError
from grouppose.files import check_file, folder_for_results, remove_begun, write_whole


def full_disk(_):
    raise OSError(28, "No space left on device")


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    path, seen = tmp_path / "model.onnx", []

    def write(partial):
        seen.append((partial.suffix, path.exists()))
        partial.write_text("whole")

    write_whole(path, write)
    assert seen == [(".onnx", False)]
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(InputError, match=r"could not write .*a\.txt: No space left on device"):
        write_whole(path, full_disk)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_named_as_such(tmp_path, monkeypatch):
    """torch.save reports it as a RuntimeError about a position in its own source."""

    def unexpected(_):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 4 vs 2")

    with pytest.raises(InputError, match="unexpected pos"):
        write_whole(tmp_path / "a", unexpected)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    with pytest.raises(InputError, match=r"could not write .*a: the disk is full; free space"):
        write_whole(tmp_path / "a", unexpected)


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(InputError, match="could not write .*b: No such file or directory; .*place"):
        write_whole(tmp_path / "none" / "b", lambda partial: partial.write_text(""))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="could not write .*b: Not a directory"):
        write_whole(tmp_path / "file" / "b", lambda partial: partial.write_text(""))


def test_a_folder_for_results_stays_if_something_is_in_it(tmp_path):
    with folder_for_results(tmp_path / "a" / "b", "--out") as folder:
        assert folder.is_dir() and list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), folder_for_results(tmp_path / "a" / "b", "--out"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with folder_for_results(tmp_path / "a" / "b", "--out") as folder:
        (folder / "results.json").write_text("")
    assert (tmp_path / "a" / "b" / "results.json").exists()
    with folder_for_results(tmp_path / "a" / "b", "--out"):
        pass
    assert (tmp_path / "a" / "b" / "results.json").exists()


@pytest.mark.parametrize("path", ["file", "file/below", "/proc/nothing", "x" * 300, "a\0b"])
def test_folders_that_cannot_be_are_refused(tmp_path, path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"(?s)cannot make the folder .* or write into it .*--out"):
        with folder_for_results(tmp_path / path, "--out"):
            raise AssertionError
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_not_reached_through_one_that_is_missing(tmp_path):
    """`x/../photos` would become photos as soon as x is made."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").touch()
    for way in ("x/../photos", "photos/../x/../photos", "x/../new", "file/../photos"):
        with pytest.raises(
            InputError, match=r"--out .*there is no folder .*(x|file); change --out"
        ):
            with folder_for_results(tmp_path / way, "--out"):
                raise AssertionError
    with folder_for_results(tmp_path / "photos" / ".." / "new", "--out") as folder:
        assert folder.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "photos"]


def test_what_killed_processes_had_begun_goes(tmp_path):
    gone = 2**22 + 1  # above Linux's largest number of a process
    begun = [
        f".a.mp4.{gone}.part-drawing.mp4",
        f".a.mp4.{gone}.part.mp4",
        f".b.json.{gone}.part.json",
    ]
    others = [f".c.mp4.{gone}.part.mp4", ".a.mp4.part", ".a.mp4.x.part.mp4", "a.mp4"]
    others += [f".a.mp4.{os.getppid()}.part.mp4"]  # is alive
    for name in (*begun, *others):
        (tmp_path / name).touch()
    remove_begun(tmp_path, ["a.mp4", "b.json"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize(("number", "reason"), [(30, "Read-only"), (28, "No space left")])
def test_folders_that_nothing_can_be_written_into_are_refused(
    tmp_path, monkeypatch, number, reason
):
    def fail(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", fail)
    with pytest.raises(InputError, match=reason), folder_for_results(tmp_path / "a", "--out"):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_a_file_to_write_is_looked_at_before_the_work(tmp_path):
    photos = [tmp_path / "a.png"]
    photos[0].touch()
    check_file(tmp_path / "model.onnx", photos, "--out")
    (tmp_path / "same").symlink_to(photos[0])
    for path, message in (
        (tmp_path, "is a folder, expected a file's name"),
        (tmp_path / "none" / "model.onnx", "none does not exist; make it"),
        (tmp_path / "same" / "model.onnx", "same is no folder"),
        (tmp_path / "same", "is what is read"),
    ):
        with pytest.raises(InputError, match=f"--out .*{message}"):
            check_file(path, photos, "--out")
    with pytest.raises(InputError, match="nothing can be written there"):
        check_file(Path("/proc/x"), photos, "--out")
