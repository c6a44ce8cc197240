"""How much memory there is for us, and memory that was freed, given back to the machine."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path


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


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes of memory that this process and its children may fill: the machine's, or what a container or a service has
    been given of it. `root` is where the system's files are looked for."""
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system than Linux
        return most
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        tree, name = ("memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")
        inside = root / "sys/fs/cgroup" / tree
        group = inside / path.lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # not there, as for the uppermost, or "max"
                most = min(most, int((folder / name).read_text()))
            if folder == inside:
                break
    return most
