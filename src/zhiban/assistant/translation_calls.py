"""Who asks the model for which translation: one at a time in all processes, so many a minute, and what it took.

A call is a row from the moment in which it is claimed. Its claim ends with its outcome or, where the process that asks
was killed, at a time that is set: whoever comes then claims it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Locale
from zhiban.ports import Completion

_CLAIM = """
insert into translation_call (workspace_id, message_id, language, agent_id, started_at, claimed_until)
values (%(workspace)s, %(message)s, %(language)s, %(agent)s, %(now)s, %(until)s) returning id"""

_LOSE = """
update translation_call set ended_at = %(now)s, outcome = 'lost'
where message_id = %(message)s and language = %(language)s and ended_at is null"""

# A claim that was taken over has its outcome; what the call took is true all the same.
_END = """
update translation_call set ended_at = coalesce(ended_at, %(now)s), outcome = coalesce(outcome, %(outcome)s),
  surface = case when outcome is null then %(surface)s else surface end,
  model = %(model)s, input_tokens = %(input)s, output_tokens = %(output)s, cost = %(cost)s
where id = %(id)s"""

_CALL = "select id, claimed_until, ended_at, outcome, surface from translation_call"


class CallOutcome(StrEnum):
    """How a call ended."""

    DONE = "done"
    REFUSED = "refused"  # its words cannot be used
    FAILED = "failed"  # the model gave none
    LOST = "lost"  # nobody knows


@frozen_dataclass
class TranslationCall:
    """A call, begun or ended. `surface` is what the model added, where its words were refused for that."""

    id: int
    claimed_until: datetime
    ended_at: datetime | None
    outcome: str | None
    surface: str | None

    def is_claimed(self, now: datetime) -> bool:
        """Whether somebody asks at this moment."""
        return self.ended_at is None and self.claimed_until > now


async def lock_calls(tx: Transaction) -> None:
    """Let nobody else claim a call in this workspace, or count those of an agent, until the transaction ends."""
    await tx.value("select pg_advisory_xact_lock(hashtextextended('translation_call', %(w)s))", w=tx.workspace_id)


async def latest_call(tx: Transaction, message_id: int, language: Locale) -> TranslationCall | None:
    """The last call for this message in this language."""
    return await tx.object(
        TranslationCall,
        _CALL + " where message_id = %(message)s and language = %(language)s order by id desc limit 1",
        message=message_id,
        language=language,
    )


async def call_by_id(tx: Transaction, call_id: int) -> TranslationCall | None:
    """One call; None where its message is gone, and it with it."""
    return await tx.object(TranslationCall, _CALL + " where id = %(id)s", id=call_id)


async def calls_since(tx: Transaction, agent_id: int | None, since: datetime) -> int:
    """How many calls this agent has asked for after a moment."""
    return int(
        await tx.value(
            "select count(*) from translation_call where agent_id is not distinct from %(agent)s::bigint "
            "and started_at > %(since)s",
            agent=agent_id,
            since=since,
        )
    )


async def claim_call(
    tx: Transaction, message_id: int, language: Locale, *, agent_id: int | None, now: datetime, lasts: timedelta
) -> int:
    """Ask from now on, under the lock of `lock_calls`; a claim that has run out is lost. Returns the call's id."""
    await tx.run(_LOSE, message=message_id, language=language, now=now)
    id_ = await tx.value(
        _CLAIM,
        workspace=tx.workspace_id,
        message=message_id,
        language=language,
        agent=agent_id,
        now=now,
        until=now + lasts,
    )
    return int(id_)


async def end_call(
    tx: Transaction,
    call_id: int,
    outcome: CallOutcome,
    completions: Sequence[Completion],
    *,
    cost: float,
    now: datetime,
    surface: str | None = None,
) -> None:
    """Store how the call ended and what it took."""
    await tx.run(
        _END,
        id=call_id,
        outcome=outcome,
        surface=surface,
        model=completions[-1].model if completions else None,
        input=sum(item.input_tokens for item in completions),
        output=sum(item.output_tokens for item in completions),
        cost=cost,
        now=now,
    )
