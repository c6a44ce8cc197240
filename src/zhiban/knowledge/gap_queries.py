"""Reads of gaps: what contacts asked and nothing answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.models import GapStatus
from zhiban.knowledge.tokenizer import counts

_SHOWN = 5  # wordings in a list
_READ = 200  # wordings of one gap


@frozen_dataclass
class GapRow:
    """A gap: `times` counts messages, `contacts` who asked. `follows` was answered before and is asked again.

    `questions` are some of its wordings, the newest first.
    """

    id: int
    question: str
    times: int
    contacts: int
    status: str
    article_id: int | None
    merged_into: int | None
    follows: int | None
    first_at: datetime
    last_at: datetime
    questions: list[str]


_GAP = """
select g.id, g.question, g.times, g.contacts, g.status, g.article_id, g.merged_into, g.follows, g.first_at, g.last_at,
  array(select w.text from (select q.text, max(q.id) as newest from gap_question q
    where q.workspace_id = g.workspace_id and q.gap_id = g.id group by q.text) as w
    order by w.newest desc limit %(shown)s) as questions
from gap g
"""


async def open_gaps(tx: Transaction, *, after: int = 0, limit: int = 50) -> list[GapRow]:
    """What contacts asked and nothing answered, each with up to five wordings; what most contacts asked first, so that
    nobody gets to the top alone. `after` leaves out so many from there.
    """
    return await tx.objects(
        GapRow,
        _GAP + " where g.status = 'open' order by g.contacts desc, g.times desc, g.last_at desc, g.id "
        "limit %(limit)s offset %(after)s",
        shown=_SHOWN,
        limit=limit,
        after=after,
    )


async def dismissed_gaps(tx: Transaction, *, limit: int = 50) -> list[GapRow]:
    """What somebody decided not to answer, the last decision first."""
    return await tx.objects(
        GapRow,
        _GAP + " where g.status = 'dismissed' order by g.closed_at desc, g.id limit %(limit)s",
        shown=_SHOWN,
        limit=limit,
    )


async def gap(tx: Transaction, gap_id: int) -> GapRow:
    """One gap, whatever became of it. Raises NotFound."""
    found = await tx.object(GapRow, _GAP + " where g.id = %(id)s", id=gap_id, shown=_SHOWN)
    if found is None:
        raise NotFound(f"There is no gap {gap_id}.")
    return found


async def open_gap(tx: Transaction, gap_id: int) -> GapRow:
    """Raises NotFound."""
    found = await tx.object(GapRow, _GAP + " where g.id = %(id)s", id=gap_id, shown=_SHOWN)
    if found is not None and found.status == GapStatus.MERGED:
        raise NotFound(f"Gap {gap_id} was merged into gap {found.merged_into}.")
    if found is None or found.status != GapStatus.OPEN:
        raise NotFound(f"There is no open gap {gap_id}.")
    return found


async def open_gaps_asked(
    tx: Transaction, wordings: Sequence[str], *, message_ids: Sequence[int] = (), ids: Sequence[int] = ()
) -> list[GapRow]:
    """Open gaps that were asked in these very words, or by these messages, or are these; with many of their wordings.

    What most contacts asked first."""
    return await tx.objects(
        GapRow,
        _GAP + " where g.status = 'open' and (g.id = any(%(ids)b::bigint[]) or g.id in ("
        "select q.gap_id from gap_question q where q.workspace_id = %(workspace)s and (q.text = any(%(texts)b::text[]) "
        "or q.message_id = any(%(messages)b::bigint[])))) order by g.contacts desc, g.id",
        workspace=tx.workspace_id,
        shown=_READ,
        ids=list(ids),
        texts=list(wordings),
        messages=list(message_ids),
    )


@frozen_dataclass
class Wording:
    """One way in which a gap was asked, how often, and by how many contacts."""

    text: str
    times: int
    contacts: int
    last_at: datetime


async def wordings(tx: Transaction, gap_id: int, *, limit: int = _READ) -> list[Wording]:
    """The ways in which a gap was asked; how most contacts asked first."""
    return await tx.objects(
        Wording,
        "select text, count(*) as times, count(distinct coalesce(contact_id, -conversation_id)) as contacts, "
        "max(asked_at) as last_at from gap_question where gap_id = %(gap)s group by text "
        "order by contacts desc, times desc, last_at desc, text limit %(limit)s",
        gap=gap_id,
        limit=limit,
    )


async def phrasings_for(tx: Transaction, gap_id: int, title: str, *, most: int) -> tuple[str, ...]:
    """The wordings that an article with this title learns from the gap: those that differ in more than spelling."""
    known = [counts(title)]
    learnt: list[str] = []
    for wording in await wordings(tx, gap_id):
        terms = counts(wording.text)
        if terms and terms not in known:
            known.append(terms)
            learnt.append(wording.text)
    return tuple(learnt[:most])


@frozen_dataclass
class GapQuestionRow:
    """One time that a gap was asked; `origin` tells what became of it."""

    id: int
    text: str
    origin: str
    conversation_id: int | None
    contact_id: int | None
    message_id: int | None
    asked_at: datetime


async def gap_questions(tx: Transaction, gap_id: int, *, limit: int = 50) -> list[GapQuestionRow]:
    """Who asked it, the newest first."""
    return await tx.objects(
        GapQuestionRow,
        "select id, text, origin, conversation_id, contact_id, message_id, asked_at from gap_question "
        "where gap_id = %(gap)s order by id desc limit %(limit)s",
        gap=gap_id,
        limit=limit,
    )
