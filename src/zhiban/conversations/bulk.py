"""Many conversations changed at once by an agent: as many statements as for one, and why some are left out.

Whoever may not see a conversation cannot change it, what makes no sense for one is refused for that one only, and the
others are changed all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from datetime import datetime

from zhiban.conversations import transitions
from zhiban.conversations.access import visible
from zhiban.conversations.changes import Assign, Change, Open, Resolve
from zhiban.conversations.models import ConversationState, Status
from zhiban.conversations.seen import SeenActivity, WroteMeanwhile, check_heard, stamp_of
from zhiban.conversations.service import reopening
from zhiban.conversations.transitions import Planned
from zhiban.events import Actor, Cause
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access, Permission, check_may_answer

MOST = 500  # conversations at once
AT_ONCE = 100  # in one transaction: what contacts write meanwhile waits for it
BULK = Cause("bulk")
GONE = "There is no such conversation."

Planning = Mapping[int, tuple[ConversationState, Sequence[Change]]]  # what is to be done to which, by id


@frozen_dataclass
class BulkResult:
    """Which were changed, which were so already, and why others were not (sentences, by id).

    `before`: the changed ones as they were, to undo it.
    """

    changed: tuple[int, ...] = ()
    unchanged: tuple[int, ...] = ()
    refused: Mapping[int, str] = field(default_factory=dict)
    before: tuple[ConversationState, ...] = ()

    def joined(self, other: BulkResult) -> BulkResult:
        """Both together."""
        refused = {**self.refused, **other.refused}
        return BulkResult(
            self.changed + other.changed, self.unchanged + other.unchanged, refused, self.before + other.before
        )


def check_few(ids: Collection[int], most: int = MOST) -> None:
    """Raises Conflict where these are none, or too many for one action."""
    if not ids:
        raise Conflict("No conversation is selected.")
    if len(ids) > most:
        raise Conflict(f"At most {most} conversations can be changed like that at once.")


async def change_many(
    tx: Transaction, access: Access, ids: Sequence[int], *changes: Change, now: datetime
) -> BulkResult:
    """Do these changes to each of them, one after the other. Raises NotAllowed."""
    states, refused = await states_to_change(tx, access, ids)
    return await apply_planned(tx, access, {state.id: (state, changes) for state in states}, refused, now=now)


async def resolve_many(
    tx: Transaction, access: Access, ids: Sequence[int], *, seen: Mapping[int, SeenActivity], now: datetime
) -> BulkResult:
    """Done, but for those whose contact wrote after what the list showed of them (`seen`). Raises NotAllowed."""
    states, refused = await states_to_change(tx, access, ids)
    planned: dict[int, tuple[ConversationState, Sequence[Change]]] = {}
    for state in states:
        try:
            await check_heard(tx, state, seen.get(state.id))
        except WroteMeanwhile as error:
            refused[state.id] = error.sentence
        else:
            planned[state.id] = state, (Resolve("agent"),)
    return await apply_planned(tx, access, planned, refused, now=now)


async def stamps_of(tx: Transaction, ids: Sequence[int]) -> dict[int, int]:
    """When something happened last in these conversations, see `seen.stamp_of`."""
    rows = await tx.rows(
        "select id, last_activity_at from conversation where id = any(%(ids)s::bigint[])", ids=list(ids)
    )
    return {id_: stamp_of(at) for id_, at in rows}


async def assign_many(tx: Transaction, access: Access, ids: Sequence[int], *, to: int, now: datetime) -> BulkResult:
    """Give them to an agent: to oneself as by taking each, to a colleague only where they may answer.

    Raises NotAllowed.
    """
    states, refused = await states_to_change(tx, access, ids)
    for inbox_id in sorted({state.inbox_id for state in states}):
        try:
            await check_may_answer(tx, to, inbox_id)
        except (Conflict, NotFound) as error:
            refused |= {state.id: error.sentence for state in states if state.inbox_id == inbox_id}
    planned: dict[int, tuple[ConversationState, Sequence[Change]]] = {}
    for state in states:
        if state.id in refused:
            continue
        if to == access.agent_id:
            planned[state.id] = state, (Open("taken", take_by=to),)
        elif state.status is Status.OPEN:
            planned[state.id] = state, (Assign(to),)
        else:
            planned[state.id] = state, (Open("reopened"), Assign(to))
    return await apply_planned(tx, access, planned, refused, now=now)


async def reopen_many(tx: Transaction, access: Access, ids: Sequence[int], *, now: datetime) -> BulkResult:
    """Take them up again: each becomes the agent's; those that are open stay as they are. Raises NotAllowed."""
    states, refused = await states_to_change(tx, access, ids)
    planned = {state.id: (state, (reopening(state, by=access.agent_id),)) for state in states}
    return await apply_planned(tx, access, planned, refused, now=now)


async def states_to_change(
    tx: Transaction, access: Access, ids: Sequence[int]
) -> tuple[list[ConversationState], dict[int, str]]:
    """The states, locked, of those that this agent may change; the others with the reason. Raises NotAllowed."""
    access.check(Permission.ANSWER)
    seen = await visible(tx, access, ids)
    states = await transitions.lock_many(tx, sorted(seen))
    there = {state.id for state in states}
    return states, {id_: GONE for id_ in ids if id_ not in there}


async def apply_planned(
    tx: Transaction,
    access: Access,
    planned: Planning,
    refused: dict[int, str],
    *,
    now: datetime,
) -> BulkResult:
    """Do to each what is planned for it, but where that makes no sense for it."""
    actor = Actor("agent", access.agent_id)
    possible: dict[int, tuple[ConversationState, Sequence[Change]]] = {}
    for id_, (state, changes) in planned.items():
        try:
            after = state
            for change in changes:
                after = transitions.decide(after, change, now, actor=actor, cause=BULK).state
        except Conflict as error:
            refused[id_] = error.sentence
        else:
            possible[id_] = state, changes
    changed: set[int] = set()
    for turn in range(max((len(changes) for _, changes in possible.values()), default=0)):
        due = [Planned(state, changes[turn], actor) for state, changes in possible.values() if turn < len(changes)]
        done = await transitions.apply_many(tx, due, now=now, cause=BULK)
        changed |= {one.before.id for one in done if one.changed}
    unchanged = tuple(id_ for id_ in possible if id_ not in changed)
    before = tuple(state for id_, (state, _) in possible.items() if id_ in changed)
    return BulkResult(tuple(sorted(changed)), unchanged, refused, before)


async def inboxes_of(tx: Transaction, ids: Sequence[int]) -> list[int]:
    """The inboxes that these conversations belong to."""
    return await tx.values(
        "select distinct inbox_id from conversation where id = any(%(ids)s::bigint[]) order by 1", ids=list(ids)
    )
