"""The callback of one WeCom app: whether a call is genuine, and what it announces."""

from __future__ import annotations

import hashlib
import re

from zhiban.integrations.wecom import customer_groups, xml
from zhiban.integrations.wecom.config import WeComConfig
from zhiban.integrations.wecom.crypto import KeyPair, Seal
from zhiban.kit.text import clean
from zhiban.ports import Challenge, InvalidWebhook, VerifiedWebhook, Webhook
from zhiban.ports.webhooks import sole

_TIMESTAMP = re.compile(r"[0-9]{10}", re.ASCII)


class CallbackAuthenticator:
    """Authenticates the calls of one app's callback address. Pure and quick (about 0.1 ms)."""

    def __init__(self, config: WeComConfig) -> None:
        self._seal = Seal(config.key_pairs(), config.receivers())
        self._window = config.replay_window

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        """Raises InvalidWebhook: 400 for what is not even a callback, otherwise 403.

        A genuine call that cannot be read is parked: a `VerifiedWebhook` with `parsable=False`.
        """
        if not webhook.query:
            raise InvalidWebhook("no parameters: does a proxy drop the query?", status=400)
        if webhook.method == "GET":
            return Challenge(text_of_message(self._open(webhook, echo(webhook))))
        return _doorbell(self._open(webhook, _envelope(webhook.body)))

    def _open(self, webhook: Webhook, encrypt: str) -> bytes:
        return open_sealed(self._seal, webhook, encrypt, window=self._window)[0]


def echo(webhook: Webhook) -> str:
    """The echostr of a verification call. Raises InvalidWebhook."""
    # A proxy that turns %2B into a blank broke it; base64 knows no blanks, so this cannot do harm.
    return sole(webhook.query, "echostr").replace(" ", "+")


def open_sealed(seal: Seal, webhook: Webhook, encrypt: str, *, window: int) -> tuple[bytes, KeyPair]:
    """The message in a call, proven genuine, and the key pair that a reply is to be sealed with.

    `window` is how many seconds it may be old. Raises InvalidWebhook.
    """
    timestamp = sole(webhook.query, "timestamp")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidWebhook("timestamp")
    if window and abs(webhook.received_at.timestamp() - int(timestamp)) > window:
        raise InvalidWebhook("outside the replay window")
    return seal.open_with_key(
        encrypt,
        signature=sole(webhook.query, "msg_signature"),
        timestamp=timestamp,
        nonce=sole(webhook.query, "nonce"),
        now=webhook.received_at,
    )


def _envelope(body: bytes) -> str:
    """The Encrypt text. Nothing else of the unauthenticated outer document is looked at."""
    try:
        root = xml.parse(body)
    except xml.UnreadableXml as error:
        raise InvalidWebhook("envelope", status=400) from error
    nodes = root.children("Encrypt")
    if root.name != "xml" or len(nodes) != 1 or not nodes[0].is_leaf or not nodes[0].text:
        raise InvalidWebhook("envelope", status=400)
    return nodes[0].text


def text_of_message(message: bytes) -> str:
    """Raises InvalidWebhook."""
    try:
        return message.decode()
    except UnicodeDecodeError as error:
        raise InvalidWebhook("not UTF-8") from error


def _doorbell(message: bytes) -> VerifiedWebhook:
    digest = hashlib.sha256(message).digest()
    text = text_of_message(message)
    try:
        root = xml.parse(text)
    except xml.UnreadableXml:
        return VerifiedWebhook(digest, clean(text), parsable=False)
    if root.name != "xml":
        return VerifiedWebhook(digest, clean(text), parsable=False)
    body = clean(text)
    if root.get("Event").lower() == "kf_msg_or_event":
        return VerifiedWebhook(
            digest, body, account=root.get("OpenKfId") or None, token=root.get("Token") or None, pulls=True
        )
    if root.get("Event").lower() == customer_groups.EVENT:
        return VerifiedWebhook(digest, body, account=customer_groups.ACCOUNT)
    return VerifiedWebhook(digest, body)
