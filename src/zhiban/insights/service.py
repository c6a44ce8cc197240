"""Keeps the sums of reports up with the event log, in small transactions beside everything else.

Nothing on the way of a message knows of it: a worker reads the log behind the fact. Each event is counted exactly once,
because what it counts for and how far the counter has come are committed together. The log is read in the order of its
ids, and an id may be given out long before its row is committed: events are counted once every transaction that may
still hold a smaller id has ended.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pydantic import ValidationError

from zhiban.channels.business_hours import Hours, has_hours
from zhiban.conversations.queries import events_between
from zhiban.events import (
    AgentBecameAvailable,
    AgentBecameBusy,
    AgentWentOffline,
    ConversationAssigned,
    ConversationCreated,
    ConversationEvent,
    ConversationHandedOff,
    ConversationLabelsChanged,
    ConversationOpened,
    ConversationReopened,
    ConversationResolutionUndone,
    ConversationResolved,
    ConversationReturned,
    ConversationSnoozed,
    ConversationSnoozeUndone,
    ConversationStarted,
    ConversationTeamAssigned,
    Event,
    InboxConfigured,
    MessageReceived,
    ReplyQueued,
    SurveyAsked,
    SurveyRated,
    TeamChanged,
)
from zhiban.insights.counting import count, count_presence
from zhiban.insights.histogram import time_class
from zhiban.insights.models import QUARTER, RECIPE, STORED_TIMES, ReportFact, TrackedAgent, TrackedConversation
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe

log = logging.getLogger(__name__)

BATCH = 200  # events in one transaction; counting them keeps the processor for ten milliseconds, and pages waiting
# An id is given out a moment before its transaction counts as running; whoever is stopped between the two for longer
# than this would be missed.
SETTLING = timedelta(seconds=2)

_COUNTED: tuple[type[Event], ...] = (
    AgentBecameAvailable,
    AgentBecameBusy,
    AgentWentOffline,
    ConversationAssigned,
    ConversationCreated,
    ConversationHandedOff,
    ConversationLabelsChanged,
    ConversationOpened,
    ConversationReopened,
    ConversationResolutionUndone,
    ConversationResolved,
    ConversationReturned,
    ConversationSnoozed,
    ConversationSnoozeUndone,
    ConversationStarted,
    ConversationTeamAssigned,
    InboxConfigured,
    MessageReceived,
    ReplyQueued,
    SurveyAsked,
    SurveyRated,
    TeamChanged,
)
_KINDS = [kind.kind() for kind in _COUNTED]


@frozen_dataclass
class ReportProgress:
    """How far the counter of a workspace has come. `newest` is the last event there is, `settled`: `settling_to` is."""

    recipe: int
    counted_to: int
    counted_at: datetime | None
    settled_to: int
    settling_to: int
    settling_since: datetime | None
    settled: bool
    newest: int
    trimmed_to: int = 0  # facts up to here may have been deleted


# After a backup is restored elsewhere transactions are numbered anew: what was settling there is settled.
_PROGRESS = """
select recipe, counted_to, counted_at, settled_to, settling_to, settling_since,
  coalesce(pg_snapshot_xmin(pg_current_snapshot()) >= settling_xid
    or settling_xid > pg_snapshot_xmax(pg_current_snapshot()), true) as settled,
  (select coalesce(max(id), 0) from event) as newest, trimmed_to
from report_progress"""

_BEGIN = """
insert into report_progress (workspace_id, recipe) values (%(workspace)s, %(recipe)s) on conflict do nothing"""

_LOOK_AHEAD = """
update report_progress set settled_to = settling_to, settling_to = newest, settling_since = %(now)s,
  settling_xid = pg_snapshot_xmax(pg_current_snapshot())
from (select coalesce(max(id), 0) as newest from event) found"""

_LABEL_SETS = """
with wanted as (
  select distinct (select coalesce(array_agg(one::bigint order by one::bigint), '{}') from
    json_array_elements_text(labels) as one) as labels from json_array_elements(%(sets)s::json) as labels),
made as (
  insert into report_label_set (workspace_id, labels) select %(workspace)s, labels from wanted
  on conflict do nothing returning id, labels)
select id, labels from made union all select s.id, s.labels from report_label_set s join wanted w using (labels)"""

_ADD = """
insert into report_sum (workspace_id, measure, quarter, inbox_id, team_id, agent_id, label_set, who, clock, bucket, n,
  total)
select %(workspace)s, * from json_to_recordset(%(sums)s::json) as t(measure smallint, quarter integer, inbox_id bigint,
  team_id bigint, agent_id bigint, label_set integer, who text, clock smallint, bucket smallint, n integer,
  total bigint)
order by measure, quarter, inbox_id, agent_id, team_id, label_set, who, clock, bucket
on conflict (workspace_id, measure, quarter, inbox_id, agent_id, team_id, label_set, who, clock, bucket)
do update set n = report_sum.n + excluded.n, total = report_sum.total + excluded.total"""

_REMEMBER = """
insert into report_conversation (workspace_id, conversation_id, status, inbox_id, team_id, agent_id, labels, remembered)
select %(workspace)s, * from json_to_recordset(%(rows)s::json) as t(conversation_id bigint, status text,
  inbox_id bigint, team_id bigint, agent_id bigint, labels bigint[], remembered jsonb)
order by conversation_id
on conflict (workspace_id, conversation_id) do update set status = excluded.status, inbox_id = excluded.inbox_id,
  team_id = excluded.team_id, agent_id = excluded.agent_id, labels = excluded.labels,
  remembered = excluded.remembered"""

_REMEMBER_AGENTS = """
insert into report_agent (workspace_id, agent_id, status, since)
select %(workspace)s, * from json_to_recordset(%(rows)s::json) as t(agent_id bigint, status text, since timestamptz)
on conflict (workspace_id, agent_id) do update set status = excluded.status, since = excluded.since"""

_REMEMBER_INBOXES = """
insert into report_inbox (workspace_id, inbox_id, hours)
select %(workspace)s, * from json_to_recordset(%(rows)s::json) as t(inbox_id bigint, hours jsonb)
on conflict (workspace_id, inbox_id) do update set hours = excluded.hours"""

_REMEMBER_TEAMS = """
insert into report_team (workspace_id, team_id, hours)
select %(workspace)s, * from json_to_recordset(%(rows)s::json) as t(team_id bigint, hours jsonb)
on conflict (workspace_id, team_id) do update set hours = excluded.hours"""


async def count_some(tx: Transaction, *, now: datetime, settling: timedelta = SETTLING) -> bool:
    """One round: look how far the log is settled, and count a part of what is. Whether there is more to do at once.

    Another process that is at it goes on alone.
    """
    found = await tx.object(ReportProgress, _PROGRESS + " for update skip locked")
    if found is None:
        if await tx.value("select 1 from report_progress"):
            return False  # somebody is at it
        return bool(await tx.run(_BEGIN, workspace=tx.workspace_id, recipe=RECIPE))
    if found.recipe != RECIPE and found.trimmed_to:
        # What was counted stays, as its facts are gone: the new recipe counts from here on.
        await tx.run("update report_progress set recipe = %(recipe)s", recipe=RECIPE)
    elif found.recipe != RECIPE:
        await _forget(tx)
        return True
    settled_to = found.settled_to
    if found.settling_since is None or (found.settled and now - found.settling_since >= settling):
        settled_to = found.settling_to
        if found.newest > settled_to or settled_to > found.settled_to:
            await tx.run(_LOOK_AHEAD, now=now)
    if settled_to == found.counted_to:
        return False
    events = await events_between(tx, found.counted_to, settled_to, kinds=_KINDS, limit=BATCH)
    await _count(tx, events)
    whole = len(events) == BATCH
    await tx.run(
        "update report_progress set counted_to = %(to)s, counted_at = greatest(counted_at, %(at)s)",
        to=events[-1].id if whole else settled_to,
        at=events[-1].at if events else None,
    )
    return whole


async def rebuild(tx: Transaction) -> None:
    """Let everything be counted anew from the log. The numbers are the same afterwards; they come in bit by bit.

    Raises Conflict where facts of the log were deleted because their time was over.
    """
    await tx.run(_BEGIN, workspace=tx.workspace_id, recipe=RECIPE)
    if await tx.value("select trimmed_to from report_progress for update"):
        raise Conflict(
            "Part of the log was deleted because its time was over, so nothing can be counted anew. "
            "The numbers stay as they were counted."
        )
    await _forget(tx)


async def _forget(tx: Transaction) -> None:
    for table in (
        "report_sum",
        "report_conversation",
        "report_agent",
        "report_inbox",
        "report_team",
        "report_label_set",
    ):
        await tx.run(f"delete from {table}")
    await tx.run("update report_progress set recipe = %(recipe)s, counted_to = 0, counted_at = null", recipe=RECIPE)


async def _count(tx: Transaction, events: Sequence[Event]) -> None:
    """What these events count for, and what is to be remembered after them."""
    memory = await _ReportMemory.of(tx, events)
    facts: list[ReportFact] = []
    for event in events:
        match event:
            case ConversationEvent():
                counted = count(memory.conversations.get(event.conversation_id), event, memory.hours_of(event))
                memory.conversations[event.conversation_id] = counted.tracked
                facts += counted.facts
            case AgentBecameAvailable() | AgentBecameBusy() | AgentWentOffline():
                known = memory.agents.get(event.agent_id) or TrackedAgent(event.agent_id)
                memory.agents[event.agent_id], there = count_presence(known, event)
                memory.moved.add(event.agent_id)
                facts += there
            case InboxConfigured():
                memory.configured(event)
            case TeamChanged():
                memory.team_changed(event)
    await _add(tx, facts)
    await memory.write(tx)


class _ReportMemory:
    """What the counter remembers of the conversations, agents and inboxes of a batch."""

    def __init__(
        self,
        conversations: dict[int, TrackedConversation],
        agents: dict[int, TrackedAgent],
        hours: dict[int, Hours],
        team_hours: dict[int, Hours | None],
    ) -> None:
        self.conversations = conversations
        self.agents = agents
        self.hours = hours
        self.team_hours = team_hours  # of teams that have their own; None: people are always there
        self.moved: set[int] = set()  # agents of whom something is new
        self._configured: dict[int, Any] = {}
        self._teams: dict[int, Any] = {}

    @classmethod
    async def of(cls, tx: Transaction, events: Sequence[Event]) -> _ReportMemory:
        conversations = await tx.rows(
            "select conversation_id, remembered::text from report_conversation "
            "where conversation_id = any(%(ids)s::bigint[])",
            ids=list({event.conversation_id for event in events if isinstance(event, ConversationEvent)}),
        )
        agents = await tx.objects(TrackedAgent, "select agent_id, status, since from report_agent")
        hours = await tx.rows("select inbox_id, hours from report_inbox")
        teams = await tx.rows("select team_id, hours from report_team where hours is not null")
        return cls(
            {id_: msgspec.json.decode(written, type=TrackedConversation) for id_, written in conversations},
            {one.agent_id: one for one in agents},
            {inbox_id: known for inbox_id, told in hours if (known := _hours(told)) is not None},
            {team_id: _hours(told) for team_id, told in teams},
        )

    def hours_of(self, event: ConversationEvent) -> Hours | None:
        """Those of the team that had the conversation until this fact, if it has its own, else of the inbox."""
        if event.team_id in self.team_hours:
            return self.team_hours[event.team_id]
        return self.hours.get(event.inbox_id or 0)

    def team_changed(self, event: TeamChanged) -> None:
        """Its hours from now on; other settings mean nothing here."""
        if "hours" not in event.after:
            return
        told = event.after["hours"]
        self._teams[event.team_id] = told
        self.team_hours.pop(event.team_id, None)
        if told is not None:
            self.team_hours[event.team_id] = _hours(told)

    def configured(self, event: InboxConfigured) -> None:
        """Business hours as the policy has them from now on; other settings mean nothing here."""
        if "hours" not in event.after and "hours" not in event.before:
            return
        told = event.after.get("hours") or {}
        self._configured[event.inbox_id] = told
        self.hours.pop(event.inbox_id, None)
        hours = _hours(told)
        if hours is not None:
            self.hours[event.inbox_id] = hours

    async def write(self, tx: Transaction) -> None:
        if self.conversations:
            rows = [
                {
                    "conversation_id": id_,
                    "status": one.state.status,
                    "inbox_id": one.state.inbox_id,
                    "team_id": one.state.team_id or 0,
                    "agent_id": one.state.assignee_id or 0,
                    "labels": one.state.labels,
                    "remembered": _written(one),
                }
                for id_, one in self.conversations.items()
            ]
            await tx.run(_REMEMBER, workspace=tx.workspace_id, rows=json_safe(rows))
        if self.moved:
            moved = [self.agents[id_] for id_ in sorted(self.moved)]
            people = [{"agent_id": one.agent_id, "status": one.status, "since": one.since} for one in moved]
            await tx.run(_REMEMBER_AGENTS, workspace=tx.workspace_id, rows=json_safe(people))
        if self._configured:
            inboxes = [{"inbox_id": id_, "hours": told} for id_, told in self._configured.items()]
            await tx.run(_REMEMBER_INBOXES, workspace=tx.workspace_id, rows=json_safe(inboxes))
        if self._teams:
            teams = [{"team_id": id_, "hours": told} for id_, told in self._teams.items()]
            await tx.run(_REMEMBER_TEAMS, workspace=tx.workspace_id, rows=json_safe(teams))


def _hours(told: Any) -> Hours | None:
    """Business hours as a policy or a team has them, None where people are always there.

    Nor where this version cannot read them: what one inbox once said must not keep everybody's reports from going on.
    """
    try:
        hours = Hours.model_validate(told)
    except ValidationError as error:
        log.warning("Business hours in the log cannot be read, and count as none: %s", error)
        return None
    return hours if has_hours(hours) else None


def _written(one: TrackedConversation) -> Any:
    """Without what is nothing, which is most of it."""
    written = msgspec.to_builtins(one)
    needed = ("id", "inbox_id", "contact_id", "thread", "status")
    state = {name: value for name, value in written["state"].items() if value or name in needed}
    return {**{name: value for name, value in written.items() if value}, "state": state}


async def _add(tx: Transaction, facts: Sequence[ReportFact]) -> None:
    if not facts:
        return
    label_sets = await _label_sets(tx, {fact.labels for fact in facts})
    numbers: Counter[tuple[Any, ...]] = Counter()
    totals: Counter[tuple[Any, ...]] = Counter()
    for fact in facts:
        key = (
            int(fact.measure),
            int(fact.at.timestamp()) // QUARTER,
            fact.inbox_id,
            fact.team_id,
            fact.agent_id,
            label_sets[fact.labels],
            fact.who,
            int(fact.clock),
            time_class(fact.seconds or 0) if fact.measure in STORED_TIMES else fact.marks,
        )
        numbers[key] += fact.n
        totals[key] += fact.n * (fact.seconds or 0)
    names = ("measure", "quarter", "inbox_id", "team_id", "agent_id", "label_set", "who", "clock", "bucket")
    sums = [
        dict(zip(names, key, strict=True)) | {"n": n, "total": totals[key]}
        for key, n in numbers.items()
        if n or totals[key]
    ]
    if sums:
        await tx.run(_ADD, workspace=tx.workspace_id, sums=json_safe(sums))


async def _label_sets(tx: Transaction, wanted: set[tuple[int, ...]]) -> Mapping[tuple[int, ...], int]:
    """The number of each of these sets of labels; 0 of none."""
    some = [list(labels) for labels in wanted if labels]
    if not some:
        return {(): 0}
    rows = await tx.rows(_LABEL_SETS, workspace=tx.workspace_id, sets=json_safe(some))
    return {(): 0, **{tuple(labels): id_ for id_, labels in rows}}
