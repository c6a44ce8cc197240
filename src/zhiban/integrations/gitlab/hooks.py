"""GitLab's webhooks: proved by a signature over their bytes, or by the secret token that they carry.

https://docs.gitlab.com/user/project/integrations/webhooks/
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

from zhiban.integrations import standard_webhooks
from zhiban.integrations.forges.deliveries import stored
from zhiban.kit.errors import Misconfigured
from zhiban.ports import InvalidWebhook, VerifiedWebhook, Webhook
from zhiban.ports.webhooks import sole

_EVENT = re.compile(r"[A-Za-z ]{1,60}")


def verified(secrets: Sequence[bytes], webhook: Webhook) -> VerifiedWebhook:
    """A genuine call. One that is signed has to be signed right, whatever token it carries. Raises InvalidWebhook."""
    if webhook.method != "POST":
        raise InvalidWebhook("only POST is understood", status=400)
    if not secrets:
        raise InvalidWebhook("this connection has no webhook secret")
    event = sole(webhook.headers, "x-gitlab-event")
    if not _EVENT.fullmatch(event):
        raise InvalidWebhook("event")
    if "webhook-signature" in webhook.headers:
        _id, right = standard_webhooks.verified([key for one in secrets for key in _keys(one)], webhook)
    else:
        token = sole(webhook.headers, "x-gitlab-token").encode()
        right = next((one for one in secrets if hmac.compare_digest(one, token)), b"")
        if not right:
            raise InvalidWebhook("token")
    return stored(event, webhook.body, None, key=right)


def _keys(secret: bytes) -> list[bytes]:
    """The key in `whsec_…`, and the secret as it is."""
    try:
        return [standard_webhooks.parse_secret(secret.decode()), secret]
    except (Misconfigured, UnicodeDecodeError):
        return [secret]
