"""Memory that was freed, given back to the machine."""

from __future__ import annotations

import ctypes


def return_free_memory() -> bool:
    """Give the pages back that lie free within the C library's heap: loading modules leaves some. Returns whether the
    library can (only glibc). It takes some milliseconds, in which other threads run."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and trim(0) >= 0
