"""Genuine calls of forges as they are stored, and what is read of them later."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence

from zhiban.integrations.forges import parts
from zhiban.integrations.forges.parts import JsonPart
from zhiban.ports import TrackerNews, VerifiedWebhook


def stored(event: str, body: bytes, text: str | None, *, key: bytes) -> VerifiedWebhook:
    """What is kept of a call: its event and its JSON, which is `text`, or nothing that anybody can read.

    It is named by its content: a repeat has the same bytes, whatever id it is given, and of two hooks that tell the
    same each has an id of its own. Keyed, so that connections stay apart.
    """
    digest = hmac.digest(key, b"delivery " + event.encode() + b"\0" + body, "sha256")
    try:
        payload = json.loads(text if text is not None else body.decode("utf-8"))
    except (ValueError, RecursionError):
        return VerifiedWebhook(digest, json.dumps({"event": event, "payload": None}), parsable=False)
    kept = json.dumps({"event": event, "payload": payload}, ensure_ascii=False, separators=(",", ":"))
    return VerifiedWebhook(digest, kept)


def read(body: str, reader: Callable[[str, JsonPart], Sequence[TrackerNews]]) -> Sequence[TrackerNews]:
    """What a stored call says; nothing for what has no meaning to us."""
    try:
        kept = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    try:
        return reader(parts.words(kept, "event"), parts.part(kept, "payload"))
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):  # a shape that nobody has seen yet
        return ()
