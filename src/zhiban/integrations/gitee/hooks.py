"""Gitee's webhooks: proved by a signature over the moment, or by the password itself. Neither covers what is said.

https://help.gitee.com/webhook/how-to-verify-webhook-keys
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from urllib.parse import unquote

from zhiban.integrations.forges.deliveries import stored
from zhiban.ports import InvalidWebhook, VerifiedWebhook, Webhook
from zhiban.ports.webhooks import sole

APART: Final = timedelta(hours=1)  # between a signature and its arrival, by Gitee's own rule

# What differs from call to call without anything having happened, and the secret, which is nothing to be stored.
_ABOUT_THE_CALL: Final = ("password", "sign", "timestamp", "hook_id", "hook_url")

_EVENT = re.compile(r"[A-Za-z ]{1,60}")
_MILLISECONDS = re.compile(r"[0-9]{13}")


def verified(secrets: Sequence[bytes], webhook: Webhook) -> VerifiedWebhook:
    """A genuine call. Raises InvalidWebhook."""
    if webhook.method != "POST":
        raise InvalidWebhook("only POST is understood", status=400)
    if not secrets:
        raise InvalidWebhook("this connection has no webhook secret")
    event = sole(webhook.headers, "x-gitee-event")
    if not _EVENT.fullmatch(event):
        raise InvalidWebhook("event")
    token = sole(webhook.headers, "x-gitee-token")
    right = next((one for one in secrets if _is_right(one, token, webhook)), b"")
    if not right:
        raise InvalidWebhook("token")
    said = _said(webhook.body)
    return stored(event, webhook.body if said is None else said.encode("utf-8", "surrogatepass"), said, key=right)


def _is_right(secret: bytes, token: str, webhook: Webhook) -> bool:
    if hmac.compare_digest(secret, token.encode()):
        return True
    at = webhook.headers.get("x-gitee-timestamp", ())
    if len(at) != 1 or not _MILLISECONDS.fullmatch(at[0]):
        return False
    signature = base64.b64encode(hmac.digest(secret, at[0].encode() + b"\n" + secret, "sha256"))
    # The description has it escaped, as for an address; what comes is not.
    if not hmac.compare_digest(signature, unquote(token).encode()):
        return False
    return abs(webhook.received_at.timestamp() - int(at[0]) / 1000) <= APART.total_seconds()


def _said(body: bytes) -> str | None:
    """What the call says, without what is about the call; None for what is no JSON."""
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        found = {name: value for name, value in found.items() if name not in _ABOUT_THE_CALL}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))
