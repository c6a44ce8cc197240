"""Facts about groups. Members are named by their contacts; of a group itself `contact_id` is None."""

from __future__ import annotations

from zhiban.event_base import ConversationEvent


class GroupRenamed(ConversationEvent):
    """A group is called otherwise."""

    name: str
    previous: str = ""


class GroupMembersJoined(ConversationEvent):
    """Contacts came into a group; `by` invited them. `ourselves`: our own account came, too."""

    members: tuple[int, ...] = ()
    by: int | None = None
    ourselves: bool = False
    vendor_event_id: str | None = None


class GroupMembersLeft(ConversationEvent):
    """Contacts left a group, or `by` removed them. `ourselves`: our own account is out, too."""

    members: tuple[int, ...] = ()
    by: int | None = None
    ourselves: bool = False
    vendor_event_id: str | None = None


class GroupConfigured(ConversationEvent):
    """How we behave in a group was changed: the names of the settings, with their values before and after."""

    before: dict[str, object]
    after: dict[str, object]


class GroupConsentChanged(ConversationEvent):
    """A member said what may be kept of what they write: `all`, `unquoted` or `unstored`."""

    member_id: int
    consent: str
    previous: str


class GroupAnswersSilenced(ConversationEvent):
    """A member said that an answer was wrong: these articles are not said there any more until they are changed."""

    article_ids: tuple[int, ...]
