"""Time-based one-time passwords (RFC 6238, RFC 4226), as authenticator apps make them. Pure.

Ten lines of the standard library rather than a package: which step a code belongs to has to be known, so that no code
works twice, and packages keep that to themselves.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote, urlencode

STEP = 30  # seconds
DIGITS = 6
DRIFT = 1  # steps before and after now that are taken, for clocks that are not exact
_SECRET = 20  # bytes, as long as the digest, as RFC 4226 recommends


def new_secret() -> str:
    """160 random bits in base32, as apps take them."""
    return base64.b32encode(secrets.token_bytes(_SECRET)).decode("ascii")


def step_at(now: datetime) -> int:
    """Which step a moment belongs to."""
    return int(now.timestamp()) // STEP


def code_of(secret: str, step: int) -> str:
    """The code of one step."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def matching_step(secret: str, typed: str, *, now: datetime, after: int = 0) -> int | None:
    """The step, later than `after`, whose code was typed; None where it is none of now."""
    code = "".join(typed.split())
    current = step_at(now)
    found = None
    for step in range(current - DRIFT, current + DRIFT + 1):  # all of them, so that the time tells nothing
        if hmac.compare_digest(code_of(secret, step).encode(), code.encode("utf-8", "replace")) and step > after:
            found = step
    return found


def enrolment_uri(secret: str, *, account: str, issuer: str) -> str:
    """What the QR code holds: see https://github.com/google/google-authenticator/wiki/Key-Uri-Format."""
    label = quote(f"{issuer}:{account}", safe="")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': issuer}, quote_via=quote)}"
