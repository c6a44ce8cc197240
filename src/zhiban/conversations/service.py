"""The verbs about whose turn it is. Each takes a transaction, never commits, and never calls out.

What a verb means in each status is decided in `decisions`; here stands what belongs together with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from zhiban.channels.business_hours import Hours, hours_of, is_open
from zhiban.conversations import transitions
from zhiban.conversations.changes import (
    Assign,
    AssignTeam,
    BeforeResolution,
    BeforeSnooze,
    ChangeLabels,
    HandOffToPeople,
    Mute,
    Open,
    Resolve,
    ReturnToAssistant,
    SetPriority,
    Snooze,
    UndoResolve,
    UndoSnooze,
    Unmute,
)
from zhiban.conversations.labels import still_there
from zhiban.conversations.models import Author, ConversationState, Priority, Status
from zhiban.conversations.outbox import QueuedMessage, allowance_of, enqueue, enqueue_session_transfer, key_for, reword
from zhiban.conversations.queries import last_resolution, last_snoozes
from zhiban.conversations.seen import Seen, check_heard
from zhiban.conversations.transitions import Applied, Planned
from zhiban.events import (
    DIRECT,
    TIMER,
    Actor,
    Cause,
    ConversationResolved,
    ConversationSnoozed,
    MemberBlocked,
    MemberUnblocked,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.contact_card import lock_contact
from zhiban.people.contacts import set_blocked
from zhiban.people.permissions import check_may_answer
from zhiban.people.teams import team_hours
from zhiban.ports import Limits, NativeState

UNDO_TIME = timedelta(seconds=6)  # how long a resolution, a snooze, a block can be taken back
CLOSING_WAITS = timedelta(seconds=7)  # the closing text goes out when that time is over
LONGEST_SNOOZE = timedelta(days=366)
AT_ONCE = 200  # conversations that a timer changes in one transaction


async def people_are_there(tx: Transaction, team_id: int | None, hours: Hours, *, now: datetime) -> bool:
    """Whether it is within the hours of this team, if it has its own, else within these, the inbox's."""
    return is_open(hours_of(await team_hours(tx, team_id), hours), now)


@frozen_dataclass
class HandOffWords:
    """What a contact is told who is given to people: `notice`, or `out_of_hours` while nobody is there.

    `hours` are the inbox's; None: people are always there.
    """

    notice: str
    out_of_hours: str
    hours: Hours | None

    async def fitting(self, tx: Transaction, team_id: int | None, *, now: datetime) -> str:
        if self.hours is None:
            return self.notice
        return self.notice if await people_are_there(tx, team_id, self.hours, now=now) else self.out_of_hours


async def hand_off(
    tx: Transaction,
    conversation_id: int,
    *,
    reason: str,
    actor: Actor,
    now: datetime,
    question: str = "",
    message_id: int | None = None,
    notice: str = "",
    out_of_hours: str = "",
    hours: Hours | None = None,
    native_to: str | None = None,
    servicer: str | None = None,
    limits: Limits | None = None,
    cause: Cause = DIRECT,
) -> bool:
    """The assistant gives the conversation to people, who are told what the contact asked (`question` in `message_id`).

    The contact is told `notice` within the channel's `limits`, or `out_of_hours` where nobody is there: by the hours of
    the team that it came to, if that has its own, else by `hours`, the inbox's.
    `native_to` moves the session in the vendor's view too ("pool" or "human"). False when it was not the assistant's.
    A group may be handed over again, with another question, while people have it.
    """
    state = await transitions.lock(tx, conversation_id)
    if state.status is not Status.PENDING and not state.is_group:
        return False
    key = key_for("handoff", tx.workspace_id, state.id, state.cycle, now.isoformat())
    words = HandOffWords(notice, out_of_hours, hours)
    said = await words.fitting(tx, state.team_id, now=now)
    told: list[QueuedMessage] = []
    if said and limits is not None and not allowance_of(state, limits.reply_window).closed(now):
        queued = await enqueue(
            tx, state, author=Author.ASSISTANT, actor=actor, text=said, key=key, limits=limits, now=now, most=1
        )
        state, told = queued.state, queued.messages
    applied = await transitions.apply_to(
        tx, state, HandOffToPeople(reason, question, message_id), actor=actor, now=now, cause=cause
    )
    if told and limits is not None and hours is not None:
        # Rules may have given it to a team that works at other hours; what they say themselves stays behind this.
        given_to = (await transitions.lock(tx, conversation_id)).team_id
        better = said if given_to == state.team_id else await words.fitting(tx, given_to, now=now)
        if better not in ("", said):
            await reword(tx, told[0].id, better, limits=limits)
    # A rule may have let a flow ask first, which could not go on in a session of the vendor's own people.
    if native_to is not None and applied.state.flow_run_id is None:
        await enqueue_session_transfer(
            tx, applied.state, to=native_to, actor=actor, key=key + "m", now=now, servicer=servicer
        )
    return True


async def open_for_people(
    tx: Transaction, conversation_id: int, *, actor: Actor, now: datetime, reason: str, cause: Cause = DIRECT
) -> Applied:
    """Make it people's without telling the contact, for instance because a servicer already writes."""
    return await transitions.apply(tx, conversation_id, Open(reason), actor=actor, now=now, cause=cause)


async def take(tx: Transaction, conversation_id: int, *, by: int, now: datetime, cause: Cause = DIRECT) -> Applied:
    """An agent takes the conversation, whatever its status, and becomes its assignee. Raises NotFound, NotAllowed."""
    state = await transitions.lock(tx, conversation_id)
    await check_may_answer(tx, by, state.inbox_id)
    change = Open("taken", take_by=by)
    return await transitions.apply_to(tx, state, change, actor=Actor("agent", by), now=now, cause=cause)


async def reopen(tx: Transaction, conversation_id: int, *, by: int, now: datetime) -> Applied:
    """An agent takes up a conversation again and becomes its assignee; one that is open already stays as it is.

    Raises NotFound, NotAllowed.
    """
    state = await transitions.lock(tx, conversation_id)
    await check_may_answer(tx, by, state.inbox_id)
    return await transitions.apply_to(tx, state, reopening(state, by=by), actor=Actor("agent", by), now=now)


def reopening(state: ConversationState, *, by: int) -> Open:
    """What an agent does who takes it up again: nobody loses what was opened meanwhile."""
    return Open("reopened", take_by=None if state.status is Status.OPEN else by)


async def assign(
    tx: Transaction,
    conversation_id: int,
    *,
    to: int | None,
    by: Actor,
    now: datetime,
    reason: str = "",
    cause: Cause = DIRECT,
) -> Applied:
    """Give the conversation to an agent, or to nobody. One that the assistant has becomes people's.

    Raises NotFound, and NotAllowed where the agent may not answer in its inbox.
    """
    state = await transitions.lock(tx, conversation_id)
    if to is not None:
        await check_may_answer(tx, to, state.inbox_id)
    return await transitions.apply_to(tx, state, Assign(to, reason), actor=by, now=now, cause=cause)


async def give(
    tx: Transaction, conversation_id: int, *, to: int, by: Actor, now: datetime, cause: Cause = DIRECT
) -> Applied:
    """Give the conversation to an agent who is to answer it: whatever its status, it is open then.

    Raises NotFound, and NotAllowed where the agent may not answer in its inbox.
    """
    state = await transitions.lock(tx, conversation_id)
    await check_may_answer(tx, to, state.inbox_id)
    opened = await transitions.apply_to(tx, state, Open("reopened"), actor=by, now=now, cause=cause)
    return await transitions.apply_to(tx, opened.state, Assign(to), actor=by, now=now, cause=cause)


async def assign_team(
    tx: Transaction, conversation_id: int, *, to: int | None, by: Actor, now: datetime, cause: Cause = DIRECT
) -> Applied:
    """Give the conversation to a team, or to none. The assignee stays."""
    return await transitions.apply(tx, conversation_id, AssignTeam(to), actor=by, now=now, cause=cause)


async def change_labels(
    tx: Transaction,
    conversation_id: int,
    *,
    add: frozenset[int] = frozenset(),
    remove: frozenset[int] = frozenset(),
    by: Actor,
    now: datetime,
    cause: Cause = DIRECT,
) -> Applied:
    """Add and remove labels, by id. One in both sets is added."""
    return await transitions.apply(tx, conversation_id, ChangeLabels(add, remove), actor=by, now=now, cause=cause)


async def set_priority(
    tx: Transaction,
    conversation_id: int,
    *,
    priority: Priority,
    by: Actor,
    now: datetime,
    at_least: bool = False,
    reason: str = "",
    cause: Cause = DIRECT,
) -> Applied:
    """Say how much it matters. With `at_least`, a higher priority stays."""
    change = SetPriority(priority, at_least=at_least, reason=reason)
    return await transitions.apply(tx, conversation_id, change, actor=by, now=now, cause=cause)


async def block(tx: Transaction, conversation_id: int, *, by: Actor, now: datetime, cause: Cause = DIRECT) -> None:
    """What this contact writes, wherever they write, is kept and calls nobody; their conversations are resolved.

    Raises Conflict in a group: what its members say to each other is not one contact's.
    """
    state = await transitions.lock(tx, conversation_id)
    if state.contact_id is None:
        raise Conflict(mark("A group cannot be blocked; block one of its members on their page."))
    await set_contact_blocked(tx, state.contact_id, blocked=True, by=by, now=now, cause=cause)


async def unblock(tx: Transaction, conversation_id: int, *, by: Actor, now: datetime) -> None:
    """What this contact writes calls somebody again. The status of their conversations stays."""
    state = await transitions.lock(tx, conversation_id)
    if state.contact_id is None:
        await transitions.apply_to(tx, state, Unmute(), actor=by, now=now)
    else:
        await set_contact_blocked(tx, state.contact_id, blocked=False, by=by, now=now)


async def set_contact_blocked(
    tx: Transaction, contact_id: int, *, blocked: bool, by: Actor, now: datetime, cause: Cause = DIRECT
) -> list[ConversationState]:
    """Block a contact, or not any more, with all conversations with them, which are returned as they were before.

    Raises NotFound for one that is not there, or was merged.
    """
    theirs = "select id from conversation where contact_id = %(contact)s order by id"
    # Conversations before contacts, as everybody locks them. Once the contact is locked none can begin.
    await transitions.lock_many(tx, await tx.values(theirs, contact=contact_id))
    card = await lock_contact(tx, contact_id)
    states = await transitions.lock_many(tx, await tx.values(theirs, contact=contact_id))
    if card.blocked != blocked:
        await set_blocked(tx, contact_id, blocked=blocked, now=now)
        if not states:
            fact = MemberBlocked if blocked else MemberUnblocked
            await event_log.append(tx, fact(actor=by, at=now, cause=cause, contact_id=contact_id))
    change = Mute() if blocked else Unmute()
    await transitions.apply_many(tx, [Planned(one, change, by) for one in states], now=now, cause=cause)
    return states


async def resolve(
    tx: Transaction,
    conversation_id: int,
    *,
    by: Actor,
    now: datetime,
    reason: str = "",
    seen: Seen | None = None,
    cause: Cause = DIRECT,
) -> bool:
    """Done. What the inbox's policy says to the contact is sent when it cannot be taken back any more.

    False when it was resolved already. Raises WroteMeanwhile where the contact wrote after what was `seen`.
    """
    state = await transitions.lock(tx, conversation_id)
    await check_heard(tx, state, seen)
    applied = await transitions.apply_to(tx, state, Resolve(reason), actor=by, now=now, cause=cause)
    return applied.changed


async def undo_resolve(tx: Transaction, conversation_id: int, *, by: int, now: datetime) -> Applied:
    """Everything as it was before this agent resolved it. Raises Conflict when it is too late or was somebody else."""
    state = await transitions.lock(tx, conversation_id)
    before = before_resolution(await last_resolution(tx, conversation_id), by=by, now=now)
    return await transitions.apply_to(tx, state, UndoResolve(before), actor=Actor("agent", by), now=now)


def before_resolution(resolved: ConversationResolved | None, *, by: int, now: datetime) -> BeforeResolution:
    """What this resolution would be undone to. Raises Conflict when it is too late or was somebody else."""
    if resolved is None or (resolved.actor.kind, resolved.actor.id) != ("agent", by):
        raise Conflict(mark("Only who resolved it can take that back."))
    if now - resolved.at > UNDO_TIME:
        raise Conflict(mark("It is too late to take that back; reopen the conversation instead."))
    return BeforeResolution(
        status=resolved.previous,
        assignee_id=resolved.assignee_id,
        waiting_since=resolved.was_waiting_since,
        handoff_reason=resolved.was_handoff_reason,
        snoozed_until=resolved.was_snoozed_until,
        failures=resolved.was_failures,
        resolved_at=resolved.was_resolved_at,
    )


async def undo_snooze(tx: Transaction, conversation_id: int, *, by: int, now: datetime) -> Applied:
    """Everything as it was before this agent snoozed it. Raises Conflict when it is too late or was somebody else."""
    state = await transitions.lock(tx, conversation_id)
    before = before_snooze((await last_snoozes(tx, [conversation_id])).get(conversation_id), by=by, now=now)
    return await transitions.apply_to(tx, state, UndoSnooze(before), actor=Actor("agent", by), now=now)


def before_snooze(snoozed: ConversationSnoozed | None, *, by: int, now: datetime) -> BeforeSnooze:
    """What this snoozing would be undone to. Raises Conflict when it is too late or was somebody else."""
    if snoozed is None or (snoozed.actor.kind, snoozed.actor.id) != ("agent", by):
        raise Conflict(mark("Only who snoozed it can take that back."))
    if now - snoozed.at > UNDO_TIME:
        raise Conflict(mark("It is too late to take that back; reopen the conversation instead."))
    return BeforeSnooze(
        status=snoozed.previous, assignee_id=snoozed.assignee_id, snoozed_until=snoozed.was_snoozed_until
    )


async def mark_handled(tx: Transaction, message_ids: Sequence[int]) -> None:
    """These messages need no answer, or have one, in a conversation that this transaction has locked."""
    await tx.run(
        "update message set state = 'handled' where id = any(%(ids)s::bigint[]) and state = 'pending'",
        ids=list(message_ids),
    )


async def return_to_assistant(
    tx: Transaction, conversation_id: int, *, by: Actor, now: datetime, cause: Cause = DIRECT
) -> Applied:
    """Give it back; what the contact asked and nobody answered waits for the assistant.

    Raises Conflict while people have the session in the vendor's client.
    """
    return await transitions.apply(tx, conversation_id, ReturnToAssistant(), actor=by, now=now, cause=cause)


async def snooze(
    tx: Transaction, conversation_id: int, *, until: datetime, by: Actor, now: datetime, cause: Cause = DIRECT
) -> Applied:
    """Out of sight until a time. Raises Conflict when that time is over or more than a year ahead, or the conversation
    is resolved."""
    if until > now + LONGEST_SNOOZE:
        raise Conflict(mark("The time to come back must lie within a year."))
    return await transitions.apply(tx, conversation_id, Snooze(until), actor=by, now=now, cause=cause)


# ---------------------------------------------------------------------------------------------------- many at once


# Whether `wake_snoozed` finds any.
ANY_SNOOZE_OVER = "exists (select from conversation where status = 'snoozed' and snoozed_until <= %(now)s)"


async def wake_snoozed(tx: Transaction, *, now: datetime) -> int:
    """Open every conversation whose time has come. Returns how many."""
    due = await _due(tx, "c.status = 'snoozed' and c.snoozed_until <= %(now)s", now=now)
    planned = [Planned(state, Open("snooze_over"), TIMER) for state in due]
    return len(await transitions.apply_many(tx, planned, now=now, cause=Cause("timer")))


@frozen_dataclass
class IdleEnding:
    """What belongs to the end of what nobody continues: a word to the contact, a label. `limits` are the channel's.

    `withheld`: why the word is not said, where the inbox says nothing by itself.
    """

    text: str = ""
    withheld: str = ""
    label: int | None = None
    limits: Limits | None = None


async def resolve_idle(
    tx: Transaction,
    inbox_id: int,
    *,
    status: Status,
    before: datetime,
    now: datetime,
    ending: IdleEnding = IdleEnding(),
) -> int:
    """Resolve what nobody continued, took up or gave back since `before`: what the assistant answered is its success.

    A contact who still waits for an answer is never resolved away. What the channel does not let us say is not said,
    and the resolution tells why; a label that was removed is not put on. Returns how many, a batch at most.
    """
    due = await _due(
        tx,
        # The status stands in the text: only so every plan may use the index.
        f"c.inbox_id = %(inbox)s and c.status = '{status.value}' and c.last_activity_at < %(before)s "
        "and c.waiting_since is null and (c.opened_at is null or c.opened_at < %(before)s) and not exists ("
        "select from event e where e.conversation_id = c.id and e.kind = 'conversation_returned' "
        "and e.at >= %(before)s)",
        inbox=inbox_id,
        before=before,
    )
    actor = Actor("assistant") if status is Status.PENDING else TIMER
    labels = await still_there(tx, [ending.label]) if due and ending.label is not None else frozenset()
    planned = []
    for state in due:
        after, unsaid = await _say_before_end(tx, state, ending, now=now)
        planned.append(Planned(after, Resolve("idle", labels, unsaid), actor))
    return len(await transitions.apply_many(tx, planned, now=now, cause=Cause("timer")))


async def _say_before_end(
    tx: Transaction, state: ConversationState, ending: IdleEnding, *, now: datetime
) -> tuple[ConversationState, str]:
    """The state afterwards, and why the contact is not told, if the channel forbids it.

    Where people hold the session in the vendor's client, only its end lets us say something: see `close_session`. A
    group goes on whatever becomes of one question, and whom we do not hear we do not tell either.
    """
    held = state.native_state in (NativeState.POOL, NativeState.HUMAN)
    if not ending.text or ending.limits is None or held or state.is_group or state.muted:
        return state, ""
    if unsaid := ending.withheld or allowance_of(state, ending.limits.reply_window).closed(now):
        return state, unsaid
    queued = await enqueue(
        tx,
        state,
        author=Author.SYSTEM,
        actor=TIMER,
        text=ending.text,
        key=key_for("idle", tx.workspace_id, state.id, state.cycle),
        limits=ending.limits,
        now=now,
        content={"idle": True},
        most=1,
        cause=Cause("timer"),
    )
    return queued.state, ""


async def _due(tx: Transaction, condition: str, **params: object) -> list[ConversationState]:
    rows = await tx.rows(
        f"select {transitions.STATE_COLUMNS} from conversation c where {condition} "
        "order by c.id limit %(limit)s for update skip locked",
        limit=AT_ONCE,
        **params,
    )
    return [transitions.as_state(row) for row in rows]
