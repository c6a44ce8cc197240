"""Codes as authenticator apps make them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from zhiban.people import totp

SECRET = base64.b32encode(b"12345678901234567890").decode()
NOW = datetime(2026, 11, 20, 2, 0, 10, tzinfo=UTC)


# RFC 6238, appendix B, the last six of its eight digits.
@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_the_codes_of_the_standard(seconds: int, code: str) -> None:
    assert totp.code_of(SECRET, seconds // totp.STEP) == code


def test_a_code_is_taken_around_its_time_and_only_after_the_last_one() -> None:
    step = totp.step_at(NOW)
    for away, found in ((-2, None), (-1, step - 1), (0, step), (1, step + 1), (2, None)):
        assert totp.matching_step(SECRET, totp.code_of(SECRET, step + away), now=NOW) == found
    code = totp.code_of(SECRET, step)
    assert totp.matching_step(SECRET, f" {code[:3]} {code[3:]}", now=NOW) == step
    assert totp.matching_step(SECRET, code, now=NOW, after=step) is None
    assert totp.matching_step(SECRET, totp.code_of(SECRET, step - 1), now=NOW, after=step) is None
    assert totp.matching_step(SECRET, code, now=NOW + timedelta(minutes=2)) is None
    for nonsense in ("", "12345", "１２３４５６", "\ud800", "x" * 1000):
        assert totp.matching_step(SECRET, nonsense, now=NOW) is None


def test_what_the_qr_code_says() -> None:
    uri = urlsplit(totp.enrolment_uri(SECRET, account="a@b.example", issuer="Zhiban 青禾&商店"))
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", "/Zhiban 青禾&商店:a@b.example")
    assert parse_qs(uri.query) == {"secret": [SECRET], "issuer": ["Zhiban 青禾&商店"]}
    assert len(base64.b32decode(totp.new_secret())) == 20
