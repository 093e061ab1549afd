import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from grouppose.errors import InputError
from grouppose.inference import window
from tests.inference.conftest import noise


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has DISPLAY")
@pytest.mark.parametrize("display", ["", ":987"], ids=["none", "of nobody"])
def test_without_a_display_it_is_one_line(monkeypatch, display):
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match="no window opens here: there is no display") as error:
        window.show_picture(noise())
    assert "\n" not in str(error.value)


def test_an_opencv_without_windows_is_one_line(monkeypatch):
    def refuse(*given):
        raise cv2.error("not implemented")

    monkeypatch.setattr(window, "_opens_windows", lambda *screens: True)
    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(InputError, match="no window opens here"):
        window.show_picture(noise())


def test_a_window_stays_until_a_key_or_until_it_is_closed(monkeypatch):
    keys, shown = iter([-1, -1, -1, ord("x")]), []
    monkeypatch.setattr(window, "_opens_windows", lambda *screens: True)
    monkeypatch.setattr(cv2, "namedWindow", lambda *given: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append((title, image)))
    monkeypatch.setattr(cv2, "waitKey", lambda wait: next(keys))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *given: 1.0)
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: shown.append((title, None)))
    image = noise()
    window.show_picture(image, "a.png")
    (title, drawn), closed = shown
    assert title == "a.png" and (drawn[..., ::-1] == image).all() and closed == ("a.png", None)
    assert list(keys) == []
    monkeypatch.setattr(cv2, "waitKey", lambda wait: ord("q"))
    assert window.show_frame(image) is False


def test_in_a_notebook_it_is_below_the_cell(monkeypatch):
    displayed = []
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=displayed.append))
    image = noise()
    window.show_picture(image)
    assert (np.asarray(displayed[0]) == image).all()
