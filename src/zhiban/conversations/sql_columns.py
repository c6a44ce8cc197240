"""Which columns SQL of ours asks for, so that no more is read of some thousand rows."""

from __future__ import annotations

import re


def columns_of(table: str, sql: str) -> list[str]:
    """The columns that this SQL names of a table, which it calls so."""
    return sorted(set(re.findall(rf"\b{table}\.(\w+)", sql)))


def selected(table: str, sql: str) -> str:
    """The same, to be selected."""
    return ", ".join(f"{table}.{name}" for name in columns_of(table, sql))
