"""Memory that was freed is given back, where the C library can, and how much there is, container or not."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil
import pytest

from zhiban.kit.memory import memory_limit, return_free_memory

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


MIB = 2**20


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/", {"sys/fs/cgroup/memory.max": "max\n"}, None),
        ("0::/", {"sys/fs/cgroup/memory.max": f"{512 * MIB}\n"}, 512 * MIB),
        (
            "0::/system.slice/zhiban.service",
            {
                "sys/fs/cgroup/system.slice/memory.max": f"{900 * MIB}\n",
                "sys/fs/cgroup/system.slice/zhiban.service/memory.max": "max\n",
            },
            900 * MIB,
        ),
        (
            "5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/",
            {
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{700 * MIB}\n",
                "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": f"{300 * MIB}\n",
            },
            300 * MIB,
        ),
        ("4:memory:/", {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, None),
        ("0::/gone", {}, None),
    ],
    ids=["no limit", "a container's", "of a slice above", "version 1", "version 1 without", "not to be read"],
)
def test_the_memory_for_us_is_what_the_container_leaves(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: int | None
) -> None:
    for name, text in {"proc/self/cgroup": groups + "\n", **limits}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    total = psutil.virtual_memory().total
    assert memory_limit(tmp_path) == (total if expected is None else min(expected, total))


def test_without_groups_the_memory_is_the_machines(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == psutil.virtual_memory().total
    assert 0 < memory_limit() <= psutil.virtual_memory().total
