"""What can happen to connections and inboxes. Part of `events`."""

from __future__ import annotations

from typing import Literal

from zhiban.event_base import Event


class ConnectionAdded(Event):
    """Credentials for a vendor came in; `part` says what the vendor is to us."""

    connection_id: int
    vendor: str
    part: Literal["channel", "tracker"] = "channel"


class ConnectionChanged(Event):
    """Credentials or addresses changed; the names of what changed, never the values."""

    connection_id: int
    changed: tuple[str, ...] = ()


class ConnectionRemoved(Event):
    """The credentials were forgotten."""

    connection_id: int


class ConnectionPaused(Event):
    """What arrives is still taken in; we write nothing there, and tell no group of it."""

    connection_id: int


class ConnectionResumed(Event):
    """What waited goes out."""

    connection_id: int


class ConnectionBroke(Event):
    """The vendor refuses us until an operator mends it; `why` is a sentence for them."""

    connection_id: int
    why: str
    inbox_id: int | None = None


class ConnectionMended(Event):
    """It works again."""

    connection_id: int
    inbox_id: int | None = None


class ContactReadingStopped(Event):
    """The vendor does not tell us with whom our members are friends; `why` is a sentence. Everything else works."""

    connection_id: int
    why: str


class ContactReadingResumed(Event):
    """The vendor tells us with whom our members are friends."""

    connection_id: int


class AccountsAssigned(Event):
    """The vendor gave us accounts or took them away."""

    connection_id: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class InboxAdded(Event):
    """An account became an inbox, or came back. `named`: the vendor has told us what it is called."""

    inbox_id: int
    connection_id: int
    channel: str
    named: bool = True


class InboxConfigured(Event):
    """How an inbox behaves was changed: the names of the settings, with their values before and after."""

    inbox_id: int
    before: dict[str, object]
    after: dict[str, object]


class InboxBroke(Event):
    """This inbox alone does not do what its settings say; `why` is a sentence for an operator."""

    inbox_id: int
    why: str


class InboxMended(Event):
    """It does again what its settings say. Its connection worked all the time."""

    inbox_id: int


class InboxPaused(Event):
    """The inbox receives and keeps what is written, and answers nothing."""

    inbox_id: int


class InboxResumed(Event):
    """The inbox answers again."""

    inbox_id: int


class InboxRemoved(Event):
    """The inbox receives nothing any more; its conversations stay."""

    inbox_id: int
