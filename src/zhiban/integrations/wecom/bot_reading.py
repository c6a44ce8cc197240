"""What members say to an AI bot, and what happens to it. Pure.

A bot is shown what names it in internal groups, and everything said to it in a chat of two. Messages carry no time:
they are as old as the call that brought them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from zhiban.integrations.wecom.bot_config import BotConfig
from zhiban.integrations.wecom.contents import name_of
from zhiban.integrations.wecom.values import items_of, mapping_of, moment, storable, text_of
from zhiban.ports import (
    Entered,
    Incoming,
    IncomingMessage,
    Kind,
    Media,
    QuotedWords,
    ReplySlot,
    SenderRole,
    UnknownVendorEvent,
)

FETCHED_FOR: Final = timedelta(seconds=40)  # a member may have three open streams; an idle one must not block them
POSTED_FOR: Final = timedelta(minutes=58)  # an address is good for an hour
BELOW: Final = "⬇️"  # stands where the answer is given further down
_FILES: Final = {"image": Kind.IMAGE, "file": Kind.FILE, "video": Kind.VIDEO}
_TYPES: Final = frozenset((*_FILES, "text", "mixed", "voice"))
_CODE: Final = "response_code"
_VENDORS_HOST: Final = "qyapi.weixin.qq.com"

Values = Mapping[str, Any]


def stored_body(said: Values, *, at: datetime) -> str:
    """What is stored of a call: what was said, and when we heard it."""
    return json.dumps({"at": at.timestamp(), "said": said}, ensure_ascii=False)


def can_be_answered(said: Values) -> bool:
    """Whether this is a message of somebody, to which a stream can be opened."""
    return (
        text_of(said, "msgtype") in _TYPES and bool(_thread(said)) and bool(text_of(mapping_of(said, "from"), "userid"))
    )


def stream_key(said: Values) -> str:
    """Our name for the stream that answers this message: the same however often the message comes."""
    named = text_of(said, "msgid") or json.dumps(storable(said), sort_keys=True)
    return "s" + hashlib.sha256(f"{text_of(said, 'aibotid')}\x1f{named}".encode()).hexdigest()[:28]


def read_body(body: str, config: BotConfig, *, now: datetime) -> Sequence[Incoming]:
    """What a stored call says. Unknown content becomes `UnknownVendorEvent`."""
    try:
        stored = json.loads(body)
    except (ValueError, RecursionError):
        return (UnknownVendorEvent("unreadable", now),)
    if not isinstance(stored, dict) or not isinstance(stored.get("said"), dict):
        return (UnknownVendorEvent("unreadable", now),)
    said, at = stored["said"], moment(stored.get("at"), now)
    if text_of(said, "msgtype") == "event":
        return (_event(said, at),)
    if not can_be_answered(said):
        return (UnknownVendorEvent(_kind(text_of(said, "msgtype")), at, _thread(said) or None, _noted(said)),)
    return (_message(said, config, at),)


def _event(said: Values, at: datetime) -> Incoming:
    name = text_of(mapping_of(said, "event"), "eventtype")
    member = text_of(mapping_of(said, "from"), "userid")
    if name == "enter_chat" and member and text_of(said, "chattype") != "group":
        return Entered(member, at, event_id=text_of(said, "msgid") or None)
    return UnknownVendorEvent(
        _kind(name), at, _thread(said) or None, _noted(said), event_id=text_of(said, "msgid") or None
    )


def _message(said: Values, config: BotConfig, at: datetime) -> IncomingMessage:
    group = text_of(said, "chattype") == "group"
    member = text_of(mapping_of(said, "from"), "userid")
    text, media = _content(said)
    words = _without_name(text, config.bot) if group else text.strip()
    quote = mapping_of(said, "quote")
    quoted, quoted_media = _content(quote) if text_of(quote, "msgtype") else ("", ())
    kind = media[0].kind if media and not words else Kind.TEXT
    return IncomingMessage(
        external_id=text_of(said, "msgid") or stream_key(said),
        thread=_thread(said),
        sender=member,
        role=SenderRole.CONTACT,
        kind=kind,
        text=words,
        sent_at=at,
        media=media,
        group=group,
        sender_name=member if group else "",
        mentions_us=group,
        quoted=_quoted(quoted, quoted_media, config) if text_of(quote, "msgtype") else None,
        slots=_slots(said, at, config, group=group),
    )


def _slots(said: Values, at: datetime, config: BotConfig, *, group: bool) -> tuple[ReplySlot, ...]:
    key = stream_key(said)
    fetched = ReplySlot(key, "fetched", at + FETCHED_FOR, otherwise=config.waiting, superseded="" if group else BELOW)
    code = response_code(text_of(said, "response_url"))
    return (fetched, ReplySlot(f"p{key[1:]}", "posted", at + POSTED_FOR, code)) if code else (fetched,)


def response_code(url: str) -> str:
    """The code in an address for answers; empty where it is no such address. We post it to our own base address."""
    try:
        parts = urlsplit(url)
        codes = parse_qs(parts.query).get(_CODE, [])
    except ValueError:
        return ""
    genuine = parts.scheme == "https" and parts.hostname == _VENDORS_HOST and parts.path == "/cgi-bin/aibot/response"
    return codes[0] if genuine and len(codes) == 1 and len(codes[0]) <= 1024 else ""


# ------------------------------------------------------------------------------------------------------------ content


def _content(values: Values) -> tuple[str, tuple[Media, ...]]:
    """The words of a message, and its files."""
    name = text_of(values, "msgtype")
    inner = mapping_of(values, name)
    if name == "text" or name == "voice":  # what was spoken comes written down
        return text_of(inner, "content"), ()
    if name == "mixed":
        parts = [_content(item) for item in items_of(inner, "msg_item")[:50] if text_of(item, "msgtype") != "mixed"]
        return "\n".join(text for text, _ in parts if text), tuple(one for _, files in parts for one in files)
    if name in _FILES and (url := text_of(inner, "url")):
        filename = text_of(inner, "filename") or text_of(inner, "name") or None
        content_type = "image/jpeg" if name == "image" else "video/mp4" if name == "video" else None
        return "", (Media(url, _FILES[name], filename, content_type),)
    return "", ()


def _quoted(text: str, media: tuple[Media, ...], config: BotConfig) -> QuotedWords | None:
    words = "\n".join((text.strip(), *(f"[{name_of(one.kind.value)}]" for one in media))).strip()
    files = tuple(_file_name(one.reference) for one in media)
    return QuotedWords(Kind.TEXT, _without_name(words, config.bot), files) if words else None


def _file_name(url: str) -> str:
    """What an address names, without the signature that is another one each time."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return f"{parts.netloc}{parts.path}" if parts.path.strip("/") else url


def _without_name(text: str, bot: str) -> str:
    """The words without the bot's own name, which may have blanks in it."""
    stripped = text.strip()
    name = f"@{bot}"
    if stripped.startswith(name):
        return stripped.removeprefix(name).strip()
    if stripped.endswith(name):
        return stripped.removesuffix(name).strip()
    return stripped


def _thread(said: Values) -> str:
    if text_of(said, "chattype") == "group":
        return text_of(said, "chatid")
    return text_of(mapping_of(said, "from"), "userid")


def _kind(name: str) -> str:
    return name.lower()[:80] or "unnamed"


def _noted(said: Values) -> Values:
    """Everything but the address, with which anybody could answer."""
    kept = {name: value for name, value in said.items() if name != "response_url"}
    found: Values = storable(kept)
    return found
