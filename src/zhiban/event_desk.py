"""What can happen to what agents keep at the desk: labels, snippets, macros, views, followers. Part of `events`."""

from __future__ import annotations

from zhiban.event_base import ConversationEvent, Event


class ConversationFollowersChanged(ConversationEvent):
    """Agents began or ceased to follow a conversation. `reason` "mentioned": a note named them."""

    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    reason: str = ""


class MessageTranslated(Event):
    """An agent had a contact's message put into their language; it is kept with the message and never sent."""

    conversation_id: int
    message_id: int
    language: str


class ConversationFieldAdded(Event):
    """There is one thing more to fill in of conversations."""

    field_id: int
    name: str
    field_kind: str


class ConversationFieldRemoved(Event):
    """It is offered no more; what was filled in stays with the conversations."""

    field_id: int


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


class MacroAdded(Event):
    """`owner_id`: the agent who alone uses it; None: everybody does."""

    macro_id: int
    name: str
    owner_id: int | None = None


class MacroChanged(Event):
    """Name or actions; values before and after by name."""

    macro_id: int
    revision: int
    before: dict[str, object]
    after: dict[str, object]


class MacroRemoved(Event):
    """It is offered no more; what it did stays."""

    macro_id: int
    name: str
    owner_id: int | None = None


class SavedViewAdded(Event):
    """`owner_id`: the agent who alone uses it; None: everybody does."""

    view_id: int
    name: str
    owner_id: int | None = None


class SavedViewChanged(Event):
    """Name or conditions; values before and after by name."""

    view_id: int
    before: dict[str, object]
    after: dict[str, object]


class SavedViewRemoved(Event):
    """It is offered no more."""

    view_id: int
    name: str
    owner_id: int | None = None


class LabelAdded(Event):
    """Conversations and contacts can bear one label more."""

    label_id: int
    name: str


class LabelChanged(Event):
    """Name or colour; values before and after by name."""

    label_id: int
    before: dict[str, object]
    after: dict[str, object]


class LabelRemoved(Event):
    """It is offered and shown no more."""

    label_id: int
    name: str
