"""What a channel can do. Each further talent is a Protocol of its own, which a channel has or has not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol, runtime_checkable

from zhiban.ports.incoming import Incoming, Media, NativeState, Page
from zhiban.ports.notifiers import Notice
from zhiban.ports.outgoing import Choice, Outgoing
from zhiban.ports.webhooks import Challenge, VerifiedWebhook, Webhook


@dataclass(frozen=True, slots=True)
class ReplyWindow:
    """How long after the contact's last message we may answer, and with how many messages."""

    hours: float
    messages: int


@runtime_checkable
class Channel(Protocol):
    """A kind of place where contacts write. One object serves one account (an inbox)."""

    kind: ClassVar[str]
    reply_window: ClassVar[ReplyWindow | None]

    def read(self, body: str) -> Sequence[Incoming]:
        """What a stored doorbell says. Pure; unknown content becomes `UnknownVendorEvent`, never an error."""
        ...

    async def send(self, message: Outgoing) -> str:
        """Send and return the vendor's id. Raises SendRefused, TryLater or ConnectionBroken."""
        ...


@runtime_checkable
class Authenticates(Protocol):
    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        """Pure and quick. Raises NotGenuine."""
        ...


@runtime_checkable
class Polls(Protocol):
    async def pull(self, *, cursor: str | None, token: str | None) -> Page:
        """The next page after `cursor`. A stale token is dropped silently. Raises TryLater or ConnectionBroken."""
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
    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        """The file, at most `limit` bytes. Its pieces raise SendRefused(BAD_MESSAGE) when it is larger, TryLater."""
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """What the vendor tells about a person."""

    external_id: str
    name: str
    avatar_url: str | None = None
    unionid: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class KnowsContacts(Protocol):
    async def profiles(self, external_ids: Sequence[str]) -> Sequence[Profile]:
        """Profiles of those it knows, at most 100 at once; the others are left out."""
        ...


@dataclass(frozen=True, slots=True)
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
    """The vendor knows contacts as friends of our members (WeCom 客户联系).

    Every method raises FeatureOff where the operator has not opened this to us, besides what it names.
    """

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

    def relations(self) -> AsyncIterator[ContactFollow]:
        """Every friendship there is now."""
        ...

    async def relations_of(self, contact: str) -> Sequence[ContactFollow]:
        """The friendships of one contact."""
        ...


@runtime_checkable
class OffersContactWays(Protocol):
    """The vendor makes links by which contacts become friends of our members, accepted unasked if wanted."""

    async def contact_way(
        self, members: Sequence[str], *, state: str, remark: str, skip_verify: bool
    ) -> tuple[str, str]:
        """The id and the picture's address of a new QR code. `state` comes back in RelationChanged."""
        ...


@runtime_checkable
class ShowsCards(Protocol):
    """The channel can show our people a card with buttons, and change it after one was tapped."""

    async def send_handoff(self, members: Sequence[str], notice: Notice, *, button: Choice) -> None:
        """A card that says who waits, with a button to take the conversation; its tap comes back as CardTapped."""
        ...

    async def close_card(self, code: str, label: str) -> None:
        """Replace the tapped button by a word. The code serves once."""
        ...
