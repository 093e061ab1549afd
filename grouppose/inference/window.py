"""Shows a picture where there is something to show it on: a notebook or a window."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import cv2
import numpy as np

from grouppose.errors import InputError

_QUIT = (ord("q"), 27)  # q and Escape
_NO_WINDOW = (
    "no window opens here: there is no display, or OpenCV is its headless build; save pictures, or "
    "look at them in a notebook"
)


def show_picture(image: np.ndarray, title: str = "") -> None:
    """Shows a picture below a notebook's cell, else in a window until a key is hit or it is closed.

    Args:
        image: (H, W, 3) uint8 RGB.
        title: of the window.

    Raises:
        InputError: there is neither.
    """
    if _in_notebook():
        from IPython.display import display
        from PIL import Image

        display(Image.fromarray(image))
        return
    title = title or "grouppose"
    show_frame(image, title)
    while cv2.waitKey(50) < 0 and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) > 0:
        pass
    cv2.destroyWindow(title)


def show_frame(image: np.ndarray, title: str = "grouppose") -> bool:
    """Shows the next picture of many in a window; False: the user hit q or Escape.

    Raises:
        InputError: there is no display.
    """
    check_display()
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        cv2.imshow(title, image[..., ::-1])
        return cv2.waitKey(1) & 0xFF not in _QUIT
    except cv2.error as error:
        raise InputError(_NO_WINDOW) from error


def check_display() -> None:
    """Makes sure that a window can be opened.

    Raises:
        InputError: it cannot.
    """
    screens = os.environ.get("DISPLAY", ""), os.environ.get("WAYLAND_DISPLAY", "")
    if sys.platform.startswith("linux") and not _opens_windows(*screens):
        raise InputError(_NO_WINDOW)


@functools.cache
def _opens_windows(*screens: str) -> bool:
    """Tried by another process, as Qt ends its own where there is no display."""
    if not any(screens):
        return False
    command = [sys.executable, "-c", "import cv2; cv2.namedWindow('grouppose')"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _in_notebook() -> bool:
    """Whether pictures can be put below a cell: Jupyter, Colab and the like."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")
