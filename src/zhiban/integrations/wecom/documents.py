"""What the decrypted XML of a callback says: members' messages, and events of the app and of customer contact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from zhiban.integrations.wecom import xml
from zhiban.integrations.wecom.values import moment, storable
from zhiban.ports import (
    AccountsChanged,
    CardTapped,
    Incoming,
    IncomingMessage,
    Kind,
    Media,
    RelationChange,
    RelationChanged,
    SenderRole,
    UnknownVendorEvent,
)

_KINDS = {
    "text": Kind.TEXT,
    "image": Kind.IMAGE,
    "voice": Kind.VOICE,
    "video": Kind.VIDEO,
    "file": Kind.FILE,
    "location": Kind.LOCATION,
    "link": Kind.LINK,
}
_FILES = {Kind.IMAGE: "image/jpeg", Kind.VOICE: "audio/amr", Kind.VIDEO: "video/mp4", Kind.FILE: None}
_RELATIONS = {
    "add_external_contact": RelationChange.ADDED,
    "add_half_external_contact": RelationChange.HALF_ADDED,
    "edit_external_contact": RelationChange.EDITED,
    "del_external_contact": RelationChange.REMOVED_BY_US,
    "del_follow_user": RelationChange.REMOVED_BY_CONTACT,
    "transfer_fail": RelationChange.TRANSFER_FAILED,
}


def read_document(body: str, *, now: datetime) -> Sequence[Incoming]:
    """Unknown content becomes `UnknownVendorEvent`. A customer-service doorbell is empty: its content is pulled."""
    try:
        root = xml.parse(body)
    except xml.UnreadableXml:
        return (UnknownVendorEvent("unreadable", now),)
    happened_at = moment(root.get("CreateTime"), now)
    if root.get("MsgType").lower() == "event" or root.get("Event"):
        name = root.get("Event").lower()
        if name == "kf_msg_or_event":
            return ()
        read = _EVENTS.get(name)
        found = read(root, happened_at) if read else None
        return (found or _noted(root, name, happened_at),)
    return (_message(root, body, happened_at) or _noted(root, root.get("MsgType").lower(), happened_at),)


def _noted(root: xml.Element, name: str, happened_at: datetime) -> UnknownVendorEvent:
    change = root.get("ChangeType").lower()
    kind = f"{name or 'unnamed'}.{change}" if change else name or "unnamed"
    thread = root.get("ExternalUserID") or root.get("ChatId") or root.get("FromUserName")
    return UnknownVendorEvent(kind, happened_at, thread or None, storable(root.as_dict()))


def _message(root: xml.Element, body: str, sent_at: datetime) -> IncomingMessage | None:
    sender = root.get("FromUserName")
    if not sender or not root.get("MsgType"):
        return None
    kind = _KINDS.get(root.get("MsgType").lower(), Kind.OTHER)
    agent = root.get("AgentID")
    # Message ids are only unique within an app; without one the whole document names the message.
    own_id = root.get("MsgId") or hashlib.sha256(body.encode()).hexdigest()[:32]
    return IncomingMessage(
        external_id=f"{agent}:{own_id}" if agent else own_id,
        thread=sender,
        sender=sender,
        role=SenderRole.CONTACT,
        kind=kind,
        text=_words(root, kind),
        sent_at=sent_at,
        media=_media(root, kind),
        content={} if kind is Kind.TEXT else storable(root.as_dict()),
        account=agent or None,
    )


def _words(root: xml.Element, kind: Kind) -> str:
    names: Mapping[Kind, tuple[str, ...]] = {
        Kind.TEXT: ("Content",),
        Kind.LOCATION: ("Label",),
        Kind.LINK: ("Title", "Description", "Url"),
    }
    return "\n".join(text for name in names.get(kind, ()) if (text := root.raw(name)))


def _media(root: xml.Element, kind: Kind) -> tuple[Media, ...]:
    reference = root.get("MediaId")
    if kind not in _FILES or not reference:
        return ()
    return (Media(reference, kind, root.get("FileName") or None, _FILES[kind]),)


# ------------------------------------------------------------------------------------------------------ events


def _relation(root: xml.Element, happened_at: datetime) -> Incoming | None:
    change = _RELATIONS.get(root.get("ChangeType").lower())
    contact, member = root.get("ExternalUserID"), root.get("UserID")
    if change is None or not contact or not member:
        return None
    return RelationChanged(
        change,
        contact,
        member,
        happened_at,
        welcome_code=root.get("WelcomeCode") or None,
        state=root.get("State") or None,
        reason=root.get("FailReason") or root.get("Source") or None,
    )


def _card_tapped(root: xml.Element, happened_at: datetime) -> Incoming | None:
    member, key = root.get("FromUserName"), root.get("EventKey")
    if not member or not key:
        return None
    return CardTapped(member, key, root.get("TaskId"), happened_at, reply_code=root.get("ResponseCode") or None)


def _accounts(root: xml.Element, happened_at: datetime) -> Incoming:
    return AccountsChanged(tuple(root.all("AuthAddOpenKfId")), tuple(root.all("AuthDelOpenKfId")), happened_at)


_EVENTS: Mapping[str, Callable[[xml.Element, datetime], Incoming | None]] = {
    "change_external_contact": _relation,
    "template_card_event": _card_tapped,
    "template_card_menu_event": _card_tapped,
    "kf_account_auth_change": _accounts,
}
