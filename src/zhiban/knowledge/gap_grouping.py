"""Put the questions of gaps where their meaning belongs, after the commit that recorded them.

Every question is placed once, in the order in which they were recorded: into the gap whose wordings are nearest to it
on average, if near enough, else into one of its own. Two open gaps that come near each other become one, the earlier.
What was placed stays, so that whoever looks at the list finds it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.events import SYSTEM, GapMerged, GapQuestionMoved
from zhiban.kit import event_log
from zhiban.kit.db import Database, Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.gap_likeness import meanings
from zhiban.knowledge.gaps import lock, new_gap, recount, reopen_if_wanted
from zhiban.knowledge.models import GapStatus
from zhiban.knowledge.vectors import HalfVector
from zhiban.ports import Embedder

AT_ONCE = 32  # questions of one transaction, for which whoever records another one waits
_MERGES = 5  # gaps that one question may bring together


@frozen_dataclass
class _GapQuestion:
    id: int
    text: str


@frozen_dataclass
class _Placing:
    """A question with its gap: how near it is to the other wordings there (None: none has a vector), and how many
    questions in other words, and in the same, there are."""

    id: int
    text: str
    gap_id: int
    status: str
    cosine: float | None
    others: int
    same: int


@frozen_dataclass
class _Near:
    id: int
    status: str
    cosine: float


async def group_new(
    database: Database, workspace_id: int, embedder: Embedder, *, close: float, most: int, now: datetime
) -> int:
    """Give questions their vectors and place the new ones; `close` is the cosine from which two belong together.

    Returns how many got one, at most about `most`. Raises ModelUnavailable.
    """
    done = 0
    while done < most:
        async with database.transaction(workspace_id) as tx:
            waiting = await tx.objects(
                _GapQuestion,
                "select id, text from gap_question where embedder is distinct from %(embedder)s order by id "
                "limit %(limit)s",
                embedder=embedder.name,
                limit=AT_ONCE,
            )
        if not waiting:
            break
        vectors = await meanings(embedder, [question.text for question in waiting])
        async with database.transaction(workspace_id) as tx:
            await lock(tx)
            for question, vector in zip(waiting, vectors, strict=True):
                await _embedded(tx, question.id, vector, embedder.name, close=close, now=now)
        done += len(waiting)
    return done


async def waits(tx: Transaction, embedder: str) -> bool:
    """Whether a question has no vector of this embedder."""
    found: bool = await tx.value(
        "select exists (select from gap_question where embedder is distinct from %(embedder)s)", embedder=embedder
    )
    return found


async def _embedded(
    tx: Transaction, question_id: int, vector: Sequence[float], embedder: str, *, close: float, now: datetime
) -> None:
    """Keep the vector of a question, and place it when it is the first. It may be gone, or done by another process."""
    row = await tx.row(
        "update gap_question q set vector = %(vector)s::halfvec, embedder = %(embedder)s from gap_question before "
        "where q.id = %(id)s and before.id = q.id and q.embedder is distinct from %(embedder)s "
        "returning q.gap_id, before.embedder is null",
        vector=HalfVector(vector),
        embedder=embedder,
        id=question_id,
    )
    if row is None:
        return
    gap_id, is_new = row
    if is_new:
        gap_id = await _place(tx, question_id, HalfVector(vector), embedder, close=close, now=now)
    await _mean(tx, gap_id, embedder)
    if is_new:
        await _consolidate(tx, gap_id, embedder, close=close, now=now)


async def _place(
    tx: Transaction, question_id: int, vector: HalfVector, embedder: str, *, close: float, now: datetime
) -> int:
    """Where this question belongs. Returns the gap that it is in now."""
    found = await tx.object(
        _Placing,
        "select q.id, q.text, q.gap_id, g.status, (select avg(-(o.vector <#> %(vector)s::halfvec)) from ("
        " select distinct on (w.text) w.vector from gap_question w where w.gap_id = q.gap_id and w.text <> q.text "
        " and w.embedder = %(embedder)s) as o) as cosine, (select count(*) from gap_question w "
        " where w.gap_id = q.gap_id and w.text <> q.text) as others, (select count(*) from gap_question w "
        " where w.gap_id = q.gap_id and w.text = q.text and w.id <> q.id) as same "
        "from gap_question q join gap g on g.workspace_id = q.workspace_id and g.id = q.gap_id where q.id = %(id)s",
        vector=vector,
        embedder=embedder,
        id=question_id,
    )
    assert found is not None
    if found.status == GapStatus.ANSWERED or (found.same and found.others):
        return found.gap_id
    near = await _nearest(tx, vector, embedder, but=found.gap_id, close=close)
    fits = found.cosine is not None and found.cosine >= close
    if fits and found.cosine is not None and all(one.cosine <= found.cosine for one in near):
        return found.gap_id
    asked_now = [one for one in near if one.status != GapStatus.ANSWERED]
    if asked_now and not found.others:
        return await _join(tx, found, asked_now[0], now=now)
    if asked_now:
        return await _move(tx, found, asked_now[0].id, embedder, now=now)
    answered = near[0].id if near else None
    if found.others and found.cosine is not None and not fits:
        return await _move(tx, found, await new_gap(tx, found.text, follows=answered, now=now), embedder, now=now)
    if answered is not None and not found.others:
        await tx.run(
            "update gap set follows = coalesce(follows, %(answered)s) where id = %(id)s",
            answered=answered,
            id=found.gap_id,
        )
    return found.gap_id


async def _nearest(
    tx: Transaction, vector: HalfVector | str, embedder: str, *, but: int, close: float, only_open: bool = False
) -> list[_Near]:
    """The gaps that are near enough, the nearest first; of equal ones the earliest."""
    return await tx.objects(
        _Near,
        "select id, status, cosine from (select id, status, -(vector <#> %(vector)s::halfvec) as cosine from gap "
        " where embedder = %(embedder)s and id <> %(but)s and vector is not null "
        " and status = any(%(statuses)b::text[])) as g where cosine >= %(close)s order by cosine desc, id limit 5",
        vector=vector,
        embedder=embedder,
        but=but,
        close=close,
        statuses=["open"] if only_open else ["open", "dismissed", "answered"],
    )


async def _join(tx: Transaction, found: _Placing, near: _Near, *, now: datetime) -> int:
    """All of a gap asks what another one asks. The earlier stays; one that was dismissed stays so."""
    if found.status == near.status == GapStatus.OPEN and found.gap_id < near.id:
        await _merge(tx, near.id, found.gap_id, now=now)
        return found.gap_id
    await _merge(tx, found.gap_id, near.id, now=now)
    return near.id


async def _move(tx: Transaction, found: _Placing, into: int, embedder: str, *, now: datetime) -> int:
    await tx.run("update gap_question set gap_id = %(into)s where id = %(id)s", into=into, id=found.id)
    moved = GapQuestionMoved(actor=SYSTEM, at=now, gap_id=found.gap_id, into_id=into, question_id=found.id)
    await event_log.append(tx, moved)
    await recount(tx, found.gap_id)
    await _mean(tx, found.gap_id, embedder)
    await recount(tx, into)
    await reopen_if_wanted(tx, into, now=now)
    return into


async def _merge(tx: Transaction, gap_id: int, into: int, *, now: datetime) -> None:
    await tx.run("update gap_question set gap_id = %(into)s where gap_id = %(gap)s", into=into, gap=gap_id)
    await tx.run("update gap set merged_into = %(into)s where merged_into = %(gap)s", into=into, gap=gap_id)
    await tx.run(
        "update gap g set follows = coalesce(g.follows, m.follows) from gap m where g.id = %(into)s and m.id = %(gap)s "
        "and m.follows is distinct from g.id",
        into=into,
        gap=gap_id,
    )
    await tx.run(
        "update gap set status = 'merged', merged_into = %(into)s, follows = null, times = 0, contacts = 0, "
        "vector = null, embedder = null, closed_at = %(now)s where id = %(gap)s",
        into=into,
        gap=gap_id,
        now=now,
    )
    await event_log.append(tx, GapMerged(actor=SYSTEM, at=now, gap_id=gap_id, into_id=into))
    await recount(tx, into)
    await reopen_if_wanted(tx, into, now=now)


async def _mean(tx: Transaction, gap_id: int, embedder: str) -> None:
    """Let the gap's vector be the mean of its wordings', whose product with another is the mean of their cosines."""
    await tx.run(
        "update gap set vector = m.mean, embedder = case when m.mean is null then null else %(embedder)s end from ("
        " select avg(w.vector) as mean from (select distinct on (q.text) q.vector from gap_question q "
        " where q.gap_id = %(gap)s and q.embedder = %(embedder)s) as w) as m where id = %(gap)s",
        gap=gap_id,
        embedder=embedder,
    )


async def _consolidate(tx: Transaction, gap_id: int, embedder: str, *, close: float, now: datetime) -> None:
    """Merge open gaps that have come near this one."""
    for _ in range(_MERGES):
        mean = await tx.value("select vector::text from gap where id = %(id)s and status = 'open'", id=gap_id)
        near = await _nearest(tx, mean, embedder, but=gap_id, close=close, only_open=True) if mean else []
        if not near:
            return
        kept, merged = min(gap_id, near[0].id), max(gap_id, near[0].id)
        await _merge(tx, merged, kept, now=now)
        await _mean(tx, kept, embedder)
        gap_id = kept
