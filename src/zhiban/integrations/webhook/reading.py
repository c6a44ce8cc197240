"""What a program tells us, checked field by field, and the same in the words of the ports."""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from zhiban.integrations.webhook.kinds import INLINE_BYTES
from zhiban.kit.settings import web_address
from zhiban.kit.text import clean
from zhiban.ports import (
    ContactChanged,
    GroupChanged,
    GroupMember,
    Incoming,
    IncomingMessage,
    InvalidWebhook,
    Kind,
    Media,
    MembersJoined,
    MembersLeft,
    Profile,
    Recalled,
    Receipt,
    Refusal,
    SenderRole,
    SendFailed,
)

FILES: Final = 10
MEMBERS: Final = 2000  # of a group, in one call

_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")


def _storable(text: str) -> str:
    return clean(text)


def _identifier(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("must be 1 to 200 characters without control characters")
    return text


def _moment(value: object) -> object:
    """Seconds since 1970 or ISO 8601 with a zone."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a time, as seconds since 1970 or ISO 8601")  # noqa: TRY004 - pydantic reports it
    return value


def _with_zone(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must name its time zone")
    return value.astimezone(UTC)


def _address(value: str) -> str:
    if not web_address(value) or _storable(value) != value:
        raise ValueError("must be an http:// or https:// address")
    return value


Text = Annotated[str, Field(max_length=100_000), AfterValidator(_storable)]
PersonName = Annotated[str, Field(max_length=200), AfterValidator(_storable)]
ExternalId = Annotated[str, AfterValidator(_identifier)]
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_with_zone)]
Address = Annotated[str, Field(max_length=2000), AfterValidator(_address)]

Attribute = Annotated[str, Field(max_length=2000), AfterValidator(_storable)] | bool | int | float | None


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class ContactPart(_Body):
    """Who wrote. What is left out stays as it is known."""

    id: ExternalId
    name: PersonName = ""
    avatar_url: Address | None = None
    attributes: dict[PersonName, Attribute] = Field(default_factory=dict, max_length=100)


class FilePart(_Body):
    """A file, at an address or inside the call."""

    url: Address | None = None
    data: str | None = Field(default=None, max_length=INLINE_BYTES * 4 // 3 + 4)
    name: PersonName = ""
    content_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+/-]{1,100}$")] = "application/octet-stream"
    kind: Literal["image", "voice", "video", "file"] = "file"

    @model_validator(mode="after")
    def _one_source(self) -> FilePart:
        if (self.url is None) == (self.data is None):
            raise ValueError("give either url or data")
        if self.data is not None:
            try:
                base64.b64decode(self.data, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("data must be base64") from None
        return self

    def media(self) -> Media:
        reference = self.url or f"data:{self.content_type};base64,{self.data}"
        return Media(reference, Kind(self.kind), self.name or None, self.content_type)


class MessagePart(_Body):
    """What was written; with `choice` the entry of a menu of ours that was chosen."""

    id: ExternalId
    text: Text = ""
    kind: Literal["text", "image", "voice", "video", "file", "location", "link", "other"] = "text"
    choice: ExternalId | None = None
    reply_to: ExternalId | None = None
    files: tuple[FilePart, ...] = Field(default=(), max_length=FILES)
    sent_at: Moment | None = None
    author: Literal["contact", "agent"] = "contact"
    mentions: tuple[ExternalId, ...] = Field(default=(), max_length=100)
    mentions_us: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> MessagePart:
        if not (self.text.strip() or self.files or self.choice or self.kind not in ("text", "file")):
            raise ValueError("give text, files or choice")
        return self


class ChatPart(_Body):
    """A chat with many members. A name that is left out stays as it is known."""

    id: ExternalId
    name: PersonName = ""


class MemberPart(_Body):
    """Somebody in a group: `name` is what they call themselves, `nickname` what they are called there."""

    id: ExternalId
    name: PersonName = ""
    nickname: PersonName = ""
    role: Literal["member", "admin", "owner"] = "member"
    avatar_url: Address | None = None

    def member(self) -> GroupMember:
        return GroupMember(self.id, self.name, self.nickname, self.role, self.avatar_url)


class MessageEvent(_Body):
    type: Literal["message"]
    contact: ContactPart
    message: MessagePart
    thread: ExternalId | None = None  # the contact's id unless one contact has several conversations
    group: ChatPart | None = None  # where it was written; then the contact is one of its members


class ReceiptEvent(_Body):
    """What became of a message of ours, by the id we sent it with."""

    type: Literal["receipt"]
    message_id: ExternalId
    status: Literal["delivered", "read", "failed"]
    reason: Annotated[str, Field(pattern=r"^[a-z_]{1,60}$")] = "failed"
    at: Moment | None = None


class RecallEvent(_Body):
    """A message was taken back, by its own id."""

    type: Literal["recall"]
    message_id: ExternalId
    author: Literal["contact", "agent"] = "contact"
    at: Moment | None = None


class ContactEvent(_Body):
    type: Literal["contact"]
    contact: ContactPart


class GroupEvent(_Body):
    """What a group is called, and the whole list of its members where it is given."""

    type: Literal["group"]
    group: ChatPart
    members: tuple[MemberPart, ...] | None = Field(default=None, max_length=MEMBERS)
    at: Moment | None = None


class MembersEvent(_Body):
    """People came into a group or left it; `by` invited or removed them. `ourselves`: our own account did, too."""

    type: Literal["members_joined", "members_left"]
    group: ChatPart
    members: tuple[MemberPart, ...] = Field(default=(), max_length=MEMBERS)
    by: ExternalId | None = None
    ourselves: bool = False
    at: Moment | None = None


InEvent = MessageEvent | ReceiptEvent | RecallEvent | ContactEvent | GroupEvent | MembersEvent


@cache
def _adapter() -> TypeAdapter[InEvent]:
    return TypeAdapter(Annotated[InEvent, Discriminator("type")])


def parse_event(body: bytes) -> InEvent:
    """What a body says. Raises InvalidWebhook(422), naming the field that has to be mended."""
    try:
        return _adapter().validate_python(json.loads(body, parse_constant=_no_number))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidWebhook(clean(f"{where}: {first['msg']}")[:300], status=422) from None
    except (ValueError, RecursionError):
        raise InvalidWebhook("body: must be JSON in UTF-8", status=422) from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _refusal(reason: str) -> Refusal:
    """One of our own words for it; others are kept in the event, and told as unknown."""
    return Refusal(reason) if reason in set(Refusal) else Refusal.UNKNOWN


def incoming(event: InEvent, *, event_id: str, now: datetime) -> list[Incoming]:
    """The event in the words of the ports. A time in the future becomes now."""
    match event:
        case MessageEvent():
            if event.group is None:
                return [*_profile(event.contact, now=now), _message(event, now=now)]
            # What the sender is called stands in the message; the rest is told seldom.
            more = event.contact.avatar_url or event.contact.attributes
            profile = _profile(event.contact, now=now) if more else []
            return [*_renamed(event.group, now=now), *profile, _message(event, now=now)]
        case GroupEvent():
            listed = None if event.members is None else tuple(one.member() for one in event.members)
            return [GroupChanged(event.group.id, _past(event.at, now), event.group.name or None, listed, event_id)]
        case MembersEvent():
            return [*_renamed(event.group, now=now), _moved(event, event_id=event_id, now=now)]
        case ContactEvent():
            return _profile(event.contact, now=now)
        case RecallEvent():
            role = SenderRole.CONTACT if event.author == "contact" else SenderRole.AGENT
            return [Recalled(event.message_id, "", role, _past(event.at, now), event_id)]
        case ReceiptEvent(status="failed"):
            return [SendFailed(event.message_id, "", _refusal(event.reason), 0, _past(event.at, now), event_id)]
        case ReceiptEvent():
            status: Literal["delivered", "read"] = "read" if event.status == "read" else "delivered"
            return [Receipt(event.message_id, "", status, _past(event.at, now))]


def _profile(contact: ContactPart, *, now: datetime) -> list[Incoming]:
    if not (contact.name or contact.avatar_url or contact.attributes):
        return []
    profile = Profile(contact.id, contact.name, avatar_url=contact.avatar_url, attributes=contact.attributes)
    return [ContactChanged(profile, now)]


def _renamed(group: ChatPart, *, now: datetime) -> list[Incoming]:
    return [GroupChanged(group.id, now, group.name)] if group.name else []


def _moved(event: MembersEvent, *, event_id: str, now: datetime) -> MembersJoined | MembersLeft:
    at = _past(event.at, now)
    if event.type == "members_joined":
        members = tuple(one.member() for one in event.members)
        return MembersJoined(event.group.id, members, at, event.by, event.ourselves, event_id)
    gone = tuple(one.id for one in event.members)
    return MembersLeft(event.group.id, gone, at, event.by, event.ourselves, event_id)


def _message(event: MessageEvent, *, now: datetime) -> IncomingMessage:
    said = event.message
    kind = Kind(said.files[0].kind) if said.kind == "text" and said.files and not said.text.strip() else Kind(said.kind)
    return IncomingMessage(
        external_id=said.id,
        thread=event.group.id if event.group else event.thread or event.contact.id,
        sender=event.contact.id,
        role=SenderRole.CONTACT if said.author == "contact" else SenderRole.AGENT,
        kind=Kind.MENU if said.choice else kind,
        text=said.text,
        sent_at=_past(said.sent_at, now),
        choice=said.choice,
        media=tuple(one.media() for one in said.files),
        reply_to=said.reply_to,
        group=event.group is not None,
        sender_name=event.contact.name if event.group else "",
        mentions=said.mentions if event.group else (),
        mentions_us=said.mentions_us and event.group is not None,
    )


def _past(at: datetime | None, now: datetime) -> datetime:
    return min(at, now) if at else now
