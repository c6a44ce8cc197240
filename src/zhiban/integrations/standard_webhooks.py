"""Signatures of both directions, by the rules of Standard Webhooks (https://www.standardwebhooks.com).

The headers are `webhook-id`, `webhook-timestamp` (seconds) and `webhook-signature`, which holds one or several
`v1,<base64>` of HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from zhiban.kit.errors import Misconfigured
from zhiban.ports import InvalidWebhook, Webhook
from zhiban.ports.webhooks import sole

WINDOW: Final = 300  # seconds that a signed call may be old, or ahead of our clock
KEY_BYTES: Final = (24, 64)

_SIGNATURE = re.compile(r"v1,([A-Za-z0-9+/]{43}=)", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_CALL_ID = re.compile(r"[!-~]{1,200}", re.ASCII)
_SIGNATURES_LOOKED_AT: Final = 8


def sign(key: bytes, *, id_: str, timestamp: int, body: bytes) -> str:
    """One signature, as it stands in the header."""
    return "v1," + base64.b64encode(_mac(key, id_, timestamp, body)).decode()


def signed_headers(key: bytes, *, id_: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers that prove a body."""
    timestamp = int(at.timestamp())
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(key, id_=id_, timestamp=timestamp, body=body),
    }


def parse_secret(secret: str) -> bytes:
    """The key in `whsec_<base64>`. Raises Misconfigured, without repeating the secret."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith("whsec_") or not KEY_BYTES[0] <= len(key) <= KEY_BYTES[1]:
        raise Misconfigured(
            f"The signing secret is written as whsec_ and the base64 of {KEY_BYTES[0]} to {KEY_BYTES[1]} random bytes."
        )
    return key


def new_secret() -> str:
    """As `parse_secret` reads it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _mac(key: bytes, id_: str, timestamp: int, body: bytes) -> bytes:
    return hmac.digest(key, f"{id_}.{timestamp}.".encode() + body, "sha256")


def verified(keys: Sequence[bytes], webhook: Webhook) -> tuple[str, bytes]:
    """The call's id, and the key that signed it. Raises InvalidWebhook."""
    id_ = sole(webhook.headers, "webhook-id")
    timestamp = sole(webhook.headers, "webhook-timestamp")
    if not _CALL_ID.fullmatch(id_) or not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidWebhook("webhook-id or webhook-timestamp is no such thing")
    if abs(webhook.received_at.timestamp() - int(timestamp)) > WINDOW:
        raise InvalidWebhook("outside the replay window")
    stated = sole(webhook.headers, "webhook-signature").split(" ")[:_SIGNATURES_LOOKED_AT]
    given = [base64.b64decode(found[1]) for one in stated if (found := _SIGNATURE.fullmatch(one))]
    for key in keys:
        right = _mac(key, id_, int(timestamp), webhook.body)
        if any(hmac.compare_digest(right, one) for one in given):
            return id_, key
    raise InvalidWebhook("signature")
