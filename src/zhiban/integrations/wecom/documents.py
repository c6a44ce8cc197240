"""What the decrypted XML of a callback says: members' messages, and events of the app and of customer contact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from zhiban.integrations.wecom import xml
from zhiban.integrations.wecom.contents import FILES, Readable, link, location, name_of, read_content
from zhiban.integrations.wecom.values import moment, storable
from zhiban.ports import (
    AccountsChanged,
    CardTapped,
    ContactFollowChange,
    ContactFollowChanged,
    Incoming,
    IncomingMessage,
    Kind,
    Media,
    SenderRole,
    UnknownVendorEvent,
)

# What a member may send to an app; further types are read as `other`.
_TYPES = frozenset(("text", "image", "voice", "video", "file", "location", "link"))
_RELATIONS = {
    "add_external_contact": ContactFollowChange.ADDED,
    "add_half_external_contact": ContactFollowChange.HALF_ADDED,
    "edit_external_contact": ContactFollowChange.EDITED,
    "del_external_contact": ContactFollowChange.REMOVED_BY_US,
    "del_follow_user": ContactFollowChange.REMOVED_BY_CONTACT,
    "transfer_fail": ContactFollowChange.TRANSFER_FAILED,
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
    found = _content(root)
    agent = root.get("AgentID")
    # Message ids are only unique within an app; without one the whole document names the message.
    own_id = root.get("MsgId") or hashlib.sha256(body.encode()).hexdigest()[:32]
    return IncomingMessage(
        external_id=f"{agent}:{own_id}" if agent else own_id,
        thread=sender,
        sender=sender,
        role=SenderRole.CONTACT,
        kind=found.kind,
        text=found.text,
        sent_at=sent_at,
        media=_media(root, found.kind),
        content=found.content,
        account=agent or None,
    )


def _content(root: xml.Element) -> Readable:
    """The same words and fields as customer service has, from the app's own names for them."""
    match name := root.get("MsgType").lower():
        case "text":
            return Readable(Kind.TEXT, root.raw("Content"))
        case "location":
            return location(
                name="", address=root.raw("Label"), latitude=root.get("Location_X"), longitude=root.get("Location_Y")
            )
        case "link":
            return link(
                title=root.raw("Title"),
                description=root.raw("Description"),
                url=root.raw("Url"),
                image_url=root.raw("PicUrl"),
            )
        case _ if name in _TYPES:
            return read_content(name, {})
        case _:
            return Readable(Kind.OTHER, f"[{name_of(name)}]", {"type": name, "raw": storable(root.as_dict())})


def _media(root: xml.Element, kind: Kind) -> tuple[Media, ...]:
    reference = root.get("MediaId")
    if kind not in FILES or not reference:
        return ()
    return (Media(reference, kind, root.get("FileName") or None, FILES[kind]),)


# ------------------------------------------------------------------------------------------------------ events


def _relation(root: xml.Element, happened_at: datetime) -> Incoming | None:
    change = _RELATIONS.get(root.get("ChangeType").lower())
    contact, member = root.get("ExternalUserID"), root.get("UserID")
    if change is None or not contact or not member:
        return None
    return ContactFollowChanged(
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
