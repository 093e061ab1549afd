import json
import os
import subprocess
import sys
import threading

import pytest
import torch

from grouppose.checkpoints import read_checkpoint, write_checkpoint
from grouppose.errors import InputError
from grouppose.files import write_whole
from util import saving
from util.saving import CheckpointWriter, find_checkpoint, name_of, remove_partial


def content(value: float) -> dict:
    return {"model": {"w": torch.full((50,), float(value))}, "step": int(value)}


def value_in(path) -> float:
    return read_checkpoint(path)["model"]["w"][0].item()


@pytest.fixture
def three(tmp_path):
    """A folder with the checkpoints 4, 3 and 2 of 0 to 4."""
    writer = CheckpointWriter(tmp_path, keep=3)
    for value in range(5):
        writer.write(content(value))
    writer.wait()
    return tmp_path


def test_the_newest_ones_are_kept(three):
    assert {path.name: value_in(path) for path in three.iterdir()} == {
        "checkpoint.pth": 4.0,
        "checkpoint_previous1.pth": 3.0,
        "checkpoint_previous2.pth": 2.0,
    }
    assert find_checkpoint(three) == three / "checkpoint.pth"


def test_further_names_and_files_stay_as_they_were_written(tmp_path):
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.write(content(1), ["best.pth"], {"average.pth": content(7)})
    writer.write(content(2))
    writer.wait()
    found = {path.name: value_in(path) for path in tmp_path.iterdir()}
    assert found == {"best.pth": 1.0, "average.pth": 7.0, "checkpoint.pth": 2.0}


def test_names_are_copies_where_a_file_cannot_have_two(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    writer = CheckpointWriter(tmp_path, keep=2)
    for value in range(3):
        writer.write(content(value), ["best.pth"])
    writer.wait()
    assert value_in(tmp_path / "best.pth") == value_in(tmp_path / "checkpoint.pth") == 2.0
    assert value_in(tmp_path / "checkpoint_previous1.pth") == 1.0


def test_what_is_kept_outlives_damage_to_the_newest(tmp_path):
    writer = CheckpointWriter(tmp_path, keep=2)
    writer.write(content(3), ["checkpoint0003.pth", "checkpoint_best_regular.pth"])
    writer.write(content(4))
    writer.wait()
    for age in range(2):
        (tmp_path / name_of(age)).write_bytes(b"the disk's fault")  # in its place
    assert value_in(tmp_path / "checkpoint0003.pth") == 3.0
    assert value_in(tmp_path / "checkpoint_best_regular.pth") == 3.0


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    release = threading.Event()

    def slow(path, what):
        release.wait(20)
        write_checkpoint(path, what)

    monkeypatch.setattr(saving, "write_checkpoint", slow)
    writer, state = CheckpointWriter(tmp_path, keep=1), content(1)
    writer.write(state)
    writer.check()
    state["model"]["w"].fill_(9)  # the next step
    assert list(tmp_path.iterdir()) == []
    release.set()
    writer.wait()
    assert value_in(tmp_path / "checkpoint.pth") == 1.0


def damage_by_bit(path):
    data = bytearray(path.read_bytes())
    position = data.index(torch.full((50,), 4.0).numpy().tobytes()) + 41
    data[position] ^= 1
    path.write_bytes(data)


def damage_by_cut(path):
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize("damage", [damage_by_bit, damage_by_cut])
def test_a_damaged_file_gives_way_to_the_one_before_it(three, damage, caplog, monkeypatch):
    monkeypatch.setattr(saving.logger, "propagate", True)
    newest = three / "checkpoint.pth"
    damage(newest)
    with pytest.raises(InputError, match=r"checkpoint\.pth is (damaged: the checksum|no readable)"):
        read_checkpoint(newest)
    assert find_checkpoint(three) == three / "checkpoint_previous1.pth"
    assert "going on from the one before it" in caplog.text
    writer = CheckpointWriter(three, keep=2)  # the damaged one does not push out a whole one
    writer.write(content(5))
    writer.wait()
    found = [value_in(three / name_of(age)) for age in range(2)]
    assert found == [5.0, 3.0]


def test_where_the_newest_are_damaged_a_run_goes_on_from_the_furthest_that_stays(tmp_path):
    def write(epoch, *names):
        writer.write({**content(epoch), "epoch": epoch, "step": 0}, names)

    writer = CheckpointWriter(tmp_path, keep=2)
    write(40, "checkpoint0039.pth")  # of an earlier run in this folder
    log = [json.dumps({"epoch": epoch}) for epoch in range(7)]
    (tmp_path / "log.txt").write_text("\n".join(log) + "\n{cut off")
    write(4, "checkpoint0003.pth", "checkpoint_best_regular.pth")
    for epoch in (5, 6, 7):
        write(epoch, *["checkpoint0004.pth"] * (epoch == 5))
    writer.wait()
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint.pth"
    for age in range(2):
        damage_by_cut(tmp_path / name_of(age))
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint0004.pth"
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint0004.pth"  # the others are gone
    damage_by_cut(tmp_path / "checkpoint0004.pth")
    assert value_in(find_checkpoint(tmp_path)) == 4.0
    (tmp_path / "checkpoint0003.pth").unlink()
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint_best_regular.pth"
    damage_by_cut(tmp_path / "checkpoint_best_regular.pth")
    with pytest.raises(InputError, match=r"is whole \(checkpoint_best_regular\.pth, now \*\.dam"):
        find_checkpoint(tmp_path)


def test_nothing_whole_is_an_error_and_nothing_at_all_is_none(three, tmp_path_factory):
    for age in range(3):
        damage_by_cut(three / name_of(age))
    with pytest.raises(InputError, match=r"no checkpoint in .* is whole \(checkpoint.pth, "):
        find_checkpoint(three)
    assert find_checkpoint(tmp_path_factory.mktemp("empty")) is None


def test_a_full_disk_is_reported_and_leaves_the_old_files(three, monkeypatch):
    before = {path.name: path.read_bytes() for path in three.iterdir()}

    def full(_, path):
        with open(path, "wb") as file:
            file.write(b"begun")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    writer = CheckpointWriter(three, keep=3)
    writer.write(content(5))
    with pytest.raises(InputError, match="could not write .*: No space left on device; free"):
        writer.wait()
    writer.check()  # told once
    assert {path.name: path.read_bytes() for path in three.iterdir()} == before


def test_what_a_killed_run_began_is_removed(three):
    def killed(temporary):
        temporary.write_text("half")
        os.link(temporary, three / "left")
        begun.append(temporary)

    begun = []
    for name in ("checkpoint.pth", "config.py"):
        write_whole(three / name, killed)
        os.replace(three / "left", begun[-1])
    (three / ".checkpoint.next").write_text("half")
    assert len(list(three.iterdir())) == 3 + 1 + 3
    remove_partial(three)
    assert len(list(three.iterdir())) == 3 + 1


def test_what_another_process_writes_is_left_alone(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        file = tmp_path / f".results.json.{other.pid}.part.json"
        file.write_text("half")
        remove_partial(tmp_path)
        assert file.exists()
        other.communicate(b"\n")
    remove_partial(tmp_path)
    assert not file.exists()
