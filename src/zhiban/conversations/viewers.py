"""Who has a conversation open: an open desk says so again and again, and that it was left."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.conversations.topics import VIEWERS_CHANGED
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

# An open desk says it every 20 s (presence.js); one that was closed without a word is gone after two of those.
VIEWS_FOR = timedelta(seconds=50)


@frozen_dataclass
class ConversationViewer:
    """A colleague who has it open."""

    id: int
    name: str


async def view(
    tx: Transaction, conversation_id: int, *, agent_id: int, now: datetime
) -> tuple[ConversationViewer, ...]:
    """This agent has it before them. Returns the others who do; they are told of one who comes, once."""
    since = now - VIEWS_FOR
    before = await tx.value(
        "select seen_at from conversation_viewer where conversation_id = %(id)s and agent_id = %(agent)s",
        id=conversation_id,
        agent=agent_id,
    )
    await tx.run(
        "insert into conversation_viewer (workspace_id, conversation_id, agent_id, seen_at) "
        "values (%(workspace)s, %(id)s, %(agent)s, %(now)s) "
        "on conflict (workspace_id, conversation_id, agent_id) do update set seen_at = excluded.seen_at",
        workspace=tx.workspace_id,
        id=conversation_id,
        agent=agent_id,
        now=now,
    )
    if before is None or before < since:
        # Another window of theirs may be doing the same, with our row and its own the other way round: neither waits.
        await tx.run(
            "delete from conversation_viewer where (conversation_id, agent_id) in (select conversation_id, agent_id "
            "from conversation_viewer where agent_id = %(agent)s and seen_at < %(since)s for update skip locked)",
            agent=agent_id,
            since=since,
        )
        tx.publish_after_commit(VIEWERS_CHANGED, conversation_id)
    return await viewers_besides(tx, conversation_id, agent_id=agent_id, now=now)


async def viewers_besides(
    tx: Transaction, conversation_id: int, *, agent_id: int, now: datetime
) -> tuple[ConversationViewer, ...]:
    """The others who have it open."""
    found = await tx.objects(
        ConversationViewer,
        "select a.id, a.name from conversation_viewer v join agent a on a.id = v.agent_id "
        "where v.conversation_id = %(id)s and v.agent_id <> %(agent)s and v.seen_at >= %(since)s "
        "and a.disabled_at is null order by a.name, a.id limit 20",
        id=conversation_id,
        agent=agent_id,
        since=now - VIEWS_FOR,
    )
    return tuple(found)


async def leave(tx: Transaction, conversation_id: int, *, agent_id: int) -> None:
    """It is closed, as far as we hear: another tab that shows it says so again."""
    gone = await tx.run(
        "delete from conversation_viewer where conversation_id = %(id)s and agent_id = %(agent)s",
        id=conversation_id,
        agent=agent_id,
    )
    if gone:
        tx.publish_after_commit(VIEWERS_CHANGED, conversation_id)
