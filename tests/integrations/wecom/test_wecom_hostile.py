"""The table of hostile inputs is complete, points at tests that exist, and is the one that people read."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
PAGE = TESTS.parent / "docs" / "explain" / "hostile-inputs.md"
_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+) \|$", re.MULTILINE)


def table() -> dict[int, tuple[str, ...]]:
    spec = importlib.util.spec_from_file_location("wecom_hostile_table", Path(__file__).with_name("hostile.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[int, tuple[str, ...]] = module.TABLE
    return found


def test_every_input_has_a_test_or_a_reason() -> None:
    assert sorted(table()) == list(range(1, 85))
    assert all(entry for entries in table().values() for entry in entries)


def test_every_reference_leads_to_a_test() -> None:
    for number, entries in table().items():
        for entry in entries:
            if "::" not in entry:
                continue
            path, _, name = entry.partition("::")
            source = (TESTS / path).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{number}: {entry}"


def test_every_numbered_test_is_in_the_table() -> None:
    listed = {entry for entries in table().values() for entry in entries if "::" in entry}
    for path in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^(?:async )?def (test_hostile_\d\w+)\(", path.read_text("utf-8"), re.MULTILINE):
            assert f"{path.relative_to(TESTS).as_posix()}::{name}" in listed


def test_the_page_and_the_table_agree() -> None:
    """A row that differs is shown as it should stand on the page."""
    rows = _ROW.findall(PAGE.read_text("utf-8"))
    page = {int(number): told for number, _, _, told in rows}
    assert len(rows) == len(page)
    assert page == {
        number: "<br>".join(f"`{entry}`" if "::" in entry else entry for entry in entries)
        for number, entries in table().items()
    }
