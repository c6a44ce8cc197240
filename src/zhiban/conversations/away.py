"""Out of office: who writes to people while nobody is there is told so, once a day.

The assistant answers at any hour and says for itself that people are away when it hands over; this is for what people
have already, have from the beginning, or are given without such words. What arrives plans a job in the same
transaction, and the job looks at everything once more, as somebody may have answered meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from zhiban.channels.business_hours import hours_of, is_open
from zhiban.channels.connections import Connections, OpenInbox
from zhiban.channels.policy import Policy
from zhiban.conversations import transitions
from zhiban.conversations.changes import Arrived
from zhiban.conversations.models import PEOPLE, Author, ConversationState, Status
from zhiban.conversations.outbox import allowance_of, enqueue, key_for, shortened
from zhiban.events import SYSTEM, ConversationHandedOff, ConversationOpened
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.jobs import Enqueued, Job, Task
from zhiban.kit.jobs import enqueue_many as plan
from zhiban.people.teams import team_hours
from zhiban.ports import Limits

SAY_AWAY = Job("say_away", attempts=5)
SPOKE_WITHIN = timedelta(minutes=5)  # a person of ours: then somebody is there, whatever the hours say
TOLD_WITHIN = timedelta(hours=1)  # so that nobody is told twice around midnight
WROTE_WITHIN = timedelta(hours=1)  # a word out of nowhere, hours later, would only wake somebody


def for_given(event: ConversationHandedOff | ConversationOpened) -> Iterable[Enqueued]:
    """What came to people without one of them having taken it. Most of it was told at once, and the job sees that."""
    if event.actor.kind not in ("agent", "servicer", "contact"):
        yield _wish(event.conversation_id)


async def plan_away(
    tx: Transaction,
    inbox: OpenInbox,
    arrived: Iterable[tuple[ConversationState, Iterable[Arrived]]],
    *,
    now: datetime,
) -> None:
    """Look later whether these contacts are to be told. Costs a statement only where people have the conversation."""
    policy = inbox.settings
    if policy.away:
        await plan(
            tx, [_wish(state.id) for state, messages in arrived if _may_be_due(policy, state, messages, now=now)]
        )


def _wish(conversation_id: int) -> Enqueued:
    return SAY_AWAY.of(key=str(conversation_id), conversation_id=conversation_id)


def _may_be_due(policy: Policy, state: ConversationState, messages: Iterable[Arrived], *, now: datetime) -> bool:
    """Whose team has hours of its own is known only later; what comes too late for the assistant is answered by people
    alone."""
    if not _is_peoples(state) or (state.team_id is None and is_open(policy.hours, now)):
        return False
    oldest = now - policy.answers_after
    return any(one.from_contact and not one.aside and one.sent_at >= oldest for one in messages)


def _is_peoples(state: ConversationState) -> bool:
    return state.status is Status.OPEN and not state.is_group and not state.muted


def _waits(state: ConversationState, now: datetime) -> bool:
    wrote = state.last_incoming_at
    return state.waiting_since is not None and wrote is not None and wrote > now - WROTE_WITHIN


class AwayJobs:
    """What the job needs, and the job."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [Task(SAY_AWAY, self.say_away)]

    async def say_away(self, workspace_id: int, conversation_id: int) -> None:
        """Tell the contact that nobody is there, where that is still so and they do not know it."""
        async with self._database.transaction(workspace_id) as tx:
            inbox_id = await tx.value("select inbox_id from conversation where id = %(id)s", id=conversation_id)
        if inbox_id is None:
            return
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        async with self._database.transaction(workspace_id) as tx:
            await say_away(tx, conversation_id, inbox.settings, limits=inbox.channel.limits, now=self._clock.now())


async def say_away(tx: Transaction, conversation_id: int, policy: Policy, *, limits: Limits, now: datetime) -> bool:
    """Say the policy's words once in a day of the hours that hold for the conversation. False where there is no cause.

    The last message that the channel allows is left for a person.
    """
    state = await transitions.lock(tx, conversation_id)
    if not policy.away or not _is_peoples(state) or not _waits(state, now):
        return False
    may = allowance_of(state, limits.reply_window)
    if may.closed(now) or (may.left is not None and may.left <= max(limits.reserved, 1)):
        return False
    hours = hours_of(await team_hours(tx, state.team_id), policy.hours)
    if is_open(hours, now):
        return False
    local = now.astimezone(ZoneInfo(hours.timezone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    handed_over = shortened(policy.handoff.text_out_of_hours, limits, most=1)[0]
    if await _knows(tx, state.id, handed_over, since=min(midnight, now - TOLD_WITHIN), now=now):
        return False
    queued = await enqueue(
        tx,
        state,
        author=Author.SYSTEM,
        actor=SYSTEM,
        text=policy.away,
        key=key_for("away", tx.workspace_id, state.id, local.date()),
        limits=limits,
        now=now,
        content={"away": True},
        most=1,
    )
    return bool(queued.messages)


async def _knows(tx: Transaction, conversation_id: int, handed_over: str, *, since: datetime, now: datetime) -> bool:
    """Whether a person spoke just now, or the contact was told since, also by the words of a handoff."""
    found = await tx.value(
        "select exists (select from message where conversation_id = %(id)s and direction = 'out' "
        "and state not in ('failed', 'dropped') and ((author = any(%(people)s::text[]) and sent_at > %(spoke)s) "
        "or (sent_at >= %(since)s and (content ? 'away' or (author = 'assistant' and text = %(handed)s)))))",
        id=conversation_id,
        people=sorted(PEOPLE),
        spoke=now - SPOKE_WITHIN,
        since=since,
        handed=handed_over,
    )
    return bool(found)
