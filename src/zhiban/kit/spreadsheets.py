"""CSV files whose cells a spreadsheet shows as text, whatever they begin with, and reads back equal.

A spreadsheet runs a cell that begins like a formula, and what contacts write gets into our exports.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO

# Full-width signs count as formulas where the input method writes them.
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")


def guard(cell: str) -> str:
    """The cell as text: one that begins like a formula, or like one so guarded, gets an apostrophe in front."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguard(cell: str) -> str:
    """What `guard` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def csv_text(rows: Iterable[Sequence[object]], *, line_end: str = "\r\n") -> str:
    """The rows as CSV, every text guarded; None is an empty cell. Our only way to write CSV."""
    out = StringIO(newline="")
    writer = csv.writer(out, lineterminator=line_end)
    for row in rows:
        writer.writerow([guard(cell) if isinstance(cell, str) else "" if cell is None else cell for cell in row])
    return out.getvalue()
