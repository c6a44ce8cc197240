"""Cells of a CSV file that a spreadsheet shows as text, whatever they begin with, and reads back equal.

A spreadsheet runs a cell that begins like a formula, and what contacts write gets into our exports.
"""

from __future__ import annotations

import re

# Full-width signs count as formulas where the input method writes them.
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")


def guard(cell: str) -> str:
    """The cell as text: one that begins like a formula, or like one so guarded, gets an apostrophe in front."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguard(cell: str) -> str:
    """What `guard` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
