"""GitHub's webhooks: proved by the signature over their bytes, then read in our words.

https://docs.github.com/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from zhiban.integrations.forges import deliveries
from zhiban.integrations.forges.deliveries import stored
from zhiban.integrations.github import news
from zhiban.ports import InvalidWebhook, TrackerNews, VerifiedWebhook, Webhook
from zhiban.ports.webhooks import sole

_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")
_EVENT = re.compile(r"[a-z_0-9]{1,60}")

FORM: Final = "application/x-www-form-urlencoded"


def verified(secrets: Sequence[bytes], webhook: Webhook) -> VerifiedWebhook:
    """A genuine call. Raises InvalidWebhook; a call that has the old SHA-1 signature alone is not believed."""
    if webhook.method != "POST":
        raise InvalidWebhook("only POST is understood", status=400)
    if not secrets:
        raise InvalidWebhook("this connection has no webhook secret")
    stated = _SIGNATURE.fullmatch(sole(webhook.headers, "x-hub-signature-256"))
    event = sole(webhook.headers, "x-github-event")
    if stated is None or not _EVENT.fullmatch(event):
        raise InvalidWebhook("signature")
    right = next(
        (one for one in secrets if hmac.compare_digest(hmac.new(one, webhook.body, "sha256").hexdigest(), stated[1])),
        None,
    )
    if right is None:
        raise InvalidWebhook("signature")
    try:
        text = _payload(webhook)
    except (ValueError, KeyError):
        text = ""
    return stored(event, webhook.body, text, key=right)


def _payload(webhook: Webhook) -> str:
    """The JSON, also where a hook sends it as a form."""
    text = webhook.body.decode("utf-8")
    if any(one.startswith(FORM) for one in webhook.headers.get("content-type", ())):
        return parse_qs(text, strict_parsing=True, max_num_fields=4)["payload"][0]
    return text


def read(body: str, *, app_id: str = "") -> Sequence[TrackerNews]:
    """What a stored call says; nothing for what has no meaning to us."""
    return deliveries.read(body, partial(news.read, app_id=app_id))
