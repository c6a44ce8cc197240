"""What one entry of kf/sync_msg says. Nothing in here raises, whatever the entry looks like."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from zhiban.integrations.wecom.values import items_of, mapping_of, moment, number, storable, text_of
from zhiban.ports import (
    Entered,
    Incoming,
    IncomingMessage,
    Kind,
    Media,
    NativeState,
    Recalled,
    SenderRole,
    SendFailed,
    SessionChanged,
    UnknownVendorEvent,
)

Values = Mapping[str, Any]
_ROLES = {3: SenderRole.CONTACT, 5: SenderRole.AGENT}
_KINDS: Mapping[str, Kind] = {
    "text": Kind.TEXT,
    "image": Kind.IMAGE,
    "voice": Kind.VOICE,
    "video": Kind.VIDEO,
    "file": Kind.FILE,
    "location": Kind.LOCATION,
    "link": Kind.LINK,
    "business_card": Kind.CARD,
    "miniprogram": Kind.MINIPROGRAM,
    "msgmenu": Kind.MENU,
    "channels_shop_product": Kind.PRODUCT,
    "channels_shop_order": Kind.ORDER,
    "merged_msg": Kind.MERGED,
}
_FILES = {Kind.IMAGE: "image/jpeg", Kind.VOICE: "audio/amr", Kind.VIDEO: "video/mp4", Kind.FILE: None}
_FAIL_REASONS = {
    1: "account_deleted",
    2: "app_closed",
    4: "window_closed",
    5: "session_closed",
    6: "allowance_used",
    8: "corp_not_verified",
    10: "refused_by_contact",
    11: "nobody_logged_in",
    12: "kind_forbidden",
    13: "security_restriction",
}
_DEEPEST_HISTORY = 4
_LONGEST_HISTORY = 200


def read_entry(entry: object, *, account: str, now: datetime) -> Incoming | None:
    """None for what is not even an object; `account` stands in where the entry does not name one."""
    if not isinstance(entry, dict):
        return None
    happened_at = moment(entry.get("send_time"), now)
    if text_of(entry, "msgtype") == "event":
        return _read_event(entry, happened_at)
    thread, external_id = text_of(entry, "external_userid"), text_of(entry, "msgid")
    if not thread or not external_id:
        return UnknownVendorEvent(
            "malformed_message", happened_at, thread or None, storable(entry), event_id=external_id or None
        )
    return _read_message(entry, external_id, thread, account, happened_at)


def _read_message(entry: Values, external_id: str, thread: str, account: str, sent_at: datetime) -> IncomingMessage:
    name = text_of(entry, "msgtype")
    kind = _KINDS.get(name, Kind.OTHER)
    values = mapping_of(entry, name)
    role = _ROLES.get(number(entry.get("origin")) or 0, SenderRole.SYSTEM)
    senders = {SenderRole.CONTACT: thread, SenderRole.AGENT: text_of(entry, "servicer_userid"), SenderRole.SYSTEM: ""}
    write = _TEXTS.get(kind)
    return IncomingMessage(
        external_id=external_id,
        thread=thread,
        sender=senders[role],
        role=role,
        kind=kind,
        text=write(values) if write else "",
        sent_at=sent_at,
        choice=text_of(values, "menu_id") or None if kind is Kind.TEXT else None,
        media=_media(kind, values),
        content={} if kind is Kind.TEXT else {"type": name, **storable(values)},
        account=text_of(entry, "open_kfid") or account,
    )


def _media(kind: Kind, values: Values) -> tuple[Media, ...]:
    reference = text_of(values, "media_id")
    if kind not in _FILES or not reference:
        return ()
    return (Media(reference, kind, text_of(values, "filename") or None, _FILES[kind]),)


# --------------------------------------------------------------------------------- words for what is not text


def _lines(*names: str) -> Callable[[Values], str]:
    """The named values, one a line, those that are there."""
    return lambda values: "\n".join(text for name in names if (text := text_of(values, name)))


def _menu(values: Values) -> str:
    lines = [text_of(values, "head_content")]
    for entry in items_of(values, "list"):
        inner = mapping_of(entry, text_of(entry, "type"))
        lines.append(text_of(inner, "content"))
    lines.append(text_of(values, "tail_content"))
    return "\n".join(line for line in lines if line)


def _history(values: Values, depth: int = 0) -> str:
    """Forwarded history as `name: words`, one a line; each entry's content is JSON inside a string."""
    lines = [text_of(values, "title")]
    for item in items_of(values, "item")[:_LONGEST_HISTORY]:
        inner = _inner(text_of(item, "msg_content"))
        name = text_of(item, "msgtype")
        kind = _KINDS.get(name, Kind.OTHER)
        found = mapping_of(inner, name) or inner
        if kind is Kind.MERGED:
            words = _history(found, depth + 1) if depth < _DEEPEST_HISTORY else ""
        else:
            write = _TEXTS.get(kind)
            words = write(found) if write else ""
        lines.append(f"{text_of(item, 'sender_name')}: {words or f'[{name}]'}")
    return "\n".join(line for line in lines if line)


def _inner(content: str) -> Values:
    try:
        found = json.loads(content, strict=False)
    except (ValueError, RecursionError):
        return {"content": content}
    return found if isinstance(found, dict) else {"content": content}


_TEXTS: Mapping[Kind, Callable[[Values], str]] = {
    Kind.TEXT: lambda values: text_of(values, "content"),
    Kind.LOCATION: _lines("name", "address"),
    Kind.LINK: _lines("title", "desc", "url"),
    Kind.CARD: _lines("userid"),
    Kind.MINIPROGRAM: _lines("title"),
    Kind.MENU: _menu,
    Kind.PRODUCT: _lines("title", "shop_nickname"),
    Kind.ORDER: _lines("product_titles", "price_wording", "state"),
    Kind.MERGED: _history,
}


# ------------------------------------------------------------------------------------------------------ events


def _read_event(entry: Values, happened_at: datetime) -> Incoming:
    event = mapping_of(entry, "event")
    name = text_of(event, "event_type").lower()
    # The ids stand inside the event; some senders leave them at the top.
    thread = text_of(event, "external_userid") or text_of(entry, "external_userid")
    event_id = text_of(entry, "msgid") or None
    read = _EVENTS.get(name)
    found = read(event, thread, happened_at, event_id) if read and thread else None
    return found or UnknownVendorEvent(
        name or "unnamed_event", happened_at, thread or None, storable(event), event_id=event_id
    )


def _entered(event: Values, thread: str, happened_at: datetime, event_id: str | None) -> Incoming:
    return Entered(
        thread,
        happened_at,
        welcome_code=text_of(event, "welcome_code") or None,
        scene=text_of(event, "scene") or None,
        scene_param=text_of(event, "scene_param") or None,
        event_id=event_id,
    )


def _send_failed(event: Values, thread: str, happened_at: datetime, event_id: str | None) -> Incoming | None:
    failed = text_of(event, "fail_msgid")
    if not failed:
        return None
    code = number(event.get("fail_type")) or 0
    return SendFailed(failed, thread, _FAIL_REASONS.get(code, "unknown"), code, happened_at, event_id=event_id)


def _recalled(role: SenderRole) -> Callable[[Values, str, datetime, str | None], Incoming | None]:
    def read(event: Values, thread: str, happened_at: datetime, event_id: str | None) -> Incoming | None:
        message = text_of(event, "recall_msgid")
        return Recalled(message, thread, role, happened_at, event_id=event_id) if message else None

    return read


def _session_changed(event: Values, thread: str, happened_at: datetime, event_id: str | None) -> Incoming | None:
    change = number(event.get("change_type"))
    if change not in (1, 2, 3, 4):
        return None
    return SessionChanged(
        thread,
        NativeState.ENDED if change == 3 else NativeState.HUMAN,
        happened_at,
        servicer=text_of(event, "new_servicer_userid") or None,
        previous_servicer=text_of(event, "old_servicer_userid") or None,
        reply_code=text_of(event, "msg_code") or None,
        event_id=event_id,
    )


_EVENTS: Mapping[str, Callable[[Values, str, datetime, str | None], Incoming | None]] = {
    "enter_session": _entered,
    "msg_send_fail": _send_failed,
    "user_recall_msg": _recalled(SenderRole.CONTACT),
    "servicer_recall_msg": _recalled(SenderRole.AGENT),
    "session_status_change": _session_changed,
}
