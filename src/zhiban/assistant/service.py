"""The verbs of the assistant's own rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from zhiban.kit.db import Transaction
from zhiban.ports import Completion

LONGEST_QUESTION = 4000

_INSERT = """
with made as (
  insert into turn (workspace_id, conversation_id, question, decision, reason, zone, confidence, model, input_tokens,
    output_tokens, cost, citations, steps, asked_by, started_at, finished_at)
  values (%(workspace)s, %(conversation)s, %(question)s, %(decision)s, %(reason)s, %(zone)s, %(confidence)s, %(model)s,
    %(input)s, %(output)s, %(cost)s, %(citations)s::jsonb, %(steps)s::jsonb, %(asked_by)s, %(started)s, %(finished)s)
  returning id),
handled as (
  update message set state = 'handled', turn_id = made.id from made
  where message.id = any(%(messages)s::bigint[]) and message.state = 'pending')
select id from made"""


async def record_turn(
    tx: Transaction,
    conversation_id: int,
    message_ids: Sequence[int],
    *,
    question: str,
    decision: str,
    reason: str,
    zone: str | None,
    confidence: float | None,
    completions: Sequence[Completion],
    cost: float,
    citations: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]],
    started_at: datetime,
    finished_at: datetime,
    asked_by: int | None = None,
) -> int:
    """Store what the assistant decided and why, and what the models cost; its messages are handled.

    In a group, `asked_by` is the contact whose message it was about. Returns the turn's id.
    """
    id_ = await tx.value(
        _INSERT,
        workspace=tx.workspace_id,
        conversation=conversation_id,
        messages=list(message_ids),
        question=question[:LONGEST_QUESTION],
        decision=decision,
        reason=reason,
        zone=zone,
        confidence=confidence,
        model=completions[-1].model if completions else None,
        input=sum(item.input_tokens for item in completions),
        output=sum(item.output_tokens for item in completions),
        cost=cost,
        citations=json.dumps(citations, ensure_ascii=False),
        steps=json.dumps(steps),
        asked_by=asked_by,
        started=started_at,
        finished=finished_at,
    )
    return int(id_)


async def forget_turns(tx: Transaction, *, before: datetime, limit: int) -> int:
    """Delete the oldest turns that ended before then; their answers stay, without where they came from."""
    return await tx.run(
        "delete from turn using (select id as old from turn order by id limit %(limit)s) t "
        "where id = t.old and finished_at < %(before)s",
        before=before,
        limit=limit,
    )


async def forget_turns_in(tx: Transaction, until: Mapping[int, datetime]) -> int:
    """Delete turns of conversations whose messages go, up to a moment in each: they repeat what was asked."""
    return await tx.run(
        "delete from turn t using unnest(%(ids)s::bigint[], %(until)s::timestamptz[]) as u(id, until) "
        "where t.conversation_id = u.id and t.conversation_id = any(%(ids)s::bigint[]) and t.finished_at < u.until",
        ids=list(until),
        until=list(until.values()),
    )


async def count_turns(tx: Transaction, *, before: datetime, most: int) -> int:
    """How many turns ended before then; `most` stands for that many or more."""
    return int(
        await tx.value(
            "select count(*) from (select finished_at from turn order by id limit %(most)s) t "
            "where finished_at < %(before)s",
            before=before,
            most=most,
        )
    )
