"""What can be done to a conversation. `transitions.decide` says what each change means in each status."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from zhiban.events import Actor
from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class Arrived:
    """A message that was stored just now."""

    id: int
    sent_at: datetime
    author: Actor
    from_contact: bool = True
    files: int = 0
    aside: bool = False  # says nothing that anybody has to answer: a tap on a survey


@frozen_dataclass
class MessagesArrived:
    """Somebody wrote: the contact, members of a group, or one of our people in the vendor's own client.

    `assistant` tells whether it answers in this inbox. Messages older than `answers_after` are for people. With
    `history` (the first reading of an account) old messages are kept and call nobody. `flow_run_id`: the run of a flow
    that was talking when they came; one that has begun since then, because of them, has asked nothing yet.
    """

    messages: tuple[Arrived, ...]
    assistant: bool = True
    answers_after: timedelta = timedelta(minutes=10)
    blocked: bool = False
    history: bool = False
    flow_run_id: int | None = None


@frozen_dataclass
class EnterChat:
    """The contact opened the chat and has written nothing yet."""

    scene: str | None = None
    scene_param: str | None = None
    vendor_event_id: str | None = None


@frozen_dataclass
class HandOffToPeople:
    """The assistant gives the conversation to people; `question` (in `message_id`) is what the contact wants."""

    reason: str
    question: str = ""
    message_id: int | None = None


@frozen_dataclass
class Open:
    """People have it from now on; `take_by` becomes the assignee."""

    reason: str
    take_by: int | None = None


@frozen_dataclass
class Assign:
    """To an agent, or to nobody."""

    to: int | None
    reason: str = ""


@frozen_dataclass
class AssignTeam:
    to: int | None


@frozen_dataclass
class ChangeLabels:
    add: frozenset[int] = frozenset()
    remove: frozenset[int] = frozenset()


@frozen_dataclass
class SetAttributes:
    """Values by the names of fields, as text; an empty one takes away what stood there."""

    values: tuple[tuple[str, str], ...]


@frozen_dataclass
class SetPriority:
    """With `at_least`, a higher priority stays."""

    priority: int
    at_least: bool = False
    reason: str = ""


@frozen_dataclass
class Snooze:
    until: datetime


@frozen_dataclass
class Resolve:
    """Done. It is given `labels`; `unsaid` is why what was to be said before was not, as in `ConversationResolved`."""

    reason: str = ""
    labels: frozenset[int] = frozenset()
    unsaid: str = ""


@frozen_dataclass
class UndoResolve:
    """Everything as it was before the resolution, which `before` remembers."""

    before: BeforeResolution


@frozen_dataclass
class BeforeResolution:
    status: str
    assignee_id: int | None
    waiting_since: datetime | None
    handoff_reason: str | None
    snoozed_until: datetime | None
    failures: int
    resolved_at: datetime | None


@frozen_dataclass
class UndoSnooze:
    """As it was before it was snoozed, which `before` remembers; what was the assistant's is the assistant's again."""

    before: BeforeSnooze


@frozen_dataclass
class BeforeSnooze:
    status: str
    assignee_id: int | None
    snoozed_until: datetime | None


@frozen_dataclass
class ReturnToAssistant:
    """A person gives it back."""


@frozen_dataclass
class Mute:
    """Resolve it, and let what the contact writes call nobody."""


@frozen_dataclass
class Unmute:
    pass


@frozen_dataclass
class ChangeContact:
    """It is with somebody whom we knew under another name."""

    to: int


@frozen_dataclass
class QueueReply:
    """Messages of ours were stored to be sent. `counts`, `from_person`, `helped` as in `events.ReplyQueued`."""

    message_ids: tuple[int, ...]
    counts: bool = True
    from_person: bool = False
    helped: bool | None = None


@frozen_dataclass
class RequeueReply:
    """A message that failed, or may have, is to be sent again."""

    message_id: int
    counts: bool = True


@frozen_dataclass
class NoteMacro:
    """An agent lets a macro act; what it changes follows. `key` tells this time from others."""

    macro_id: int
    name: str
    key: str = ""


@frozen_dataclass
class BeginFlow:
    """From now on a flow answers what the contact writes; `run_id` is this time."""

    flow_id: int
    run_id: int
    name: str


@frozen_dataclass
class EndFlow:
    """The flow that answers here does so no more. `outcome` is a stable word."""

    outcome: str
    name: str


@frozen_dataclass
class NoteFollowers:
    """Agents began or ceased to follow it."""

    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    reason: str = ""


@frozen_dataclass
class NoteContactLabels:
    """Labels were put on the contact, or taken off."""

    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()


@frozen_dataclass
class NoteSurvey:
    """The contact is asked about the cycle that was resolved, by this agent if any."""

    survey_id: int
    agent_id: int | None
    way: Literal["menu", "link"]


@frozen_dataclass
class NoteRating:
    """The contact rated a cycle, perhaps an earlier one: `cycle`, `agent_id` and `team_id` are of its resolution."""

    survey_id: int
    cycle: int
    agent_id: int | None
    team_id: int | None
    rating: int
    previous: int | None
    comment: str | None
    way: Literal["menu", "page"]


@frozen_dataclass
class RenameGroup:
    name: str


@frozen_dataclass
class NoteMembers:
    """Contacts came into a group, or left it; `by` invited or removed them. `ourselves`: our own account did, too."""

    members: tuple[int, ...]
    joined: bool
    by: int | None = None
    ourselves: bool = False
    vendor_event_id: str | None = None


@frozen_dataclass
class ChangeNativeSession:
    """The session changed hands in the vendor's own view."""

    state: str | None
    servicer: str | None = None
    previous_servicer: str | None = None
    vendor_event_id: str | None = None


Change = (
    MessagesArrived
    | EnterChat
    | HandOffToPeople
    | Open
    | Assign
    | AssignTeam
    | ChangeLabels
    | SetAttributes
    | SetPriority
    | ChangeContact
    | Snooze
    | Resolve
    | UndoResolve
    | UndoSnooze
    | ReturnToAssistant
    | Mute
    | Unmute
    | QueueReply
    | RequeueReply
    | BeginFlow
    | EndFlow
    | NoteMacro
    | NoteFollowers
    | NoteContactLabels
    | NoteSurvey
    | NoteRating
    | RenameGroup
    | NoteMembers
    | ChangeNativeSession
)
