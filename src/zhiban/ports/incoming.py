"""What a channel read, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports.refusals import Refusal


class Kind(StrEnum):
    """The kind of a message. Vendors' further kinds become `other` and keep their raw content."""

    TEXT = "text"
    IMAGE = "image"
    VOICE = "voice"
    VIDEO = "video"
    FILE = "file"
    LOCATION = "location"
    LINK = "link"
    CARD = "card"  # business card
    MINIPROGRAM = "miniprogram"
    PRODUCT = "product"
    ORDER = "order"
    MERGED = "merged"  # forwarded chat history
    MENU = "menu"
    MARKDOWN = "markdown"
    OTHER = "other"


class SenderRole(StrEnum):
    """Who said it, seen from the organisation."""

    CONTACT = "contact"
    AGENT = "agent"  # a person of ours, writing in the vendor's own client
    SYSTEM = "system"


@frozen_dataclass
class Media:
    """A file at the vendor, to be fetched with `FetchesMedia.fetch` soon (some keep it for days only)."""

    reference: str
    kind: Kind
    filename: str | None = None
    content_type: str | None = None


@frozen_dataclass
class Profile:
    """What the vendor tells about a person.

    `content` is the rest it says, by the vendor's own names; `attributes` are facts that an operator keeps there about
    the contact, where None takes one away.
    """

    external_id: str
    name: str
    avatar_url: str | None = None
    unionid: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@frozen_dataclass
class ReplySlot:
    """A chance to say one thing after a message, on a channel where nothing may be said otherwise.

    `fetched`: the vendor asks our webhook for what is said there (`ReplyPoll`), by `key`, until it was given something;
    from `until` on that is `otherwise`. What is said further down in the same chat closes it with `superseded`, where
    that is not empty. `posted`: we send it to `address`, in the vendor's own notation, at any time until `until`.
    """

    key: str
    how: Literal["fetched", "posted"]
    until: datetime
    address: str = ""
    otherwise: str = ""
    superseded: str = ""


@frozen_dataclass
class QuotedWords:
    """A message that another one quotes, where the vendor gives its words and neither its id nor who wrote it.

    `files` name what it shows, each in the same way however often it is quoted: two pictures have the same words.
    """

    kind: Kind
    text: str
    files: tuple[str, ...] = ()


@frozen_dataclass
class IncomingMessage:
    """A message somebody wrote. `thread` names the conversation at the vendor, `sender` the person who wrote."""

    external_id: str
    thread: str
    sender: str
    role: SenderRole
    kind: Kind
    text: str
    sent_at: datetime
    choice: str | None = None  # id of the menu entry that was tapped
    media: tuple[Media, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)  # fields to lay out, for kinds with more than text
    account: str | None = None  # the vendor's id of the account
    reply_to: str | None = None  # the vendor's id of the message that it answers, ours included
    group: bool = False  # the thread has many members, of whom the sender is one
    sender_name: str = ""  # what the sender is called there, where the vendor says so with the message
    mentions: tuple[str, ...] = ()  # the vendor's ids of those whom it names with @, our own account left out
    mentions_us: bool = False
    quoted: QuotedWords | None = None  # instead of `reply_to`, where the vendor does not say which one it is
    slots: tuple[ReplySlot, ...] = ()  # where it may be answered, on channels that are answered in slots alone


@frozen_dataclass
class Recalled:
    """A message was taken back. `external_id` is that message's id."""

    external_id: str
    thread: str
    role: SenderRole
    happened_at: datetime
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


@frozen_dataclass
class SendFailed:
    """The vendor accepted our message and could not deliver it. `external_id` is what `send` returned, or our key."""

    external_id: str
    thread: str
    reason: Refusal
    code: int
    happened_at: datetime
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


@frozen_dataclass
class Entered:
    """A contact opened the chat. With `welcome_code` one welcome may be sent, within the channel's limit of time."""

    thread: str
    happened_at: datetime
    welcome_code: str | None = None
    scene: str | None = None
    scene_param: str | None = None
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


class NativeState(StrEnum):
    """Who holds the conversation in the vendor's own view."""

    NEW = "new"
    ASSISTANT = "assistant"
    POOL = "pool"
    HUMAN = "human"
    ENDED = "ended"


@frozen_dataclass
class SessionChanged:
    """People moved the session in the vendor's client. `reply_code` allows one message about it."""

    thread: str
    state: NativeState
    happened_at: datetime
    servicer: str | None = None
    previous_servicer: str | None = None
    reply_code: str | None = None
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


class ContactFollowChange(StrEnum):
    """What became of the friendship between a contact and one of our members."""

    ADDED = "added"
    HALF_ADDED = "half_added"  # the contact added us, we did not confirm yet
    EDITED = "edited"
    REMOVED_BY_US = "removed_by_us"
    REMOVED_BY_CONTACT = "removed_by_contact"
    TRANSFER_FAILED = "transfer_failed"


@frozen_dataclass
class ContactFollowChanged:
    """A contact and one of our members became friends, or ceased to be."""

    change: ContactFollowChange
    contact: str
    member: str
    happened_at: datetime
    welcome_code: str | None = None
    state: str | None = None  # which link or poster they came by
    reason: str | None = None


@frozen_dataclass
class CardTapped:
    """One of our people tapped a button on a card we sent. `reply_code` updates that card once."""

    member: str
    key: str
    task: str
    happened_at: datetime
    reply_code: str | None = None


@frozen_dataclass
class AccountsChanged:
    """Accounts were given to us or taken away."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    happened_at: datetime


@frozen_dataclass
class ContactChanged:
    """The vendor tells unasked who a contact is."""

    profile: Profile
    happened_at: datetime


@frozen_dataclass
class Receipt:
    """A message of ours reached the contact's device, or was read. `external_id`: what `send` returned, or our key."""

    external_id: str
    thread: str
    status: Literal["delivered", "read"]
    happened_at: datetime


@frozen_dataclass
class GroupMember:
    """Somebody in a group. `name` is what they call themselves, `nickname` what they are called in this group."""

    external_id: str
    name: str = ""
    nickname: str = ""
    role: Literal["member", "admin", "owner"] = "member"
    avatar_url: str | None = None
    joined_at: datetime | None = None  # where the vendor knows it


@frozen_dataclass
class GroupChanged:
    """What a group is now. What is None was not told and stays as it is known; `members` is the whole list."""

    thread: str
    happened_at: datetime
    name: str | None = None
    members: tuple[GroupMember, ...] | None = None
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


@frozen_dataclass
class GroupStale:
    """Something became different in a group, and the vendor does not say what it is now: ask (`ReadsGroups`)."""

    thread: str
    happened_at: datetime


@frozen_dataclass
class MembersJoined:
    """People came into a group. With `ourselves` our own account did too, also when it alone did."""

    thread: str
    members: tuple[GroupMember, ...]
    happened_at: datetime
    inviter: str | None = None
    ourselves: bool = False
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


@frozen_dataclass
class MembersLeft:
    """People left a group or were removed from it. With `ourselves` nothing can be said there any more."""

    thread: str
    members: tuple[str, ...]
    happened_at: datetime
    remover: str | None = None
    ourselves: bool = False
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


@frozen_dataclass
class UnknownVendorEvent:
    """Anything else that is worth a line in the log: `kind` is the vendor's event name in lower case."""

    kind: str
    happened_at: datetime
    thread: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


Incoming = (
    IncomingMessage
    | Recalled
    | SendFailed
    | Entered
    | SessionChanged
    | ContactFollowChanged
    | CardTapped
    | AccountsChanged
    | ContactChanged
    | Receipt
    | GroupChanged
    | GroupStale
    | MembersJoined
    | MembersLeft
    | UnknownVendorEvent
)


@frozen_dataclass
class Page:
    """One page of a pull. `cursor` is durable at the vendor; None means it gave none and we keep ours."""

    items: tuple[Incoming, ...]
    cursor: str | None
    more: bool
