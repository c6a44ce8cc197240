"""Facts about what our people keep of contacts. Values are left out: the log stays when a contact's data has to go."""

from __future__ import annotations

from zhiban.event_base import ConversationEvent, Event


class ContactEdited(Event):
    """An agent changed what we know of a contact; `fields` are the names of what changed."""

    contact_id: int
    fields: tuple[str, ...]


class ContactLabelsChanged(ConversationEvent):
    """Labels of the contact came or went, by id; `conversation_id` is where that was done, or the last with them."""

    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()


class MemberLabelsChanged(Event):
    """The same of somebody with whom there is no conversation, such as a member of a group."""

    contact_id: int
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()


class MemberBlocked(Event):
    """Somebody with whom there is no conversation was blocked; of others `ConversationMuted` tells."""

    contact_id: int


class MemberUnblocked(Event):
    """The same, not any more."""

    contact_id: int


class ContactsMerged(Event):
    """Two contacts were one person: `merged_id` stands for `contact_id` from now on, who has the labels of both."""

    contact_id: int
    merged_id: int


class ContactFieldAdded(Event):
    """Agents can fill in one thing more of every contact."""

    field_id: int
    name: str
    field_kind: str


class ContactFieldRemoved(Event):
    """The field is shown and filled in no more; what stands in it stays with the contacts."""

    field_id: int
