"""What was taken out of an organisation's data, and what was deleted because its time was over. Part of `events`."""

from __future__ import annotations

from datetime import datetime

from zhiban.event_base import Event


class FileDownloaded(Event):
    """An agent opened or saved a contact's file."""

    attachment_id: int
    conversation_id: int | None = None


class DataExported(Event):
    """Somebody took data out: `what` names it, `rows` counts it."""

    what: str
    rows: int = 0


class RetentionChanged(Event):
    """How long what is kept, in days, None for ever; values before and after by name."""

    before: dict[str, object]
    after: dict[str, object]


class DataForgotten(Event):
    """Rows were deleted because their time was over, in one run: how many of each kind.

    `messages` went with their files, `conversations` is how many conversations they belonged to. `events` counts the
    facts of this log.
    """

    messages: int | None = None
    conversations: int | None = None
    turns: int | None = None
    rule_runs: int | None = None
    tickets: int | None = None
    deliveries: int | None = None
    events: int | None = None


class ClockDoubted(Event):
    """Nothing is deleted for a day: the clock is days beyond `newest`, the last moment that is known."""

    newest: datetime
