"""OneBot events in our words, as far as they say it themselves. Pure; whatever a program tells, nothing here raises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from zhiban.integrations.onebot import segments
from zhiban.integrations.onebot.segments import Reading, identifier
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean
from zhiban.ports import (
    Entered,
    GroupChanged,
    GroupMember,
    Incoming,
    IncomingMessage,
    Kind,
    Media,
    MembersJoined,
    MembersLeft,
    Recalled,
    SenderRole,
    UnknownVendorEvent,
)

GROUP: Final = "group:"  # before the number of a group: it may be the same as that of a person
ANONYMOUS: Final = "anonymous:"
WELCOME: Final = "friend:"
LONGEST_NAME: Final = 200
ABSENT_IDS: Final = frozenset(("", "0"))

# What people would only be bothered with.
_SILENT: Final = frozenset(
    (
        *("essence", "honor", "poke", "lucky_king", "input_status", "profile_like", "title", "client_status"),
        *("group_ban", "group_msg_emoji_like", "reaction", "gray_tip", "bot_online"),
        *("online_file_send", "online_file_receive"),
    )
)


@frozen_dataclass
class OneBotEvent:
    """An event as its program told it."""

    values: Mapping[str, Any]

    def word(self, name: str) -> str:
        """A value of a closed vocabulary."""
        found = self.values.get(name)
        return found[:60] if isinstance(found, str) else ""

    def id(self, name: str) -> str:
        found = identifier(self.values.get(name))
        return "" if found in ABSENT_IDS else found

    def named(self, name: str) -> str:
        """What somebody or something is called."""
        return called(self.values.get(name))

    def part(self, name: str) -> OneBotEvent:
        found = self.values.get(name)
        return OneBotEvent(found if isinstance(found, Mapping) else {})

    @property
    def kind(self) -> str:
        """`message`, `notice`, `request`, `meta_event`, or what the program made up."""
        return self.word("post_type")

    @property
    def us(self) -> str:
        return self.id("self_id")

    @property
    def thread(self) -> str:
        """Where it happened; empty where that is not said."""
        group, user = self.id("group_id"), self.id("user_id")
        if group and self.word("message_type") != "private":
            return f"{GROUP}{group}"
        return user

    def at(self, now: datetime) -> datetime:
        """When it happened. What is missing, impossible or to come is now; some tell milliseconds."""
        stated = self.values.get("time")
        if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 < stated < 1e14:
            return now
        try:
            return min(datetime.fromtimestamp(stated / 1000 if stated > 1e11 else stated, UTC), now)
        except (OverflowError, OSError, ValueError):
            return now

    def event_id(self, *more: str) -> str:
        """What names this event, so that a repeat of it is known."""
        told = (self.word("notice_type"), self.word("sub_type"), self.thread, self.id("user_id"))
        stamp = str(self.values.get("time"))[:40]
        return hashlib.sha256("\0".join((*told, stamp, *more)).encode()).hexdigest()[:32]


def parse(body: str) -> OneBotEvent | None:
    """An event, or None where it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return OneBotEvent(found) if isinstance(found, dict) and isinstance(found.get("post_type"), str) else None


def called(value: object) -> str:
    return clean(value).strip()[:LONGEST_NAME] if isinstance(value, str) else ""


def message_id(thread: str, id_: str) -> str:
    """Our id of a message. Theirs are 32 bits made of little: only within one chat they tell messages apart."""
    return f"{thread}:{id_}"


def incoming(event: OneBotEvent, *, now: datetime, name_of: Callable[[str], str] = lambda _id: "") -> list[Incoming]:
    """What an event brings, in the order in which it is to be taken in."""
    match event.kind:
        case "message":
            return _message(event, now, name_of)
        case "notice":
            return _notice(event, now)
        case "request":
            return _request(event, now)
        case _:
            return []


# ------------------------------------------------------------------------------------------------------------ messages


def _message(event: OneBotEvent, now: datetime, name_of: Callable[[str], str]) -> list[Incoming]:
    group = event.thread.startswith(GROUP)
    if event.word("sub_type") == "notice" and group:
        words = clean(str(event.values.get("raw_message", "")))[:LONGEST_NAME]
        return [UnknownVendorEvent("group_notice", event.at(now), event.thread, {"text": words})]
    sender, name = _sender(event, group=group)
    id_ = event.id("message_id")
    if not sender or not id_ or sender == event.us:
        return []  # our own words, where a program reports them, are known from sending them
    raw = str(event.values.get("raw_message") or "")
    parts = segments.segments_of(event.values.get("message") or raw)
    said = segments.read(parts, us=event.us, name_of=name_of, raw=raw)
    return [_said(event, said, sender, name, id_, now)]


def _said(event: OneBotEvent, said: Reading, sender: str, name: str, id_: str, now: datetime) -> IncomingMessage:
    thread = event.thread
    group = thread.startswith(GROUP)
    content = dict(said.content)
    if said.kind is Kind.MERGED and not said.text:
        said.text = "[聊天记录]"
    return IncomingMessage(
        external_id=message_id(thread, id_),
        thread=thread,
        sender=sender,
        role=SenderRole.CONTACT,
        kind=said.kind,
        text=said.text,
        sent_at=event.at(now),
        media=tuple(said.media),
        content=content,
        reply_to=message_id(thread, said.reply_to) if said.reply_to not in ABSENT_IDS else None,
        group=group,
        sender_name=name,
        mentions=tuple(said.mentions) if group else (),
        mentions_us=said.mentions_us and group,
    )


def _sender(event: OneBotEvent, *, group: bool) -> tuple[str, str]:
    """Who said it, and what they are called there."""
    sender = event.part("sender")
    anonymous = event.part("anonymous")
    if group and (hidden := anonymous.id("id") or anonymous.named("name")):
        return f"{ANONYMOUS}{hidden}"[:100], anonymous.named("name")
    return event.id("user_id") or sender.id("user_id"), sender.named("card") or sender.named("nickname")


def expanded(message: IncomingMessage, title: str, items: list[dict[str, Any]]) -> IncomingMessage:
    """A forwarded chat with what it says."""
    words = "\n".join(f"{one['sender']}：{one['text']}" if one["sender"] else one["text"] for one in items)
    shown = "\n".join(filter(None, (title, words)))
    return replace(message, text=shown, content={**message.content, "title": title, "items": items})


# ------------------------------------------------------------------------------------------------------------- notices


def _notice(event: OneBotEvent, now: datetime) -> list[Incoming]:
    kind = event.word("notice_type")
    kind = event.word("sub_type") if kind == "notify" else kind
    reader = _NOTICES.get(kind)
    if reader is not None:
        return reader(event, now)
    if kind in _SILENT or not kind:
        return []
    name = f"qq_{clean(kind)}"[:80]
    return [UnknownVendorEvent(name, event.at(now), event.thread or None, event_id=event.event_id())]


def _recalled(event: OneBotEvent, now: datetime) -> list[Incoming]:
    thread, id_ = event.thread, event.id("message_id")
    if not thread or not id_ or thread == event.us:
        return []
    role = SenderRole.AGENT if event.id("user_id") == event.us else SenderRole.CONTACT
    return [Recalled(message_id(thread, id_), thread, role, event.at(now), event.event_id(id_))]


def _joined(event: OneBotEvent, now: datetime) -> list[Incoming]:
    group, who = event.id("group_id"), event.id("user_id")
    if not group or not who:
        return []
    us = who == event.us
    by = event.id("operator_id")
    return [
        MembersJoined(
            f"{GROUP}{group}",
            () if us else (GroupMember(who, event.part("sender").named("nickname")),),
            event.at(now),
            by if by and by != who else None,
            us,
            event.event_id(),
        )
    ]


def _left(event: OneBotEvent, now: datetime) -> list[Incoming]:
    group, who = event.id("group_id"), event.id("user_id")
    how = event.word("sub_type")
    us = how in ("kick_me", "disband", "dismiss") or who == event.us
    if not group or not (who or us):
        return []
    by = event.id("operator_id")
    return [
        MembersLeft(
            f"{GROUP}{group}",
            (who,) if who and who != event.us else (),
            event.at(now),
            by if by and by != who and how != "leave" else None,
            us,
            event.event_id(),
        )
    ]


def _renamed(event: OneBotEvent, now: datetime) -> list[Incoming]:
    group, name = event.id("group_id"), event.named("name_new") or event.named("name")
    if not group or not name:
        return []
    return [GroupChanged(f"{GROUP}{group}", event.at(now), name=name, event_id=event.event_id(name))]


def _file(event: OneBotEvent, now: datetime) -> list[Incoming]:
    """A file of a group, or one sent to us: many tell it apart from messages, some tell it twice."""
    thread, who, file = event.thread, event.id("user_id"), event.part("file")
    name, id_ = file.named("name"), called(file.values.get("id"))
    url = called(file.values.get("url")) if str(file.values.get("url", "")).startswith(("http://", "https://")) else ""
    if not thread or not who or who == event.us or not (name or id_ or url):
        return []
    full_url = clean(str(file.values["url"]))[:4000] if url else ""
    reference = f"url:{full_url}" if full_url else f"file:{id_}"
    return [
        IncomingMessage(
            external_id=message_id(thread, f"file:{event.event_id(id_, name)}"),
            thread=thread,
            sender=who,
            role=SenderRole.CONTACT,
            kind=Kind.FILE,
            text="",
            sent_at=event.at(now),
            media=(Media(reference, Kind.FILE, name or None),),
            group=thread.startswith(GROUP),
        )
    ]


def _friend(event: OneBotEvent, now: datetime) -> list[Incoming]:
    who = event.id("user_id")
    return [entered(who, event.at(now))] if who else []


def entered(who: str, at: datetime) -> Entered:
    """Somebody is our friend from now on. Told once a day: both the request and the notice may tell it."""
    id_ = hashlib.sha256(f"{WELCOME}\0{who}\0{at.date()}".encode()).hexdigest()[:32]
    return Entered(who, at, f"{WELCOME}{who}", event_id=id_)


_NOTICES: Final[Mapping[str, Callable[[OneBotEvent, datetime], list[Incoming]]]] = {
    "group_recall": _recalled,
    "friend_recall": _recalled,
    "group_increase": _joined,
    "group_decrease": _left,
    "group_name": _renamed,
    "group_name_change": _renamed,
    "group_upload": _file,
    "offline_file": _file,
    "friend_add": _friend,
    "group_card": lambda _event, _now: [],  # the list of members is asked for
    "group_admin": lambda _event, _now: [],
    "bot_offline": lambda _event, _now: [],  # is a state of the connection
}


# ------------------------------------------------------------------------------------------------------------ requests


def _request(event: OneBotEvent, now: datetime) -> list[Incoming]:
    """Somebody wants something of the account. What is done about it is not the event's to say."""
    told = {"user": event.id("user_id"), "comment": event.named("comment")}
    if event.word("request_type") == "friend":
        return [UnknownVendorEvent("friendship_requested", event.at(now), None, told)]
    kind = "group_invitation_received" if is_invitation(event) else "group_join_requested"
    return [UnknownVendorEvent(kind, event.at(now), None, {**told, "group": event.id("group_id")})]


def is_invitation(event: OneBotEvent) -> bool:
    """Whether somebody asks our account into a group; others ask to be let into one, which is not ours to decide."""
    return event.word("request_type") == "group" and event.word("sub_type") == "invite"
