"""What the desk's list is made of: queues, tabs, orders, rows and counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlencode

from zhiban.conversations.labels import Label
from zhiban.conversations.seen import stamp_of
from zhiban.kit.frozen_dataclass import frozen_dataclass

ROWS = 25
MOST_ROWS = 500  # of one list; whoever looks for more narrows it
COUNTED = 1000  # counts stop here: nobody reads more, and counting on would cost more than the list


class Queue(StrEnum):
    MINE = "mine"
    UNASSIGNED = "unassigned"
    ASSISTANT = "assistant"
    ALL = "all"
    GROUPS = "groups"  # all chats with many members, whatever their status
    TEAMS = "teams"  # what is open and belongs to the agent's teams, what is nobody's first
    MENTIONED = "mentioned"  # where notes that mention the agent wait to be read, whatever their status


WITHOUT_TABS = (Queue.GROUPS, Queue.TEAMS, Queue.MENTIONED)


class StatusTab(StrEnum):
    """The tabs above the list."""

    OPEN = "open"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class Sort(StrEnum):
    """In which order a list shows what people have. Who waits for us comes before who does not in each."""

    WAITING = "waiting"  # longest wait on top
    PRIORITY = "priority"  # the most urgent, of the same priority the longest wait
    NEWEST = "newest"  # where something happened last


@frozen_dataclass
class Counts:
    """How many conversations need somebody, by queue."""

    mine: int = 0
    unassigned: int = 0
    assistant: int = 0
    all: int = 0
    groups: int = 0  # how many there are
    teams: int = 0
    mentioned: int = 0
    waiting: int = 0  # mine that wait for our reply
    snoozed: int = 0  # of the queue that is looked at

    def of(self, queue: str) -> int:
        return int(getattr(self, queue))


@frozen_dataclass
class OwnIds:
    """What the lists need to know of their agent: ids of their teams, and of conversations where they are mentioned."""

    teams: tuple[int, ...] = ()
    mentioned: tuple[int, ...] = ()

    @property
    def params(self) -> dict[str, list[int]]:
        return {"teams": list(self.teams), "mentioned": list(self.mentioned)}


NOTHING_OF_ONES_OWN = OwnIds()


@frozen_dataclass
class RailEntry:
    """An inbox, or a team of the agent, with how many conversations are open there."""

    id: int
    name: str
    count: int


@frozen_dataclass
class ConversationRow:
    """One row of the list."""

    id: int
    kind: str
    name: str
    tag: str  # what tells nameless contacts apart
    external_id: str  # the vendor's id of the contact or the group
    channel: str
    inbox_name: str
    status: str
    priority: int
    assignee_id: int | None
    assignee_name: str | None
    waiting_since: datetime | None
    last_activity_at: datetime
    snoozed_until: datetime | None
    unread: int
    last_kind: str | None
    last_text: str | None
    last_author: str | None
    draft: str | None
    labels: list[int]

    def __hash__(self) -> int:
        """Of what tells rows apart best; those are equal that are in everything."""
        return hash((self.id, self.last_activity_at, self.unread))

    @property
    def stamp(self) -> int:
        """What the list showed of it, for `seen.SeenActivity`."""
        return stamp_of(self.last_activity_at)


@frozen_dataclass
class ListFilter:
    """A saved view: a condition over `conversation c` and its `contact p`, in SQL, with what it refers to besides
    `agent` and `now`."""

    id: int
    name: str
    condition: str
    params: Mapping[str, object]


NO_VIEW = ListFilter(0, "", "false", {})  # one that is gone, or somebody else's: it has nothing in it


@frozen_dataclass
class ViewCount:
    """A saved view, with how many are open in it; `more`: of those that were looked through, and there are others."""

    id: int
    name: str
    count: int
    more: bool = False


@frozen_dataclass
class ListView:
    """A list that is looked at; what stands beside an open conversation needs no more of it than its first fields."""

    queue: Queue
    tab: StatusTab
    waiting: tuple[ConversationRow, ...] = ()
    rest: tuple[ConversationRow, ...] = ()
    counts: Counts = Counts()
    tabs: Mapping[str, int] = field(default_factory=dict)
    limit: int = ROWS
    more: int | None = None  # the limit that would show more, or look through more
    full: bool = False  # whether there are more than a list shows at most
    looked: int | None = None  # of the conversations in this tab, so many were looked through, and there are others
    label: int | None = None  # only conversations with this label
    labels: tuple[Label, ...] = ()  # all there are
    current: int | None = None
    view: int | None = None  # the saved view that is looked at
    sort: Sort = Sort.WAITING
    views: tuple[ViewCount, ...] = ()  # all there are
    in_team: bool = False  # whether the agent has a team
    notes: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # who mentions the agent, and in which words
    inbox: int | None = None  # only conversations of this inbox
    team: int | None = None  # of the agent's teams, only this one's
    filter: str = ""  # the conditions of a view that nobody saved, as the address has them
    inboxes: tuple[RailEntry, ...] = ()
    teams: tuple[RailEntry, ...] = ()

    @property
    def place(self) -> str:
        """What the inbox or the team is called that is looked at; empty for none."""
        looked_at = ((self.inboxes, self.inbox), (self.teams, self.team))
        return next((one.name for entries, id_ in looked_at for one in entries if one.id == id_), "")

    @property
    def plain(self) -> bool:
        """Whether it is a queue as it is, with nothing left out."""
        return self.label is None and self.view is None and self.inbox is None and self.team is None

    @property
    def kept_fields(self) -> dict[str, str]:
        """What else than queue and tab says which list it is, by the names of an address."""
        said = {"label": self.label, "view": self.view or None, "inbox": self.inbox, "team": self.team}
        told = {name: str(value) for name, value in said.items() if value is not None}
        return told | ({"filter": self.filter} if self.filter else {})

    @property
    def has_tabs(self) -> bool:
        return self.queue not in (Queue.ASSISTANT, *WITHOUT_TABS)

    @property
    def title(self) -> str:
        """What the view is called that is looked at; empty for none."""
        return next((one.name for one in self.views if one.id == self.view), "")

    @property
    def empty(self) -> bool:
        return not self.waiting and not self.rest

    @property
    def only(self) -> Label | None:
        """The label that every conversation of this list bears."""
        return next((one for one in self.labels if one.id == self.label), None)

    def borne(self, ids: Collection[int]) -> tuple[Label, ...]:
        """Those of `ids` that were not removed."""
        return tuple(one for one in self.labels if one.id in ids)

    def address(self, tab: str = "", *, sort: str = "") -> str:
        """This list, or one of its tabs, or itself in another order, as the query of an address."""
        where = urlencode({"queue": self.queue.value, "status": tab or self.tab.value, **self.kept_fields})
        return where + (sorted_by(Sort(sort)) if sort else self.kept)

    @property
    def kept(self) -> str:
        """What goes with an agent from list to list, as the end of a query."""
        return sorted_by(self.sort)


def sorted_by(sort: Sort) -> str:
    """An order as the end of a query; the usual one is not named."""
    return "" if sort is Sort.WAITING else f"&sort={sort.value}"
