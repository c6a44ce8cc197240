"""What the assistant said in a group a short while ago, and what it is to say there no more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries as knowledge

_LATELY = """
select id, question, decision, citations, asked_by, finished_at from turn
where conversation_id = %(conversation)s order by id desc limit %(limit)s"""

_LIMIT = 60  # turns of one group that may matter


@frozen_dataclass
class GroupTurn:
    """A turn in a group, for the contact `asked_by`."""

    id: int
    question: str
    decision: str
    citations: list[dict[str, Any]]
    asked_by: int | None
    finished_at: datetime

    @property
    def articles(self) -> frozenset[int]:
        """What it was answered with."""
        return frozenset(int(one["article_id"]) for one in self.citations)


async def lately(tx: Transaction, conversation_id: int, *, since: datetime) -> list[GroupTurn]:
    """The turns in this group since a moment, newest first."""
    rows = await tx.objects(GroupTurn, _LATELY, conversation=conversation_id, limit=_LIMIT)
    return [row for row in rows if row.finished_at >= since]


async def turns_of_messages(tx: Transaction, message_ids: Collection[int]) -> dict[int, int | None]:
    """Those of these messages that the assistant wrote, each with its turn."""
    if not message_ids:
        return {}
    return dict(
        await tx.rows(
            "select id, turn_id from message where id = any(%(ids)s::bigint[]) and author = 'assistant'",
            ids=sorted(message_ids),
        )
    )


async def asked_most(tx: Transaction, conversation_id: int, *, since: datetime, most: int) -> list[str]:
    """The titles of what was answered most often in this group since a moment."""
    return await tx.values(
        "select cited ->> 'title' from turn t, jsonb_array_elements(t.citations) as cited "
        "where t.conversation_id = %(id)s and t.decision = 'Answer' and t.finished_at > %(since)s "
        "group by 1 order by count(*) desc, max(t.id) desc limit %(most)s",
        id=conversation_id,
        since=since,
        most=most,
    )


async def silenced(tx: Transaction, conversation_id: int, article_ids: Collection[int]) -> frozenset[int]:
    """Those of these articles that a member said are wrong here, and that nobody has changed since."""
    if not article_ids:
        return frozenset()
    rows: dict[int, datetime] = dict(
        await tx.rows(
            "select article_id, silenced_at from group_silence where conversation_id = %(id)s "
            "and article_id = any(%(articles)s::bigint[])",
            id=conversation_id,
            articles=sorted(article_ids),
        )
    )
    changed = await knowledge.changed_at(tx, list(rows))
    return frozenset(id_ for id_, at in rows.items() if id_ in changed and changed[id_] <= at)


async def silence(tx: Transaction, conversation_id: int, article_ids: Sequence[int], *, by: int, now: datetime) -> None:
    """Do not answer with these articles in this group any more, until they are changed; `by` said so."""
    await tx.run(
        "insert into group_silence (workspace_id, conversation_id, article_id, silenced_by, silenced_at) "
        "select %(workspace)s, %(id)s, article, %(by)s, %(now)s from unnest(%(articles)s::bigint[]) as article "
        "on conflict (workspace_id, conversation_id, article_id) do update set silenced_by = excluded.silenced_by, "
        "silenced_at = excluded.silenced_at",
        workspace=tx.workspace_id,
        id=conversation_id,
        articles=sorted(set(article_ids)),
        by=by,
        now=now,
    )
