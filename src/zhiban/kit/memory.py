"""Memory that was freed, given back to the machine."""

from __future__ import annotations

import ctypes
import gc


def return_free_memory() -> bool:
    """Give the pages back that lie free within the C library's heap: loading modules leaves some. Returns whether the
    library can (only glibc). It takes some milliseconds, in which other threads run."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and trim(0) >= 0


def free_what_loading_left() -> None:
    """Free what was needed only while modules were loaded, also where the collector was told to look no more, and leave
    out what stays. Nothing else runs for that time, 60 ms for a whole server."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
