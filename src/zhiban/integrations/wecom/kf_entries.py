"""What one entry of kf/sync_msg says. Nothing in here raises, whatever the entry looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from zhiban.integrations.wecom.contents import FILES, read_content
from zhiban.integrations.wecom.values import mapping_of, moment, number, storable, text_of
from zhiban.ports import (
    Entered,
    Incoming,
    IncomingMessage,
    Kind,
    Media,
    NativeState,
    Recalled,
    Refusal,
    SenderRole,
    SendFailed,
    SessionChanged,
    UnknownVendorEvent,
)

Values = Mapping[str, Any]
_FAIL_REASONS = {
    1: Refusal.ACCOUNT_DELETED,
    2: Refusal.APP_CLOSED,
    4: Refusal.WINDOW_CLOSED,
    5: Refusal.SESSION_ENDED,
    6: Refusal.ALLOWANCE_USED,
    8: Refusal.CORP_NOT_VERIFIED,
    10: Refusal.REFUSED_BY_CONTACT,
    11: Refusal.NOBODY_LOGGED_IN,
    12: Refusal.KIND_FORBIDDEN,
    13: Refusal.SECURITY_RESTRICTION,
}


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
    role = _role(entry)
    if role is SenderRole.SYSTEM:
        # The platform's own word about a conversation: nobody's message, and nothing to answer.
        return UnknownVendorEvent("system_message", happened_at, thread, storable(entry), event_id=external_id)
    return _read_message(entry, external_id, thread, role, account, happened_at)


def _role(entry: Values) -> SenderRole:
    """Who said it. What we sent ourselves never comes back, so whatever names no servicer is the contact's.

    An origin that nobody has described yet is no reason to leave a contact without an answer.
    """
    match number(entry.get("origin")):
        case 3:
            return SenderRole.CONTACT
        case 4:
            return SenderRole.SYSTEM
        case 5:
            return SenderRole.AGENT
        case _:
            return SenderRole.AGENT if text_of(entry, "servicer_userid") else SenderRole.CONTACT


def _read_message(
    entry: Values, external_id: str, thread: str, role: SenderRole, account: str, sent_at: datetime
) -> IncomingMessage:
    name = text_of(entry, "msgtype")
    values = mapping_of(entry, name)
    found = read_content(name, values)
    return IncomingMessage(
        external_id=external_id,
        thread=thread,
        sender=thread if role is SenderRole.CONTACT else text_of(entry, "servicer_userid"),
        role=role,
        kind=found.kind,
        text=found.text,
        sent_at=sent_at,
        choice=text_of(values, "menu_id") or None if found.kind is Kind.TEXT else None,
        media=_media(found.kind, values),
        content=found.content,
        account=text_of(entry, "open_kfid") or account,
    )


def _media(kind: Kind, values: Values) -> tuple[Media, ...]:
    reference = text_of(values, "media_id")
    if kind not in FILES or not reference:
        return ()
    return (Media(reference, kind, text_of(values, "filename") or None, FILES[kind]),)


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
    return SendFailed(failed, thread, _FAIL_REASONS.get(code, Refusal.UNKNOWN), code, happened_at, event_id=event_id)


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
