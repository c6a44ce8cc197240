"""Everything the outside world must offer, and the words in which it speaks to us.

Integrations turn a vendor's traffic into these dataclasses at the border; nothing further in sees a vendor's dict.
`bootstrap.py` says who plays which part.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from zhiban.kit.errors import Unavailable, ZhibanError

# --------------------------------------------------------------------------------------------------- the door


@dataclass(frozen=True, slots=True)
class Webhook:
    """One HTTP call at a callback door, as it arrived. `query` holds every value of a repeated parameter."""

    method: Literal["GET", "POST"]
    query: Mapping[str, Sequence[str]]
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Challenge:
    """A verification call; `body` must be answered as text/plain, byte for byte."""

    body: str


@dataclass(frozen=True, slots=True)
class Doorbell:
    """A genuine webhook. `digest` names its plaintext (sha256), so that a repeat is recognised.

    `account` is the vendor's id of the place that rang (WeCom: open_kfid); None means the connection's own app.
    `token` is what the vendor wants back when we fetch. `pulls` tells that the content must be fetched (Polls).
    `body` is the plaintext as stored in the delivery row; `Channel.read` understands it.
    """

    digest: bytes
    body: str
    account: str | None = None
    token: str | None = None
    pulls: bool = False
    readable: bool = True  # False: genuine, but not understood; stored and counted, never retried


class NotGenuine(ZhibanError):
    """The webhook is not from the vendor, or is damaged. Outside it looks the same in every case.

    `status` is the HTTP status that the door answers: 400 for what is not even a webhook, otherwise 403.
    """

    def __init__(self, reason: str, *, status: Literal[400, 403] = 403) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


# ------------------------------------------------------------------------------------------- what comes in


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


class Role(StrEnum):
    """Who said it, seen from the organisation."""

    CONTACT = "contact"
    AGENT = "agent"  # a person of ours, writing in the vendor's own client
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Media:
    """A file at the vendor, to be fetched with `FetchesMedia.fetch` soon (WeCom keeps it for three days)."""

    reference: str
    kind: Kind
    filename: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A message somebody wrote. `thread` names the conversation at the vendor, `sender` the person who wrote."""

    external_id: str
    thread: str
    sender: str
    role: Role
    kind: Kind
    text: str
    sent_at: datetime
    choice: str | None = None  # id of the menu entry that was tapped
    media: tuple[Media, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)  # the raw, for kinds with more than text
    account: str | None = None  # the vendor's id of the account (WeCom: open_kfid or agent id)


@dataclass(frozen=True, slots=True)
class Recalled:
    """A message was taken back. `external_id` is that message's id."""

    external_id: str
    thread: str
    role: Role
    happened_at: datetime
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


@dataclass(frozen=True, slots=True)
class SendFailed:
    """The vendor accepted our message and could not deliver it. `external_id` is the id we sent it with."""

    external_id: str
    thread: str
    reason: str  # a stable English word: "window_closed", "allowance_used", "refused_by_contact" …
    code: int
    happened_at: datetime
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


@dataclass(frozen=True, slots=True)
class Entered:
    """A contact opened the chat. With `welcome_code` one welcome may be sent until `sent_at + 20 s`."""

    thread: str
    happened_at: datetime
    welcome_code: str | None = None
    scene: str | None = None
    scene_param: str | None = None
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


class NativeState(StrEnum):
    """Who holds the conversation in the vendor's own view."""

    NEW = "new"  # WeCom 0
    ASSISTANT = "assistant"  # WeCom 1
    POOL = "pool"  # WeCom 2
    HUMAN = "human"  # WeCom 3
    ENDED = "ended"  # WeCom 4


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """People moved the session in the vendor's client. `reply_code` allows one message about it."""

    thread: str
    state: NativeState
    happened_at: datetime
    servicer: str | None = None
    previous_servicer: str | None = None
    reply_code: str | None = None
    event_id: str | None = None  # the vendor's id of this event, for recognising a repeat


class RelationChange(StrEnum):
    ADDED = "added"
    HALF_ADDED = "half_added"  # the contact added us, we did not confirm yet
    EDITED = "edited"
    REMOVED_BY_US = "removed_by_us"
    REMOVED_BY_CONTACT = "removed_by_contact"
    TRANSFER_FAILED = "transfer_failed"


@dataclass(frozen=True, slots=True)
class RelationChanged:
    """A contact and one of our members became friends, or ceased to be (WeCom 客户联系)."""

    change: RelationChange
    contact: str
    member: str
    happened_at: datetime
    welcome_code: str | None = None
    state: str | None = None  # which link or poster they came by
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CardTapped:
    """One of our people tapped a button on a card we sent. `reply_code` updates that card once."""

    member: str
    key: str
    task: str
    happened_at: datetime
    reply_code: str | None = None


@dataclass(frozen=True, slots=True)
class AccountsChanged:
    """Accounts were given to us or taken away."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Noted:
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
    | RelationChanged
    | CardTapped
    | AccountsChanged
    | Noted
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a pull. `cursor` is durable at the vendor; None means it gave none and we keep ours."""

    items: tuple[Incoming, ...]
    cursor: str | None
    more: bool


# ------------------------------------------------------------------------------------------ what goes out


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry of a menu. Tapping it comes back as a message with `choice == id`."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send. `key` is ours, unique for ever, and makes sending it twice harmless.

    Menus: `text` is the line above, `choices` the entries, `footer` the line below.
    """

    key: str
    thread: str
    kind: Kind
    text: str
    choices: tuple[Choice, ...] = ()
    footer: str = ""
    media: Media | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


class Refusal(StrEnum):
    """Why a vendor will not send."""

    WINDOW_CLOSED = "window_closed"
    ALLOWANCE_USED = "allowance_used"
    HUMAN_ACTIVE = "human_active"  # the session is with a person or in the pool
    BLOCKED = "blocked"  # anti-spam or the contact refuses
    UNKNOWN_CONTACT = "unknown_contact"
    MISCONFIGURED = "misconfigured"
    BAD_MESSAGE = "bad_message"
    CODE_EXPIRED = "code_expired"


class SendRefused(ZhibanError):
    """The vendor will never send this message. `hint` is safe to show to an operator."""

    def __init__(self, refusal: Refusal, *, code: int = 0, hint: str = "") -> None:
        super().__init__(f"The channel refused the message: {refusal.value} ({code}). {hint}".strip())
        self.refusal = refusal
        self.code = code
        self.hint = hint


class TryLater(Unavailable):
    """The vendor cannot do it now. `after` is how many seconds to wait at least.

    `unknown` is true when the request may have been carried out (a timeout or a broken connection after it was
    sent); repeating it with the same key is then the only safe thing to do.
    """

    def __init__(self, reason: str, *, after: float = 1.0, unknown: bool = False, code: int = 0) -> None:
        super().__init__(reason)
        self.after = after
        self.unknown = unknown
        self.code = code


class ConnectionBroken(ZhibanError):
    """The vendor refuses our credentials or our address until an operator mends it. `hint` says how."""

    def __init__(self, reason: str, *, code: int, hint: str = "") -> None:
        super().__init__(f"{reason} ({code}). {hint}".strip())
        self.code = code
        self.hint = hint


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
        """What a stored doorbell says. Pure; unknown content becomes `Noted`, never an error."""
        ...

    async def send(self, message: Outgoing) -> str:
        """Send and return the vendor's id. Raises SendRefused, TryLater or ConnectionBroken."""
        ...


@runtime_checkable
class Authenticates(Protocol):
    def authenticate(self, webhook: Webhook) -> Doorbell | Challenge:
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


@runtime_checkable
class FetchesMedia(Protocol):
    def fetch(self, media: Media, *, limit: int) -> AsyncIterator[bytes]:
        """The file in pieces, at most `limit` bytes. Raises SendRefused(BAD_MESSAGE) when larger, TryLater."""
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
class RelationSeen:
    """A friendship between a contact and a member of ours, as the vendor lists it."""

    contact: str
    member: str
    name: str
    remark: str
    tags: tuple[str, ...]
    source: str | None
    added_at: datetime | None


@runtime_checkable
class TendsContacts(Protocol):
    """The vendor knows contacts as friends of our members (WeCom 客户联系)."""

    async def welcome_contact(self, code: str, text: str, *, left: float) -> None:
        """Send the one welcome that the code allows, within `left` seconds. Raises SendRefused(CODE_EXPIRED)."""
        ...

    async def tag_contact(self, member: str, contact: str, group: str, names: Sequence[str]) -> None:
        """Mark with tags of a group; missing ones are created."""
        ...

    async def remark_contact(self, member: str, contact: str, remark: str) -> None:
        """Set the name under which the member sees the contact."""
        ...

    def relations(self) -> AsyncIterator[RelationSeen]:
        """Every friendship there is now."""
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


# --------------------------------------------------------------------------------------- people of our own


@dataclass(frozen=True, slots=True)
class Notice:
    """A word to our own people. `text` is plain, `url` opens the thing in the desk. `key` makes repeats harmless."""

    key: str
    title: str
    text: str
    url: str | None = None


class Notifier(Protocol):
    async def notify(self, address: str, notice: Notice) -> None:
        """Deliver one notice. Raises TryLater (may be repeated) or ConnectionBroken (wrong address or key)."""
        ...


# ---------------------------------------------------------------------------------------------- the models


@dataclass(frozen=True, slots=True)
class ChatTurn:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote, and what it cost. Tokens are 0 when the server does not count."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    seconds: float


class ModelUnavailable(Unavailable):
    """The model is down, slow, out of quota, or answered something that is no answer."""


class ChatModel(Protocol):
    name: str

    async def complete(
        self, turns: Sequence[ChatTurn], *, schema: Mapping[str, Any] | None = None, max_tokens: int = 800
    ) -> Completion:
        """One completion; with `schema` (JSON Schema) the text is JSON asked for in that shape, unchecked.

        Raises ModelUnavailable after its own timeouts and retries.
        """
        ...

    def stream(self, turns: Sequence[ChatTurn], *, max_tokens: int = 800) -> AsyncIterator[str]:
        """The text in pieces as it is written. Raises ModelUnavailable."""
        ...


class Embedder(Protocol):
    name: str
    dimensions: int

    async def embed(
        self, texts: Sequence[str], *, purpose: Literal["query", "passage"] = "passage"
    ) -> list[list[float]]:
        """One vector a text, in order, of `dimensions` floats each. Raises ModelUnavailable."""
        ...


# ---------------------------------------------------------------------------------------------- the vendors


@dataclass(frozen=True, slots=True)
class Account:
    """A place at a vendor that can become an inbox."""

    kind: str
    external_id: str
    name: str


class Vendor(Protocol):
    """One set of credentials at one vendor, and the accounts behind it."""

    def namespace(self, kind: str) -> tuple[str, str]:
        """Whose ids the people in a channel of this kind have, for example ("wecom", corp id)."""
        ...

    def authenticate(self, webhook: Webhook) -> Doorbell | Challenge:
        """Pure and quick. Raises NotGenuine."""
        ...

    def account(self, doorbell_account: str | None) -> Account:
        """Which place a doorbell means; its name may be the id when the vendor did not say."""
        ...

    def channel(self, kind: str, external_id: str) -> Channel:
        """The channel of one account."""
        ...

    async def accounts(self) -> Sequence[Account]:
        """The accounts we may manage. Raises TryLater or ConnectionBroken."""
        ...
