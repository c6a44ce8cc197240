"""The callback of one AI bot: whether a call is genuine, what is stored of it, and what it is answered.

A message is answered at once with an empty stream, which WeCom then asks us to fill: see `ReplySlot`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.wecom.bot_config import BotConfig
from zhiban.integrations.wecom.bot_reading import can_be_answered, stored_body, stream_key
from zhiban.integrations.wecom.callback import echo, open_sealed, text_of_message
from zhiban.integrations.wecom.crypto import KeyPair, Seal
from zhiban.integrations.wecom.values import mapping_of, text_of
from zhiban.kit.text import clean
from zhiban.ports import Acknowledgement, Challenge, InvalidWebhook, ReplyPoll, VerifiedWebhook, Webhook
from zhiban.ports.webhooks import sole

RECEIVER: Final = ""  # callbacks of bots name no receiver


class BotAuthenticator:
    """Authenticates the calls of one bot's callback address. Pure and quick."""

    def __init__(self, config: BotConfig) -> None:
        self._seal = Seal(config.key_pairs(), (RECEIVER,))
        self._window = config.replay_window
        self._greeting = config.greeting

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge | ReplyPoll:
        """Raises InvalidWebhook: 400 for what is not even a callback, otherwise 403."""
        if not webhook.query:
            raise InvalidWebhook("no parameters: does a proxy drop the query?", status=400)
        if webhook.method == "GET":
            return Challenge(text_of_message(self._open(webhook, echo(webhook))[0]))
        plain, pair = self._open(webhook, _envelope(webhook.body))
        text = clean(text_of_message(plain))
        said = _object(text)
        if said is None:
            return VerifiedWebhook(hashlib.sha256(plain).digest(), text, parsable=False)
        if text_of(said, "msgtype") == "stream":
            return ReplyPoll(
                text_of(mapping_of(said, "stream"), "id"), lambda words: _stream(webhook, pair, said, words)
            )
        return VerifiedWebhook(
            _digest(said, plain), stored_body(said, at=webhook.received_at), answer=self._answer(webhook, pair, said)
        )

    def _open(self, webhook: Webhook, encrypt: str) -> tuple[bytes, KeyPair]:
        return open_sealed(self._seal, webhook, encrypt, window=self._window)

    def _answer(self, webhook: Webhook, pair: KeyPair, said: Mapping[str, Any]) -> Acknowledgement | None:
        event = mapping_of(said, "event")
        if text_of(event, "eventtype") == "enter_chat" and self._greeting:
            return _sealed(webhook, pair, {"msgtype": "text", "text": {"content": self._greeting}})
        if not can_be_answered(said):
            return None
        return _sealed(webhook, pair, _streamed(stream_key(said), None))


def _stream(webhook: Webhook, pair: KeyPair, said: Mapping[str, Any], words: str | None) -> Acknowledgement:
    # Its own name for the stream, as WeCom gave it: nothing of ours is told whom we never answered.
    return _sealed(webhook, pair, _streamed(text_of(mapping_of(said, "stream"), "id"), words))


def _sealed(webhook: Webhook, pair: KeyPair, reply: Mapping[str, Any]) -> Acknowledgement:
    """The reply as WeCom wants it: sealed with the key and the nonce of its own call.

    While keys change, it knows no other.
    """
    timestamp = str(int(webhook.received_at.timestamp()))
    words = json.dumps(reply, ensure_ascii=False)
    sealed = pair.seal(words, RECEIVER, timestamp=timestamp, nonce=sole(webhook.query, "nonce"))
    body = {
        "encrypt": sealed.encrypt,
        "msgsignature": sealed.signature,
        "timestamp": int(sealed.timestamp),
        "nonce": sealed.nonce,
    }
    return Acknowledgement(200, json.dumps(body).encode(), content_type="application/json; charset=utf-8")


def _streamed(key: str, words: str | None) -> Mapping[str, Any]:
    """The whole of what is said in a stream; it is finished with the first words, since we have them all at once."""
    return {"msgtype": "stream", "stream": {"id": key, "finish": words is not None, "content": words or ""}}


def _envelope(body: bytes) -> str:
    """The encrypt text. Nothing else of the unauthenticated outer object is looked at."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidWebhook("envelope", status=400) from error
    encrypt = found.get("encrypt") if isinstance(found, dict) else None
    if not isinstance(encrypt, str) or not encrypt:
        raise InvalidWebhook("envelope", status=400)
    return encrypt


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and text_of(found, "msgtype") else None


def _digest(said: Mapping[str, Any], plain: bytes) -> bytes:
    """A repeat has the message's id; the address for answers in it may be another."""
    own_id = text_of(said, "msgid")
    return hashlib.sha256(f"{text_of(said, 'aibotid')}\x1f{own_id}".encode() if own_id else plain).digest()
