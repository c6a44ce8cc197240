"""What is stored of a number that somebody typed."""

from __future__ import annotations

import pytest

from zhiban.kit.errors import Conflict
from zhiban.people.contact_fields import ContactField, FieldKind

PRICE = ContactField("price", FieldKind.NUMBER)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("19999.95", "19999.95"),
        ("1234567", "1234567"),
        ("0.000000123456789", "0.000000123456789"),
        ("123456789012345.678901234567890", "123456789012345.67890123456789"),
        (" +012.50 ", "12.5"),
        ("1e3", "1000"),
        ("-0.00", "0"),
        ("-7.0", "-7"),
        ("100", "100"),
    ],
)
def test_every_digit_is_kept(typed: str, stored: str) -> None:
    assert PRICE.value(typed) == stored
    assert PRICE.value(stored) == stored


@pytest.mark.parametrize("typed", ["x", "nan", "inf", "1e15", "1e999999999", "1e-999999999", "1,5", "--1"])
def test_what_is_no_number_or_too_long_is_refused(typed: str) -> None:
    with pytest.raises(Conflict):
        PRICE.value(typed)
