"""What is counted: measures, the facts they are made of, and what the counter remembers of each conversation."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from enum import IntEnum, IntFlag

from zhiban.conversations.models import ConversationState
from zhiban.kit.frozen_dataclass import frozen_dataclass

RECIPE = 3  # grows whenever facts count otherwise than before: everything is then counted anew
QUARTER = 900  # seconds; every time zone in use is a whole number of them from UTC
NULL_ID = 0  # in the place of an agent, a team or a conversation's inbox


class Measure(IntEnum):
    """What a number in a report is a sum of. Rows are stored under these values: never use one again for another."""

    BEGUN = 1  # a contact wrote for the first time
    RESUMED = 2  # a resolved conversation went on: another cycle
    RECEIVED = 3  # messages of contacts
    WRITTEN = 4  # messages of ours to contacts
    CAME_TO_PEOPLE = 5  # marked GIVEN_AWAY where the assistant handed it off
    RESOLVED = 7  # marked ASSISTED where the assistant had it in this cycle, GIVEN_AWAY where it handed it off
    QUEUED = 10  # seconds that a conversation lay open without an assignee, until somebody had it
    FIRST_REPLY = 11  # seconds that a contact waited for the first reply of a person in a cycle
    LATER_REPLY = 12  # the same for every other reply of a person
    RESOLUTION = 13  # seconds from when people first had it, in a cycle, until it was resolved
    OPEN = 14  # conversations that became open, less those that ceased to be
    SNOOZED = 15  # the same of snoozed ones
    ONLINE = 16  # seconds of an agent's
    BUSY = 17
    ASSIGNED = 18  # somebody was given a conversation, or took it
    SURVEYED = 30  # contacts were asked how it was
    RATED = 31  # contacts said how it was; marked with the stars, 1 to 5
    # What follows is never stored: sums have it from the above.
    HANDED_OFF = 101  # conversations that came to people because the assistant handed them off
    RESOLVED_ASSISTED = 102
    RESOLVED_HANDED_OFF = 103
    REPLY = 104  # the first and every other


STORED_COUNTS = (
    Measure.BEGUN,
    Measure.RESUMED,
    Measure.RECEIVED,
    Measure.WRITTEN,
    Measure.CAME_TO_PEOPLE,
    Measure.RESOLVED,
    Measure.ASSIGNED,
    Measure.SURVEYED,
    Measure.RATED,
)
STORED_TIMES = (Measure.QUEUED, Measure.FIRST_REPLY, Measure.LATER_REPLY, Measure.RESOLUTION)
TIMES = (Measure.QUEUED, Measure.FIRST_REPLY, Measure.REPLY, Measure.RESOLUTION)


class Marks(IntFlag):
    """What else is true of something that is counted; stored in the place of a time's class."""

    NONE = 0
    ASSISTED = 1
    GIVEN_AWAY = 2


class ReportClock(IntEnum):
    """By which clock a time was taken. `ALWAYS` counts in both views: nothing else can be said of it."""

    ALWAYS = 0  # a count, or a time in an inbox without business hours
    WALL = 1
    BUSINESS = 2  # only what lies within the inbox's business hours


@frozen_dataclass
class ReportFact:
    """One thing that happened, as reports count it.

    `agent_id` is who did it, or else in whose hands the conversation was; `who` is the kind of actor. `labels` are
    those that the conversation had then. `n` is -1 where a fact takes another back.
    """

    at: datetime
    measure: Measure
    inbox_id: int = NULL_ID
    team_id: int = NULL_ID
    agent_id: int = NULL_ID
    who: str = ""
    labels: tuple[int, ...] = ()
    clock: ReportClock = ReportClock.ALWAYS
    seconds: int | None = None
    marks: int = Marks.NONE
    n: int = 1


@frozen_dataclass
class TrackedConversation:
    """What the counter has to remember between two facts about a conversation.

    `state` is what its events say so far. Everything else is about the present cycle: when people first had it, since
    when it lies open without an assignee, whether the assistant had it, helped, and gave it away. `credited` is what
    its last resolution counted, for the case that it is taken back, `rated` what its last rating did, of `survey_id`.
    """

    state: ConversationState
    came_at: datetime | None = None
    queued_since: datetime | None = None
    assisted: bool = False
    helped: bool = False
    handed_off: bool = False
    credited: tuple[ReportFact, ...] = ()
    rated: ReportFact | None = None
    survey_id: int | None = None


@frozen_dataclass
class TrackedAgent:
    """What others saw of an agent, and since when."""

    agent_id: int
    status: str = "offline"
    since: datetime | None = None


@frozen_dataclass
class Counted:
    """What a fact of the log means for reports: the numbers it adds, and what is to be remembered from now on."""

    tracked: TrackedConversation
    facts: tuple[ReportFact, ...] = field(default=())
