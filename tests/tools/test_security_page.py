"""The page about security names tests and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explain" / "security.md").read_text("utf-8")


def test_every_test_it_names_is_there() -> None:
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 40
    assert named <= written, named - written


def test_every_file_it_names_is_there() -> None:
    for name in re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE):
        assert any((ROOT / folder / name).exists() for folder in ("src/zhiban", "tests")), name
