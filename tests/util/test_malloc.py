import ctypes
import sys

from util import malloc


class Library:
    def __init__(self):
        self.set = {}

    def mallopt(self, name, value):
        self.set[name] = value


def test_freed_memory_is_kept_and_large_blocks_go_back_where_memory_is_scarce(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    found = {}
    for sparing in (False, True):
        library = Library()
        monkeypatch.setattr(ctypes, "CDLL", lambda _, library=library: library)
        malloc.keep_memory(sparing)
        found[sparing] = library.set
    assert found[False] == {-4: 0, -1: 2**31 - 1}  # no mapping of its own for large blocks
    assert found[True] == {-3: 32 * 2**20, -1: 2**31 - 1}


def test_other_systems_and_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    malloc.keep_memory(sparing=True)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)  # nobody calls it
    malloc.keep_memory(sparing=True)
