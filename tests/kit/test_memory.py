"""Memory that was freed is given back, where the C library can."""

from __future__ import annotations

import platform

import psutil
import pytest

from zhiban.kit.memory import return_free_memory

PIECE = 100_000  # below what glibc asks the system for by itself


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_what_was_freed_is_given_back() -> None:
    process = psutil.Process()
    pieces = [b"x" * PIECE for _ in range(400)]
    kept = pieces[-1]  # the heap cannot shrink from its end
    filled = process.memory_info().rss
    del pieces
    assert return_free_memory()
    assert process.memory_info().rss < filled - 300 * PIECE
    assert len(kept) == PIECE
