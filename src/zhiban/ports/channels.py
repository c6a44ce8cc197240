"""What a channel can do. Each further talent is a Protocol of its own, which a channel has or has not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, Protocol, runtime_checkable

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import cut_bytes, size_of, split_text
from zhiban.ports.incoming import GroupChanged, Incoming, Kind, Media, NativeState, Page, Profile
from zhiban.ports.notifiers import Notice
from zhiban.ports.outgoing import Choice, LinkCard, Outgoing


@frozen_dataclass
class ReplyWindow:
    """How long after the contact's last message we may answer, and with how many messages."""

    hours: float
    messages: int


@frozen_dataclass
class MediaLimit:
    """What a channel takes of one kind of files: `least` to `most` bytes, and where `types` names any, only those."""

    most: int
    types: frozenset[str] = frozenset()
    least: int = 1

    def takes(self, content_type: str, size: int) -> bool:
        """Whether a file of this type and of `size` bytes can be sent."""
        return self.least <= size <= self.most and (not self.types or content_type in self.types)


@frozen_dataclass
class LinkLimit:
    """What a channel takes of a card with a link, each part in bytes."""

    title: int
    description: int
    url: int

    def fitting(self, card: LinkCard) -> LinkCard | None:
        """The card as it goes out, its words cut where they are too long; None where it has no title or leads to
        nothing on the web."""
        title = cut_bytes(" ".join(card.title.split()), self.title)
        if not title or not _WEB.fullmatch(card.url) or size_of(card.url) > self.url:
            return None
        return LinkCard(title, cut_bytes(card.description.strip(), self.description), card.url)


_WEB = re.compile(r"https?://[^\s/]\S*")


# As what a file is sent of which its first bytes say that it is one; everything else goes as a file.
_SHOWN_AS = {"image": Kind.IMAGE, "video": Kind.VIDEO}


Welcomes = Literal["entering", "first_message", "itself"]


@frozen_dataclass
class Limits:
    """What a channel takes in one message, and until when we may send one."""

    text: int  # how much of a long text one message holds, counted in `unit`
    unit: Literal["bytes", "characters"] = "characters"
    reply_window: ReplyWindow | None = None
    reserved: int = 0  # replies of the window that are kept for telling the contact about a handoff
    event_reply_seconds: float = 0.0  # how long the code of an event allows its one message
    # When the inbox's welcome is said: as the contact comes in; where the channel does not tell that, before the answer
    # to their first message; or never, as the vendor's connection greets with words of its own.
    welcomes: Welcomes = "entering"
    media: Mapping[Kind, MediaLimit] = field(default_factory=dict)  # the kinds of files that can be sent
    menus: bool = False  # whether a contact can answer by tapping an entry of a menu in the chat
    quotes: bool = False  # whether a message can name the one that it answers, so that the contact sees it
    link: LinkLimit | None = None  # what a card with a link holds; None: links are words among others
    mentions: bool = False  # whether a message in a group can name members so that they are told
    hears: Literal["all", "addressed", "nothing"] = "all"  # what of a group's talk reaches us; nothing: nor do we speak
    formats: bool = False  # whether a text with marks (`kit.rich_text`) can be sent as such; else its words alone are
    repeats: bool = True  # whether sending with the same key again is harmless, in whichever process
    media_hours: float = 0.0  # for how long a file that was handed over can be sent; 0: it is not kept

    def size(self, text: str) -> int:
        """How much of a message the text takes."""
        return size_of(text) if self.unit == "bytes" else len(text)

    def parts(self, text: str) -> list[str]:
        """The text in pieces that the channel takes whole and that join back to it."""
        return split_text(text, self.text, size=self.size)

    def kind_of(self, content_type: str, size: int) -> Kind | None:
        """As what a file goes: shown as what it is where the channel can, else as a file; None: not at all."""
        for kind in (_SHOWN_AS.get(content_type.partition("/")[0]), Kind.FILE):
            if kind is not None and kind in self.media and self.media[kind].takes(content_type, size):
                return kind
        return None


@frozen_dataclass
class ChannelKind:
    """A kind of place where contacts write, as it is known before what serves it is loaded.

    `label` is a translatable text, `icon` the name of a picture in the icon set. `talents`: those of its channels'
    Protocols that somebody asks for beforehand: Polls, ShowsCards, OffersContactLinks.
    """

    kind: str
    label: str
    icon: str
    limits: Limits
    talents: tuple[type, ...] = ()


@runtime_checkable
class Channel(Protocol):
    """What serves one account (an inbox) of its kind."""

    kind: ClassVar[str]
    limits: ClassVar[Limits]

    def read(self, body: str) -> Sequence[Incoming]:
        """What a stored delivery says. Pure; unknown content becomes `UnknownVendorEvent`, never an error."""
        ...

    async def send(self, message: Outgoing) -> str:
        """Send and return the vendor's id, by which answers, recalls and receipts will name the message; our key where
        the vendor gives none. Raises SendRefused, TryLater or ConnectionBroken."""
        ...


@runtime_checkable
class Polls(Protocol):
    """Messages are kept at the vendor, page by page, and a webhook only says that there are some.

    A cursor is the vendor's own; None: from the oldest that it keeps.
    """

    async def pull(self, *, cursor: str | None, token: str | None) -> Page:
        """The next page after `cursor`. A stale token is dropped silently. Raises TryLater or ConnectionBroken."""
        ...


@frozen_dataclass
class GatewayState:
    """How a gateway stands with the account behind it.

    `scan`: somebody has to scan `qr_code` (its content, not a picture) with the account's phone. `gap` says that
    messages may have been missed before this moment, because nobody listened and the gateway keeps none;
    `silent_since` since when, where the vendor knows it better than whoever stored the item before.
    """

    state: Literal["connecting", "scan", "online", "logged_out", "refused"]
    happened_at: datetime
    account: str = ""
    account_name: str = ""
    qr_code: str = ""
    gap: bool = False
    reason: str = ""  # a sentence safe to show to an operator
    silent_since: datetime | None = None
    proved: bool = True  # the account's own login says which one it is, and not only a program that connects to us


@frozen_dataclass
class StreamItem:
    """What a stream brought: for `account` (None: the connection's own), something that happened or a state.

    `heard_at`: with this item, everything until this moment was told, or is known to be missing; None while that is
    open. `cursor`: from where the stream can be listened to once this item is stored, where the vendor can do that.
    """

    item: Incoming | GatewayState
    account: str | None = None
    heard_at: datetime | None = None
    cursor: str = ""


@runtime_checkable
class Streams(Protocol):
    """A vendor that is listened to over one long connection, by one process at a time.

    The iterator of `listen` ends only by raising: TryLater when the connection was lost (the caller comes back after
    its time), ConnectionBroken when an operator has to mend something. Items of one thread come in their order.
    """

    def listen(self, after: str = "") -> AsyncIterator[Sequence[StreamItem]]:
        """What happens from now on, in batches as it comes; an empty one says now and then that nothing is missing
        until this moment. What happened while nobody listened is not told, but by vendors that keep it: those tell what
        came after this cursor, as far as they have it."""
        ...


@runtime_checkable
class ReadsByAsking(Protocol):
    """A channel whose deliveries leave something out that only the vendor can tell: names, members, nested messages."""

    async def read_by_asking(self, body: str) -> Sequence[Incoming]:
        """As `read`, with what the vendor was asked for. It is asked for some seconds at most; never raises."""
        ...


@runtime_checkable
class TransfersNatively(Protocol):
    """The vendor knows who holds a session, and can be told."""

    async def native_state(self, thread: str) -> tuple[NativeState, str | None]:
        """The state and, with `human`, the servicer."""
        ...

    async def move(self, thread: str, to: NativeState, *, servicer: str | None = None) -> str | None:
        """Move the session; returns a reply code when the vendor gives one. Raises SendRefused when not allowed."""
        ...


@runtime_checkable
class RepliesToEvents(Protocol):
    """Some of the vendor's events carry a code, which is good for one message outside the reply window."""

    async def reply_to_event(self, code: str, message: Outgoing) -> str:
        """Send the one message that an event's code allows. Raises SendRefused(CODE_EXPIRED) when it is too late."""
        ...


@dataclass(slots=True)
class MediaDownload:
    """A file on its way. The vendor's name and type for it are known once the first piece has arrived."""

    pieces: AsyncIterator[bytes]
    filename: str | None = None
    content_type: str | None = None


@runtime_checkable
class FetchesMedia(Protocol):
    """What contacts send as files has to be fetched from the vendor, where it does not lie for ever."""

    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        """The file, at most `limit` bytes. Its pieces raise SendRefused(BAD_MESSAGE) when it is larger, TryLater."""
        ...


@runtime_checkable
class UploadsMedia(Protocol):
    """Files of ours have to be handed to the vendor before a message can carry them."""

    async def upload(self, data: bytes, *, kind: Kind, filename: str, content_type: str) -> Media:
        """Hand over a file; the result is for `Outgoing.media`, soon. Raises SendRefused(BAD_MESSAGE) when the vendor
        does not take such a file, TryLater or ConnectionBroken."""
        ...


@runtime_checkable
class RecallsMessages(Protocol):
    """A message of ours can be taken back for some time after it was sent."""

    async def recall(self, external_id: str, *, thread: str) -> None:
        """Take a message of ours back. Raises SendRefused when it is too late, TryLater or ConnectionBroken."""
        ...


@runtime_checkable
class KnowsContacts(Protocol):
    """The vendor can be asked what contacts are called and look like."""

    async def profiles(self, external_ids: Sequence[str]) -> Sequence[Profile]:
        """Profiles of those it knows, at most 100 at once; the others are left out.

        Raises SendRefused, TryLater or ConnectionBroken.
        """
        ...


@runtime_checkable
class ReadsGroups(Protocol):
    """The vendor can be asked which groups there are, and what each is now.

    Both raise FeatureOff where the operator has not opened this to us, SendRefused, TryLater or ConnectionBroken.
    """

    def groups(self) -> AsyncIterator[str]:
        """The threads of all groups that we may see."""
        ...

    async def group(self, thread: str) -> GroupChanged | None:
        """What a group is now, with all its members; None: there is no such group any more."""
        ...


@frozen_dataclass
class ContactFollow:
    """A friendship between a contact and a member of ours, as the vendor lists it."""

    contact: str
    member: str
    name: str
    remark: str
    tags: tuple[str, ...]
    source: str | None
    added_at: datetime | None


@runtime_checkable
class ManagesExternalContacts(Protocol):
    """The vendor knows contacts as friends of our members.

    `contact_kind` is the kind of channel whose contacts these are; the welcome of a new friend may have
    `contact_welcome_bytes` bytes and has to be sent within `contact_welcome_seconds`. Every method raises FeatureOff
    where the operator has not opened this to us, besides what it names.
    """

    contact_kind: ClassVar[str]
    contact_welcome_bytes: ClassVar[int]
    contact_welcome_seconds: ClassVar[float]

    async def welcome_contact(self, code: str, text: str, *, left: float) -> None:
        """Send the one welcome that the code allows, within `left` seconds. Raises SendRefused(CODE_EXPIRED)."""
        ...

    async def tag_contact(self, member: str, contact: str, group: str, names: Sequence[str]) -> None:
        """Mark with tags of a group; missing ones are created."""
        ...

    async def contact_name(self, contact: str) -> str:
        """What the contact calls themselves; empty when the vendor does not say."""
        ...

    async def remark_contact(self, member: str, contact: str, remark: str) -> None:
        """Set the name under which the member sees the contact."""
        ...

    def follows(self) -> AsyncIterator[ContactFollow]:
        """Every friendship there is now."""
        ...

    async def follows_of(self, contact: str) -> Sequence[ContactFollow]:
        """The friendships of one contact."""
        ...


@runtime_checkable
class OffersContactWays(Protocol):
    """The vendor makes links by which contacts become friends of our members, accepted unasked if wanted."""

    async def contact_way(
        self, members: Sequence[str], *, state: str, remark: str, skip_verify: bool
    ) -> tuple[str, str]:
        """The id and the picture's address of a new QR code. `state` comes back in ContactFollowChanged."""
        ...

    async def remove_contact_way(self, way_id: str) -> None:
        """Let the QR code lead nowhere. One that is gone already is no error."""
        ...


@runtime_checkable
class OffersContactLinks(Protocol):
    """An account of the channel has links that open the chat."""

    async def contact_link(self, *, scene: str = "", scene_param: str = "") -> str:
        """A link; `scene` and `scene_param` come back in Entered. Raises SendRefused, TryLater, ConnectionBroken."""
        ...


@runtime_checkable
class ShowsCards(Protocol):
    """The channel can show our people a card with buttons, and change it after one was tapped."""

    async def send_handoff(self, members: Sequence[str], notice: Notice, *, button: Choice | None) -> None:
        """A card that says who waits, with a button to take the conversation; its tap comes back as CardTapped.

        Without a button it leads to where the notice leads.
        """
        ...

    async def close_card(self, code: str, label: str, *, member: str | None = None) -> None:
        """Replace the tapped button by a word, for one member of ours or for all. The code serves once."""
        ...
