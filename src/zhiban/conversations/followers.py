"""Agents who follow a conversation: they are told what happens in it, without having it in hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from zhiban.conversations import transitions
from zhiban.conversations.changes import NoteFollowers
from zhiban.events import DIRECT, Actor, Cause
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import check_may_answer

MOST = 50  # of one conversation

# Of those who are told of nothing for lack of a right, nothing is shown either; they are back with it.
_NAMES = """
select a.id, a.name from follower f join agent a on a.workspace_id = f.workspace_id and a.id = f.agent_id
join conversation c on c.workspace_id = f.workspace_id and c.id = f.conversation_id
where f.conversation_id = %(id)s and a.disabled_at is null and (a.inbox_ids is null or c.inbox_id = any(a.inbox_ids))
order by a.name, a.id"""


@frozen_dataclass
class FollowerName:
    id: int
    name: str


async def followers_of(tx: Transaction, conversation_id: int) -> tuple[FollowerName, ...]:
    """Who follows it and may see it, by name."""
    return tuple(await tx.objects(FollowerName, _NAMES, id=conversation_id))


async def follower_ids(tx: Transaction, conversation_id: int) -> list[int]:
    return [
        int(id_)
        for id_ in await tx.values(
            "select agent_id from follower where conversation_id = %(id)s order by agent_id", id=conversation_id
        )
    ]


async def add_followers(
    tx: Transaction,
    conversation_id: int,
    agent_ids: Collection[int],
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    cause: Cause = DIRECT,
) -> Sequence[int]:
    """Let these agents follow. Returns those who did not yet.

    Raises NotFound, NotAllowed where one may not answer in the inbox, Conflict where they are too many.
    """
    state = await transitions.lock(tx, conversation_id)
    for agent_id in agent_ids:
        await check_may_answer(tx, agent_id, state.inbox_id)
    already = await follower_ids(tx, state.id)
    added = sorted(set(agent_ids) - set(already))
    if not added:
        return ()
    if len(already) + len(added) > MOST:
        raise Conflict(f"At most {MOST} colleagues follow one conversation.")
    await tx.run(
        "insert into follower (workspace_id, conversation_id, agent_id, since, told_until) "
        "select %(workspace)s, %(conversation)s, id, %(now)s, %(now)s from unnest(%(agents)s::bigint[]) as id",
        workspace=tx.workspace_id,
        conversation=state.id,
        agents=added,
        now=now,
    )
    change = NoteFollowers(added=tuple(added), reason=reason)
    await transitions.apply_to(tx, state, change, actor=by, now=now, cause=cause)
    return added


async def remove_follower(tx: Transaction, conversation_id: int, agent_id: int, *, by: Actor, now: datetime) -> bool:
    """Let an agent follow no more. False where they did not. Raises NotFound."""
    state = await transitions.lock(tx, conversation_id)
    removed = await tx.run(
        "delete from follower where conversation_id = %(id)s and agent_id = %(agent)s", id=state.id, agent=agent_id
    )
    if removed:
        await transitions.apply_to(tx, state, NoteFollowers(removed=(agent_id,)), actor=by, now=now)
    return bool(removed)


_WRITTEN = """
update follower f set told_until = c.last_incoming_at
from conversation c where f.workspace_id = c.workspace_id and f.conversation_id = c.id
  and (f.conversation_id, f.agent_id) in (
    select o.conversation_id, o.agent_id from follower o
    join conversation w on w.workspace_id = o.workspace_id and w.id = o.conversation_id
    where w.status = 'open' and w.last_incoming_at > o.told_until
    order by o.conversation_id, o.agent_id limit %(limit)s for update of o skip locked)
returning f.conversation_id, f.agent_id, c.inbox_id, c.contact_id, c.assignee_id, c.last_incoming_at"""


@frozen_dataclass
class WrittenTo:
    """A follower, and a contact who has written since they were told last."""

    conversation_id: int
    agent_id: int
    inbox_id: int
    contact_id: int | None
    assignee_id: int | None
    last_incoming_at: datetime


async def take_written(tx: Transaction, *, limit: int) -> list[WrittenTo]:
    """Followers of open conversations whose contacts have written since; they count as told from now on."""
    return await tx.objects(WrittenTo, _WRITTEN, limit=limit)
