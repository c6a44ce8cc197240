"""Facts about what our people keep of contacts. Values are left out: the log stays when a contact's data has to go."""

from __future__ import annotations

from zhiban.event_base import Event


class ContactEdited(Event):
    """An agent changed what we know of a contact; `fields` are the names of what changed."""

    contact_id: int
    fields: tuple[str, ...]


class ContactsMerged(Event):
    """Two contacts were one person: `merged_id` stands for `contact_id` from now on."""

    contact_id: int
    merged_id: int


class ContactFieldAdded(Event):
    """Agents can fill in one thing more of every contact."""

    field_id: int
    name: str
    field_kind: str


class ContactFieldRemoved(Event):
    field_id: int
