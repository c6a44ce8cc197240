"""Giving open conversations to agents by the policies of their inboxes.

One transaction of a workspace gives conversations away at a time; what somebody else is just changing is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge

from zhiban.channels.inboxes import all_settings, inboxes
from zhiban.channels.policy import AssignmentPolicy, Policy
from zhiban.conversations import transitions
from zhiban.conversations.changes import Assign, AssignTeam
from zhiban.conversations.distribution import AgentLoad, Distribution, Given
from zhiban.conversations.models import ConversationState
from zhiban.conversations.transitions import Planned
from zhiban.events import DIRECT, SYSTEM, TIMER, Actor, Cause, ConversationAssigned
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people import presence, teams
from zhiban.people.permissions import access_of_agent

AT_ONCE = 100  # conversations that one transaction gives away
ROUNDS = 20
LOCK = 0x5A41  # class of the advisory locks under which a workspace gives conversations away

Policies = Mapping[int, AssignmentPolicy]  # by inbox

_LOCK = "select pg_advisory_xact_lock(%(lock)s::bigint * 4294967296 + %(workspace)s)"

_OPEN = """
select assignee_id, inbox_id, count(*) from conversation
where status = 'open' and assignee_id = any(%(agents)s::bigint[]) group by 1, 2"""

_TURNS = "select agent_id, given_at from assignment_turn where agent_id = any(%(agents)s::bigint[])"

_LATELY = """
select (data ->> 'to_agent_id')::bigint, count(*) from event
where kind = %(kind)s and at > %(since)s and data ->> 'reason' in ('balanced', 'round_robin') group by 1"""

_NOTE_TURNS = """
insert into assignment_turn (workspace_id, agent_id, given_at)
select %(workspace)s, agent, %(now)s::timestamptz + n * interval '1 microsecond'
from unnest(%(agents)s::bigint[]) with ordinality as t(agent, n) order by agent
on conflict (workspace_id, agent_id) do update set given_at = excluded.given_at"""

# Where people have it in the vendor's own client, it is theirs.
_QUEUE = """
select {columns} from conversation c
where c.status = 'open' and c.assignee_id is null and c.inbox_id = %(inbox)s
  and (case when c.team_id is null then %(anybody)s else c.team_id = any(%(teams)s::bigint[]) end)
  and not c.labels && %(labels)s::bigint[]
  and (c.native_state is null or c.native_state not in ('pool', 'human')) and c.id <> all(%(seen)s::bigint[])
order by {order} limit %(limit)s for update of c skip locked"""

_ORDERS = {"longest_waiting": "c.waiting_since nulls last, c.id", "oldest": "c.id"}

# Whoever gave it away by hand, or from whom a person took it, in this cycle.
_REFUSED = """
select e.conversation_id, e.assignee_id from unnest(%(ids)s::bigint[]) as asked(id)
join conversation c on c.id = asked.id
join lateral (
  select conversation_id, assignee_id, actor_kind, cycle, data from event
  where conversation_id = c.id and workspace_id = c.workspace_id and kind = %(kind)s order by id desc limit 1) e on true
where e.actor_kind = 'agent' and e.cycle = c.cycle and e.data ->> 'to_agent_id' is null and e.data ->> 'reason' = ''"""

# What a person gave to somebody whom they saw absent, or took themselves without an open desk, stays where it is.
_LEFT_WAITING = """
select {columns} from conversation c
join unnest(%(agents)s::bigint[], %(since)s::timestamptz[]) as gone(agent_id, since) on gone.agent_id = c.assignee_id
left join lateral (
  select e.actor_kind, e.at from event e
  where e.conversation_id = c.id and e.workspace_id = c.workspace_id and e.kind = %(kind)s
  order by e.id desc limit 1) given on true
where c.status = 'open' and c.assignee_id = any(%(agents)s::bigint[]) and c.inbox_id = %(inbox)s
  and c.waiting_since is not null and (c.native_state is null or c.native_state not in ('pool', 'human'))
  and not coalesce(given.actor_kind = 'agent' and given.at >= gone.since, false)
order by c.id limit %(limit)s for update of c skip locked"""


async def policies(tx: Transaction) -> Policies:
    """How each inbox in use gives its conversations away."""
    return {one.inbox_id: one.policy.assignment for one in await all_settings(tx)}


def any_on(policies: Policies) -> bool:
    """Whether some inbox gives conversations away at all."""
    return any(policy.by != "off" for policy in policies.values())


async def assign_waiting(tx: Transaction, policies: Policies, *, now: datetime) -> int:
    """Give what waits to agents who have room, by the policies. Returns how many, AT_ONCE at most."""
    await _lock(tx)
    distribution = Distribution(await _loads(tx, policies, now=now), policies)
    given: list[Given] = []
    seen: list[int] = []
    for _ in range(ROUNDS):  # another one where somebody may not be given what stood first
        queue = await _queue(tx, policies, distribution, seen=seen, most=AT_ONCE - len(given))
        if not queue:
            break
        seen += [state.id for state in queue]
        refused = await _refused(tx, [state.id for state in queue])
        for state in queue:
            found = distribution.give(state, refused_by=refused.get(state.id))
            given += [found] if found else []
    await _give(tx, given, policies, now=now)
    return len(given)


async def assign_best(
    tx: Transaction, conversation_id: int, *, by: Actor, now: datetime, cause: Cause = DIRECT
) -> int | None:
    """Give one conversation to the best agent that its inbox's policy allows, who may be the one who has it.

    Where the policy is off, that is whoever has fewest open. Returns the agent; None, and nothing changes, when nobody
    may be given it now. Raises NotFound.
    """
    state = await transitions.lock(tx, conversation_id)
    found = dict(await policies(tx))
    own = found.get(state.inbox_id, AssignmentPolicy())
    found[state.inbox_id] = _switched_on(own)
    await _lock(tx)
    refused = await _refused(tx, [state.id])
    loads = await _loads(tx, found, now=now)
    for load in loads:
        if load.agent_id == state.assignee_id and load.open[state.inbox_id]:
            load.open[state.inbox_id] -= 1  # as if it were nobody's
    given = Distribution(loads, found).give(state, refused_by=refused.get(state.id))
    if given is None:
        return None
    reason = "balanced" if found[state.inbox_id].by == "balanced" else "round_robin"
    applied = await transitions.apply_to(tx, state, Assign(given.agent_id, reason), actor=by, now=now, cause=cause)
    if applied.changed:
        await tx.run(_NOTE_TURNS, workspace=tx.workspace_id, agents=[given.agent_id], now=now)
    return given.agent_id


def _switched_on(policy: AssignmentPolicy) -> AssignmentPolicy:
    """The policy, balanced where it is off."""
    return policy.model_copy(update={"by": "balanced"}) if policy.by == "off" else policy


async def release_offline(tx: Transaction, policies: Policies, *, now: datetime) -> int:
    """Whoever waits for an agent who has been offline for the time of the policy is nobody's. Returns how many.

    Conversations that do not wait for us stay with the agent, and so does what a person gave them while they were gone.
    """
    await _lock(tx)
    done = 0
    for inbox_id, policy in policies.items():
        if policy.by == "off" or policy.offline_minutes is None:
            continue
        gone = await presence.offline_since(tx, now - timedelta(minutes=policy.offline_minutes))
        if not gone:
            continue
        rows = await tx.rows(
            _LEFT_WAITING.format(columns=transitions.STATE_COLUMNS),
            agents=list(gone),
            since=list(gone.values()),
            kind=ConversationAssigned.kind(),
            inbox=inbox_id,
            limit=AT_ONCE,
        )
        planned = [Planned(transitions.as_state(row), Assign(None, "agent_offline"), TIMER) for row in rows]
        done += len(await transitions.apply_many(tx, planned, now=now, cause=Cause("policy", inbox_id)))
    return done


async def release_unanswerable(tx: Transaction, agent_id: int, *, now: datetime, cause: Cause = DIRECT) -> int:
    """What an agent has in hand and may not answer (any more) waits for the others. Returns how many conversations."""
    await _lock(tx)  # a policy that saw the agent as they were before has given, or looks again
    access = await access_of_agent(tx, agent_id)
    rows = await tx.rows(
        f"select {transitions.STATE_COLUMNS} from conversation c where c.assignee_id = %(agent)s "
        "and c.status <> 'resolved' order by c.id for update",
        agent=agent_id,
    )
    change = Assign(None, "agent_disabled" if access is None else "access_changed")
    states = [transitions.as_state(row) for row in rows]
    planned = [Planned(state, change, SYSTEM) for state in states if not (access and access.answers(state.inbox_id))]
    return len(await transitions.apply_many(tx, planned, now=now, cause=cause))


@frozen_dataclass
class Overload:
    """An agent has more open conversations than a policy would give them."""

    open: int
    limit: int


async def overload(tx: Transaction, agent_id: int, inbox_id: int) -> Overload | None:
    """Whether an agent has more than the inbox's policy allows. People may give them more than that; they are told."""
    policy = (await policies(tx)).get(inbox_id)
    if policy is None or (policy.most is None and policy.most_here is None):
        return None
    counts = (await open_counts(tx, [agent_id]))[agent_id]
    for limit, n in ((policy.most_here, counts[inbox_id]), (policy.most, counts.total())):
        if limit is not None and n > limit:
            return Overload(n, limit)
    return None


async def remove_team(tx: Transaction, team_id: int, *, by: Actor, now: datetime) -> None:
    """Remove a team; what it has becomes no team's after the commit.

    Raises NotFound, and Conflict while an inbox gives its conversations to this team only.
    """
    row = await teams.team_row(tx, team_id)
    users = [inbox.name for inbox in await inboxes(tx) if Policy.model_validate(inbox.policy).assignment.team == row.id]
    if users:
        inbox = users[0]
        raise Conflict(f"{inbox} gives its conversations to this team. Choose another team there first.")
    await teams.remove(tx, team_id, by=by, now=now)


async def release_team(tx: Transaction, team_id: int, *, now: datetime, cause: Cause = DIRECT) -> int:
    """What a removed team had belongs to no team. Returns how many, AT_ONCE at most."""
    rows = await tx.rows(
        f"select {transitions.STATE_COLUMNS} from conversation c where c.team_id = %(team)s "
        "order by c.id limit %(limit)s for update",
        team=team_id,
        limit=AT_ONCE,
    )
    planned = [Planned(transitions.as_state(row), AssignTeam(None), SYSTEM) for row in rows]
    return len(await transitions.apply_many(tx, planned, now=now, cause=cause))


async def open_counts(tx: Transaction, agent_ids: Sequence[int]) -> dict[int, Counter[int]]:
    """How many open conversations each of these agents has, by inbox."""
    counts: dict[int, Counter[int]] = {id_: Counter() for id_ in agent_ids}
    for agent_id, inbox_id, n in await tx.rows(_OPEN, agents=list(agent_ids)):
        counts[agent_id][inbox_id] = n
    return counts


async def _lock(tx: Transaction) -> None:
    """Nobody else in this workspace counts and gives away until this transaction has committed."""
    await tx.run(_LOCK, lock=LOCK, workspace=tx.workspace_id)


async def _loads(tx: Transaction, policies: Policies, *, now: datetime) -> list[AgentLoad]:
    there = await presence.assignable(tx, now=now)
    if not there:
        return []
    ids = [agent.id for agent in there]
    counts = await open_counts(tx, ids)
    turns: dict[int, datetime] = dict(await tx.rows(_TURNS, agents=ids))
    loads = [
        AgentLoad(
            one.id,
            frozenset(one.teams),
            counts[one.id],
            given_at=turns.get(one.id),
            inboxes=None if one.inbox_ids is None else frozenset(one.inbox_ids),
        )
        for one in there
    ]
    for minutes in {policy.fair_minutes for policy in policies.values() if policy.fair_limit is not None}:
        since = now - timedelta(minutes=minutes)
        lately: dict[int, int] = dict(await tx.rows(_LATELY, kind=ConversationAssigned.kind(), since=since))
        for load in loads:
            load.lately[minutes] = lately.get(load.agent_id, 0)
    return loads


async def _queue(
    tx: Transaction, policies: Policies, distribution: Distribution, *, seen: Sequence[int], most: int
) -> list[ConversationState]:
    """What waits and was not seen yet, in order, from each inbox for which somebody has room; locked."""
    queues: list[list[ConversationState]] = []
    for inbox_id, policy in policies.items():
        room = distribution.room(inbox_id, most=most) if policy.by != "off" else 0
        if room:
            there = distribution.teams(inbox_id)
            rows = await tx.rows(
                _QUEUE.format(columns=transitions.STATE_COLUMNS, order=_ORDERS[policy.first]),
                inbox=inbox_id,
                teams=there,
                anybody=policy.team is None or policy.team in there,
                labels=list(policy.except_labels),
                seen=list(seen),
                limit=AT_ONCE if seen else room,
            )
            queues.append([transitions.as_state(row) for row in rows])
    return list(merge(*queues, key=_waits_since))


def _waits_since(state: ConversationState) -> tuple[bool, datetime, int]:
    since = state.waiting_since or state.opened_at or state.last_activity_at
    return state.waiting_since is None, since or datetime.max.replace(tzinfo=UTC), state.id


async def _refused(tx: Transaction, ids: Sequence[int]) -> dict[int, int]:
    return dict(await tx.rows(_REFUSED, ids=list(ids), kind=ConversationAssigned.kind()))


async def _give(tx: Transaction, given: Sequence[Given], policies: Policies, *, now: datetime) -> None:
    for inbox_id in dict.fromkeys(one.state.inbox_id for one in given):
        reason = "balanced" if policies[inbox_id].by == "balanced" else "round_robin"
        planned = [
            Planned(one.state, Assign(one.agent_id, reason), SYSTEM) for one in given if one.state.inbox_id == inbox_id
        ]
        await transitions.apply_many(tx, planned, now=now, cause=Cause("policy", inbox_id))
    if given:
        last = list(dict.fromkeys(one.agent_id for one in reversed(given)))
        await tx.run(_NOTE_TURNS, workspace=tx.workspace_id, agents=last[::-1], now=now)
