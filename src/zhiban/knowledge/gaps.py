"""Questions that nothing answered, gathered so that a person writes the missing article once.

A question joins the gap whose questions have most words in common with it, in the transaction that records it and
without waiting for a model. Where there is an embedder, a job then looks at its meaning and puts it right
(`gap_grouping`). A gap keeps its number and its title; one that asks the same as an earlier one is merged into that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from zhiban.events import ASSISTANT, SYSTEM, Actor, GapClosed, GapRecorded, GapReopened
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Job, enqueue
from zhiban.knowledge import gap_queries
from zhiban.knowledge.corpus_stats import alike
from zhiban.knowledge.document import clean
from zhiban.knowledge.gap_likeness import BY_WORDS, subject_terms, telling
from zhiban.knowledge.gap_queries import GapRow
from zhiban.knowledge.models import GapOrigin, GapStatus

# Looks at the meaning of new questions.
GROUP_GAPS = Job("group_gaps", attempts=60, wait=2.0, longest=300.0)
LONGEST = 200  # characters of a question, as of a phrasing
REOPENED_BY = 3  # further contacts who ask what was dismissed

_RAREST = 4  # terms, of which a question that is alike has one
_GROUPS, _WORDINGS = 12, 12  # gaps that are compared, and wordings of each


async def record_gap(
    tx: Transaction,
    question: str,
    *,
    origin: GapOrigin = GapOrigin.NO_ANSWER,
    conversation_id: int | None = None,
    contact_id: int | None = None,
    message_id: int | None = None,
    now: datetime,
) -> int:
    """Note that a question found no answer, beside those that ask the same. Returns the gap's id.

    A question of a message is noted once, however often it is recorded. What was dismissed counts in silence until
    enough further contacts ask for it; what was answered and is asked again is a new gap that names the earlier one.
    """
    await lock(tx)
    asked = clean(question).strip()[:LONGEST]
    if message_id is not None:
        known: int | None = await tx.value(
            "select gap_id from gap_question where message_id = %(message)s and text = %(text)s",
            message=message_id,
            text=asked,
        )
        if known is not None:
            return known
    own = subject_terms(asked)
    like = await _same_words(tx, asked) or await _like(tx, own)
    gap_id = await _gap_for(tx, like, asked, now=now)
    vector_known: bool = await tx.value(
        "insert into gap_question (workspace_id, gap_id, text, terms, origin, conversation_id, contact_id, message_id, "
        "asked_at, vector, embedder) select %(workspace)s, %(gap)s, %(text)s, %(terms)b::integer[], %(origin)s, "
        "%(conversation)s, %(contact)s, %(message)s, %(now)s, k.vector, k.embedder from (select 1) as one left join "
        "lateral (select q.vector, q.embedder from gap_question q where q.text = %(text)s and q.gap_id = %(gap)s "
        "order by q.id desc limit 1) as k on true returning embedder is not null",
        workspace=tx.workspace_id,
        gap=gap_id,
        text=asked,
        terms=own,
        origin=str(origin),
        conversation=conversation_id,
        contact=contact_id,
        message=message_id,
        now=now,
    )
    await recount(tx, gap_id)
    await event_log.append(tx, GapRecorded(actor=ASSISTANT, at=now, gap_id=gap_id, conversation_id=conversation_id))
    await reopen_if_wanted(tx, gap_id, now=now)
    if not vector_known:
        await enqueue(tx, GROUP_GAPS.of(key="all"))
    return gap_id


async def lock(tx: Transaction) -> None:
    """Whoever changes gaps of a workspace does so alone, until the end of the transaction."""
    await tx.value("select pg_advisory_xact_lock(hashtextextended('gap', %(workspace)s))", workspace=tx.workspace_id)


async def new_gap(tx: Transaction, question: str, *, follows: int | None = None, now: datetime) -> int:
    """An open gap with no questions yet. `follows` is an answered one that asked the same."""
    gap_id: int = await tx.value(
        "insert into gap (workspace_id, question, follows, first_at, last_at) "
        "values (%(workspace)s, %(question)s, %(follows)s, %(now)s, %(now)s) returning id",
        workspace=tx.workspace_id,
        question=question,
        follows=follows,
        now=now,
    )
    return gap_id


async def recount(tx: Transaction, gap_id: int) -> None:
    """Let a gap say how often, by how many and since when it is asked. Its title stays while one of them asks so."""
    await tx.run(
        "update gap g set times = c.times, contacts = c.contacts, first_at = c.first_at, last_at = c.last_at, "
        "question = case when c.has_title then g.question else c.earliest end "
        "from (select count(distinct coalesce(q.message_id, -q.id)) as times, "
        " count(distinct coalesce(q.contact_id, -q.conversation_id)) as contacts, min(q.asked_at) as first_at, "
        " max(q.asked_at) as last_at, bool_or(q.text = t.question) as has_title, "
        " (array_agg(q.text order by q.id))[1] as earliest "
        " from gap_question q join gap t on t.workspace_id = q.workspace_id and t.id = q.gap_id "
        " where q.gap_id = %(gap)s having count(*) > 0) as c where g.id = %(gap)s",
        gap=gap_id,
    )


async def reopen_if_wanted(tx: Transaction, gap_id: int, *, now: datetime) -> None:
    """Open a dismissed gap again when enough contacts asked for it who had not asked before."""
    further: int = await tx.value(
        "select count(*) from (select distinct coalesce(q.contact_id, -q.conversation_id) as who from gap_question q "
        "join gap g on g.workspace_id = q.workspace_id and g.id = q.gap_id where q.gap_id = %(gap)s "
        "and g.status = 'dismissed' and q.asked_at > g.closed_at except "
        "select coalesce(q.contact_id, -q.conversation_id) from gap_question q join gap g "
        "on g.workspace_id = q.workspace_id and g.id = q.gap_id where q.gap_id = %(gap)s and q.asked_at <= g.closed_at"
        ") as new where who is not null",
        gap=gap_id,
    )
    if further >= REOPENED_BY:
        await tx.run("update gap set status = 'open', closed_at = null where id = %(gap)s", gap=gap_id)
        await event_log.append(tx, GapReopened(actor=SYSTEM, at=now, gap_id=gap_id))


async def close_gap(
    tx: Transaction,
    gap_id: int,
    status: GapStatus,
    *,
    article_id: int | None = None,
    by: Actor = SYSTEM,
    now: datetime,
) -> bool:
    """Mark an open gap as answered (by an article) or dismissed. False when it is not open."""
    await lock(tx)
    closed = await tx.run(
        "update gap set status = %(status)s, article_id = %(article)s, closed_at = %(now)s "
        "where id = %(id)s and status = 'open'",
        status=str(status),
        article=article_id,
        now=now,
        id=gap_id,
    )
    if closed:
        await event_log.append(tx, GapClosed(actor=by, at=now, gap_id=gap_id, status=str(status)))
    return closed > 0


async def reopen_gap(tx: Transaction, gap_id: int, *, by: Actor, now: datetime) -> bool:
    """Open a dismissed gap again, because somebody thought better of it. False when it is not dismissed."""
    await lock(tx)
    opened = await tx.run(
        "update gap set status = 'open', closed_at = null where id = %(id)s and status = 'dismissed'", id=gap_id
    )
    if opened:
        await event_log.append(tx, GapReopened(actor=by, at=now, gap_id=gap_id))
    return opened > 0


async def open_gap_like(tx: Transaction, wordings: Sequence[str], *, message_ids: Sequence[int]) -> GapRow | None:
    """The open gap that these wordings are about: of these messages, or of anybody who asked the same.

    A message that asked for two things is in two gaps: only the one that has words in common with these is meant.
    """
    asked = [text for text in wordings if text.strip()]
    if not asked:
        return None
    like = await _like(tx, subject_terms(asked[0]))
    candidates = await gap_queries.open_gaps_asked(
        tx, asked, message_ids=message_ids, ids=[like.id] if like is not None else []
    )
    own = [subject_terms(text) for text in asked]

    def nearness(gap: GapRow) -> float:
        if not set(gap.questions).isdisjoint(asked):
            return 1.0
        return max(alike(one, subject_terms(text)) for one in own for text in gap.questions)

    best = max(candidates, key=nearness, default=None)
    return best if best is not None and nearness(best) >= BY_WORDS else None


# --------------------------------------------------------------------------------------------- by their words


@frozen_dataclass
class _Like:
    """A gap that asks the same."""

    id: int
    status: str


@frozen_dataclass
class _GapWording:
    gap_id: int
    status: str
    terms: list[int]


async def _gap_for(tx: Transaction, like: _Like | None, asked: str, *, now: datetime) -> int:
    """The gap that a question joins which asks the same as this one."""
    if like is None:
        return await new_gap(tx, asked, now=now)
    if like.status != GapStatus.ANSWERED:
        return like.id
    later: int | None = await tx.value(
        "select id from gap where follows = %(id)s and status in ('open', 'dismissed') order by id desc limit 1",
        id=like.id,
    )
    return later or await new_gap(tx, asked, follows=like.id, now=now)


async def _same_words(tx: Transaction, asked: str) -> _Like | None:
    """The gap where exactly this was asked last."""
    return await tx.object(
        _Like,
        "select g.id, g.status from gap_question q join gap g on g.workspace_id = q.workspace_id and g.id = q.gap_id "
        "where q.workspace_id = %(workspace)s and q.text = %(text)s order by q.id desc limit 1",
        workspace=tx.workspace_id,
        text=asked,
    )


async def _like(tx: Transaction, own: list[int]) -> _Like | None:
    """The gap whose wordings have most in common with these terms, the earliest of several."""
    wordings = await tx.objects(
        _GapWording,
        "select w.gap_id, g.status, w.terms from (select q.gap_id from gap_question q "
        " where q.terms && %(rarest)b::integer[] group by q.gap_id order by count(*) desc, q.gap_id limit %(groups)s) "
        "as n join gap g on g.id = n.gap_id cross join lateral ("
        " select distinct on (q.text) q.gap_id, q.terms from gap_question q where q.workspace_id = g.workspace_id "
        " and q.gap_id = n.gap_id order by q.text limit %(wordings)s) as w order by w.gap_id",
        rarest=telling(own, most=_RAREST),
        groups=_GROUPS,
        wordings=_WORDINGS,
    )
    best, most = None, BY_WORDS
    for gap_id, group in groupby(wordings, key=lambda wording: wording.gap_id):
        of_gap = list(group)
        found = sum(alike(own, wording.terms) for wording in of_gap) / len(of_gap)
        if found > most or (found == most and best is None):
            best, most = _Like(gap_id, of_gap[0].status), found
    return best
