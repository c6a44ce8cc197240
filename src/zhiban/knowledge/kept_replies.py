"""Which replies of agents are in the knowledge, and where: each once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.events import Actor, ReplyKept
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict


class KeptAlready(Conflict):
    """The reply is in the knowledge. `article_id` says where."""

    def __init__(self, article_id: int) -> None:
        super().__init__("This reply is in the knowledge base already.")
        self.article_id = article_id


async def lock_reply(tx: Transaction, message_id: int) -> None:
    """Whoever keeps a reply does so alone, until the end of the transaction. Raises KeptAlready."""
    await tx.value("select pg_advisory_xact_lock(hashtextextended('kept_reply', %(id)s))", id=message_id)
    known = (await articles_of_replies(tx, [message_id])).get(message_id)
    if known is not None:
        raise KeptAlready(known)


async def note_kept(
    tx: Transaction, message_id: int, article_id: int, *, conversation_id: int, by: Actor, now: datetime
) -> None:
    """The reply is in this article now. The caller holds its lock."""
    await tx.run(
        "insert into kept_reply (workspace_id, message_id, article_id, agent_id, kept_at) "
        "values (%(workspace)s, %(message)s, %(article)s, %(agent)s, %(now)s)",
        workspace=tx.workspace_id,
        message=message_id,
        article=article_id,
        agent=by.id if by.kind == "agent" else None,
        now=now,
    )
    fact = ReplyKept(actor=by, at=now, article_id=article_id, message_id=message_id, conversation_id=conversation_id)
    await event_log.append(tx, fact)


async def articles_of_replies(tx: Transaction, message_ids: Sequence[int]) -> dict[int, int]:
    """Which article each of these replies is in; those that are in none are left out."""
    if not message_ids:
        return {}
    rows = await tx.rows(
        "select message_id, article_id from kept_reply where workspace_id = %(workspace)s "
        "and message_id = any(%(ids)b::bigint[])",
        workspace=tx.workspace_id,
        ids=list(message_ids),
    )
    return dict(rows)
