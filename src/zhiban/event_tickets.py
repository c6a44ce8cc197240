"""What can happen to tickets. Part of `events`."""

from __future__ import annotations

from typing import Literal

from zhiban.event_base import Event


class TicketDrafted(Event):
    """Somebody asked for a ticket in a chat; what they meant is frozen and waits for their word."""

    draft_id: int
    conversation_id: int
    message_id: int
    messages: int


class TicketDraftEnded(Event):
    """What became of a draft: it was filed, joined to another ticket, cancelled, or nobody said a word in time."""

    draft_id: int
    conversation_id: int
    outcome: Literal["filed", "joined", "cancelled", "replaced", "expired"]
    ticket_id: int | None = None


class TicketOpened(Event):
    """There is a new ticket. `conversation_id` is where it comes from."""

    ticket_id: int
    number: int
    messages: int = 0
    conversation_id: int | None = None
    inbox_id: int | None = None
    contact_id: int | None = None


class TicketChanged(Event):
    """One thing about a ticket is not as it was: its value before and after."""

    ticket_id: int
    change: Literal["title", "state", "priority", "owner", "due", "labels", "repository", "issue", "tracker"]
    before: object = None
    after: object = None


class TicketMessagesAdded(Event):
    """Further messages of a conversation were frozen for a ticket."""

    ticket_id: int
    conversation_id: int
    messages: int


class TicketCommented(Event):
    """Somebody said something about a ticket; `audience` says who else reads it."""

    ticket_id: int
    comment_id: int
    audience: str


class TicketLinked(Event):
    """A conversation has to do with a ticket."""

    ticket_id: int
    conversation_id: int


class TicketUnlinked(Event):
    """A conversation has nothing to do with it any more."""

    ticket_id: int
    conversation_id: int


class TicketWatchersChanged(Event):
    """Who of ours is told what happens to it."""

    ticket_id: int
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()


class TicketRemindersChanged(Event):
    """When and where our people are reminded of tickets: what is different, before and after, by name."""

    before: dict[str, object]
    after: dict[str, object]


class FilePublished(Event):
    """Everybody who has its address may read a file of a message: at a ticket's issue, or in the comment of a call."""

    file_id: int
    message_id: int
    attachment_id: int
    ticket_id: int | None = None
    call_id: int | None = None


class FileWithdrawn(Event):
    """Nobody may read a file any more that was published, or was about to be."""

    file_id: int
    message_id: int
    ticket_id: int | None = None
    call_id: int | None = None


class TicketUndone(Event):
    """A ticket that was filed by mistake is taken back: cancelled, and what was said is blanked."""

    ticket_id: int
