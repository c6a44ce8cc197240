"""Greeting those who are new in a group: everybody who came within some minutes at once, with what is often asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from zhiban.assistant import group_queries
from zhiban.channels.connections import Connections
from zhiban.conversations import groups, participants, transitions
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import enqueue as say
from zhiban.conversations.outbox import key_for
from zhiban.conversations.participants import Participant
from zhiban.events import ASSISTANT, GroupMembersJoined
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.jobs import Job, Task, enqueue
from zhiban.ports import Mention

WELCOME_MEMBERS = Job("welcome_members", attempts=4)
NAMED = 10  # newcomers whom one greeting names; of more it says how many
FAQ = "{faq}"  # in the text of an operator: here stands what was asked most
ASKED_MOST = 5  # questions
_LOOKS_AGAIN = timedelta(minutes=30)  # in quiet hours nobody is greeted
_ASKED_WITHIN = timedelta(days=30)


async def plan_welcome(tx: Transaction, event: GroupMembersJoined) -> None:
    """Greet who came once more have had the time to come, where that is wished. One greeting waits at a time."""
    if not event.members:
        return
    policy = (await groups.chat_of(tx, event.conversation_id)).policy
    if policy.welcome and not policy.read_only:
        at = event.at + timedelta(minutes=policy.welcome_minutes)
        key = str(event.conversation_id)
        await enqueue(tx, WELCOME_MEMBERS.of(key=key, at=at, conversation_id=event.conversation_id))


class GroupJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [Task(WELCOME_MEMBERS, self.welcome_members)]

    async def welcome_members(self, workspace_id: int, conversation_id: int) -> None:
        """Greet those who came since the last greeting and are still there."""
        async with self._database.transaction(workspace_id) as tx:
            inbox_id = (await transitions.lock(tx, conversation_id)).inbox_id
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            state = await transitions.lock(tx, conversation_id)
            chat = await groups.chat_of(tx, state.id)
            if chat.closed is not None or not chat.policy.welcome or state.muted or not inbox.settings.assistant:
                return
            if chat.policy.is_quiet(now):
                await enqueue(
                    tx, WELCOME_MEMBERS.of(key=str(state.id), at=now + _LOOKS_AGAIN, conversation_id=state.id)
                )
                return
            new = await participants.joined_since(tx, state.id, chat.welcomed_at)
            if not new:
                return
            asked = await group_queries.asked_most(tx, state.id, since=now - _ASKED_WITHIN, most=ASKED_MOST)
            named = [Mention(one.external_id, one.name) for one in new[:NAMED] if one.external_id and one.name]
            await groups.note_welcomed(tx, state.id, at=now)
            await say(
                tx,
                state,
                author=Author.ASSISTANT,
                actor=ASSISTANT,
                text=greeting(chat.policy.welcome, new, asked, named=len(named)),
                key=key_for("welcome", workspace_id, state.id, now.isoformat()),
                limits=inbox.channel.limits,
                now=now,
                mentions=named,
                most=1,
            )


def greeting(text: str, new: Sequence[Participant], asked: Sequence[str], *, named: int) -> str:
    """The operator's text, with what was asked most where it says so, and how many more than are named."""
    more = len(new) - named
    faq = "\n".join(f"· {title}" for title in asked)
    said = text.replace(FAQ, faq).strip()
    return f"（+{more}）{said}" if named and more else said
