"""Cells that a spreadsheet shows as text and gives back equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.kit.spreadsheets import guard, unguard


@pytest.mark.parametrize(
    "cell", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\n=1", "＝1", "＋1", "－1", "＠x", "'=1", "''=1"]
)
def test_what_looks_like_a_formula_is_guarded(cell: str) -> None:
    assert guard(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "'", "'quoted'", "1-1", "a=b", "退款"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert guard(cell) == unguard(cell) == cell


@given(st.text(alphabet=st.sampled_from("'=+-@＝\t\r\nax")))
def test_what_was_guarded_comes_back_equal(cell: str) -> None:
    assert unguard(guard(cell)) == cell
