"""How the C library keeps memory that is freed."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h


def keep_memory(sparing: bool) -> None:
    """Lets glibc keep what it frees: each step asks for the same sizes again.

    Otherwise a step on CPU gets new pages from the system for every larger tensor, which took a
    quarter of its time and more.

    Args:
        sparing: returns blocks above 32 MB all the same, where memory matters more than time.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt is not None:
            if sparing:
                mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest it takes
            else:
                mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
