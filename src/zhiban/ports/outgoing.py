"""What we send, and how a vendor refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from zhiban.kit.errors import Unavailable, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports.incoming import Kind, Media, NativeState
from zhiban.ports.refusals import Refusal


@frozen_dataclass
class Choice:
    """An entry of a menu. Tapping it comes back as a message with `choice == id`."""

    id: str
    label: str


@frozen_dataclass
class Mention:
    """Somebody whom a message names with @: the vendor's id, and what they are called in that group."""

    external_id: str
    name: str


@frozen_dataclass
class LinkCard:
    """A link as chats show it: a title, some lines below it, and where a tap leads."""

    title: str
    description: str
    url: str


@frozen_dataclass
class Outgoing:
    """One message to send. `key` is ours, unique for ever, and makes sending it twice harmless.

    Where the channel has `mentions`, it puts those of the message before the text in its own way.

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
    reply_to: str | None = None  # the vendor's id of the message that it answers, where the channel `quotes`
    mentions: tuple[Mention, ...] = ()
    link: LinkCard | None = None  # with Kind.LINK, where the channel's limits have a `link`; `text` says the same


class SendRefused(ZhibanError):
    """The vendor will never send this message. `hint` is safe to show to an operator.

    `native` and `servicer` tell who holds the session in the vendor's own view, where that was found out.
    """

    def __init__(
        self,
        refusal: Refusal,
        *,
        code: int = 0,
        hint: str = "",
        native: NativeState | None = None,
        servicer: str | None = None,
    ) -> None:
        super().__init__(f"The channel refused the message: {refusal.value} ({code}). {hint}".strip())
        self.refusal = refusal
        self.code = code
        self.hint = hint
        self.native = native
        self.servicer = servicer


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


class FeatureOff(ZhibanError):
    """The vendor does not let this connection do that. Nothing is broken: an operator may switch it on, or not."""

    def __init__(self, reason: str, *, code: int = 0) -> None:
        super().__init__(f"{reason} ({code})." if code else reason)
        self.code = code


class ConnectionBroken(ZhibanError):
    """The vendor refuses our credentials or our address until an operator mends it. `hint` says how."""

    def __init__(self, reason: str, *, code: int, hint: str = "") -> None:
        super().__init__(f"{reason} ({code}). {hint}".strip())
        self.code = code
        self.hint = hint
