"""What can happen to what agents keep at the desk for themselves or for all: snippets. Part of `events`."""

from __future__ import annotations

from zhiban.event_base import Event


class SnippetAdded(Event):
    """`owner_id`: the agent who alone uses it; None: everybody does."""

    snippet_id: int
    name: str
    owner_id: int | None = None


class SnippetChanged(Event):
    """Name or text; values before and after by name."""

    snippet_id: int
    before: dict[str, object]
    after: dict[str, object]


class SnippetRemoved(Event):
    """It is offered no more; what was written with it stays."""

    snippet_id: int
    name: str
    owner_id: int | None = None
