"""Gitea's webhooks: proved by a signature over their JSON.

https://docs.gitea.com/usage/repository/webhooks
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs

from zhiban.integrations.forges.deliveries import stored
from zhiban.ports import InvalidWebhook, VerifiedWebhook, Webhook
from zhiban.ports.webhooks import sole

FORM: Final = "application/x-www-form-urlencoded"

_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_EVENT = re.compile(r"[a-z_]{1,60}")


def verified(secrets: Sequence[bytes], webhook: Webhook) -> VerifiedWebhook:
    """A genuine call. Raises InvalidWebhook. Forgejo sends Gitea's headers beside its own."""
    if webhook.method != "POST":
        raise InvalidWebhook("only POST is understood", status=400)
    if not secrets:
        raise InvalidWebhook("this connection has no webhook secret")
    event = sole(webhook.headers, "x-gitea-event")
    stated = sole(webhook.headers, "x-gitea-signature")
    if not _EVENT.fullmatch(event) or not _SIGNATURE.fullmatch(stated):
        raise InvalidWebhook("signature")
    said = _said(webhook)
    right = next(
        (one for one in secrets if hmac.compare_digest(hmac.new(one, said, "sha256").hexdigest(), stated)), b""
    )
    if not right:
        raise InvalidWebhook("signature")
    return stored(event, said, None, key=right)


def _said(webhook: Webhook) -> bytes:
    """What is signed: the JSON, also where a hook sends it in a form."""
    if not any(one.startswith(FORM) for one in webhook.headers.get("content-type", ())):
        return webhook.body
    try:
        return parse_qs(webhook.body.decode("utf-8"), strict_parsing=True, max_num_fields=4)["payload"][0].encode()
    except (ValueError, KeyError):
        raise InvalidWebhook("no such form", status=400) from None
