"""Turn what people say about wordings into phrasings, and phrasings that they doubt back; and let colleagues decide.

A candidate is weighed after each new voice, in a job: whether the base answers the wording with something else today
may need the embedder, and nobody who chats waits for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from zhiban.events import ASSISTANT, Actor, PhrasingApproved, PhrasingRejected
from zhiban.kit import event_log
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.knowledge import evidence, queries
from zhiban.knowledge.corpus_stats import alike
from zhiban.knowledge.evidence import PhrasingCandidate, counted, lock_base, verdict
from zhiban.knowledge.models import LEARNT, ArticleKind, CandidateStatus, Origin
from zhiban.knowledge.phrasings import MOST_PHRASINGS, add_phrasing, knows, retire_phrasing
from zhiban.knowledge.retrieval import SEEN, search
from zhiban.knowledge.tokenizer import terms

# The articles of a base (workspace, base) that answer a question directly now, or have nearly this wording.
AnsweredBy = Callable[[int, int, str], Awaitable[Sequence[int]]]

_SAME = 0.999  # likeness of a wording and itself


async def weigh(
    database: Database, workspace_id: int, candidate_id: int, answered_by: AnsweredBy, *, now: datetime
) -> None:
    """Do what the voices amount to: let a candidate be a phrasing, or wait again, and those that it contradicts.

    Never takes a wording away from another article that answers it now: that waits for a colleague.
    """
    async with database.transaction(workspace_id) as tx:
        found = await _there(tx, candidate_id)
        if found is None:
            return
        contradicted = [one.id for one in await evidence.rivals(tx, found) if one.status == CandidateStatus.ACTIVE]
    await _weigh(database, workspace_id, found.id, answered_by, now=now)
    for other in contradicted:
        await _weigh(database, workspace_id, other, answered_by, now=now)


async def _weigh(
    database: Database, workspace_id: int, candidate_id: int, answered_by: AnsweredBy, *, now: datetime
) -> None:
    async with database.transaction(workspace_id) as tx:
        found = await _there(tx, candidate_id)
        wording = await _wording(tx, found) if found is not None else ""
        learns = found is not None and await _verdict(tx, found) is CandidateStatus.ACTIVE != found.status
    if found is None:
        return
    taken = [one for one in await answered_by(workspace_id, found.base_id, wording) if one != found.article_id] \
        if learns else []  # fmt: skip
    async with database.transaction(workspace_id) as tx:
        await lock_base(tx, found.base_id)
        now_found = await _there(tx, candidate_id)
        if now_found is None:
            return
        decided = await _verdict(tx, now_found)
        if decided == now_found.status:
            return
        if decided is CandidateStatus.WAITING:
            await _doubt(tx, now_found, now=now)
        elif taken:
            await _set(tx, now_found.id, answered_by=taken[0])
        elif learns:
            await _learn(tx, now_found, wording, now=now)


async def _there(tx: Transaction, candidate_id: int) -> PhrasingCandidate | None:
    """The candidate, unless its article was removed meanwhile."""
    try:
        return await evidence.candidate(tx, candidate_id)
    except NotFound:
        return None


async def _verdict(tx: Transaction, found: PhrasingCandidate) -> CandidateStatus:
    status = CandidateStatus(found.status)
    return verdict(status, await counted(tx, found), approved=found.approved_at is not None)


async def _wording(tx: Transaction, found: PhrasingCandidate) -> str:
    """Of all that was asked, what is most like the rest; of several, what was asked first."""
    asked = await tx.values(
        "select wording from phrasing_evidence where candidate_id = %(id)s and supports order by id", id=found.id
    )
    if not asked:
        return found.text
    read = [frozenset(terms(wording)) for wording in asked]
    shared = [sum(alike(own, other) for other in read) for own in read]
    text: str = asked[shared.index(max(shared))]
    return text


async def _learn(tx: Transaction, found: PhrasingCandidate, wording: str, *, now: datetime) -> None:
    if await knows(tx, found.article_id, wording):
        await _set(tx, found.id, status=CandidateStatus.KNOWN)
        return
    agent_id: int | None = await tx.value(
        "select agent_id from phrasing_evidence where candidate_id = %(id)s and supports and agent_id is not null "
        "order by id desc limit 1",
        id=found.id,
    )
    source, by = (Origin.CLICK, ASSISTANT) if agent_id is None else (Origin.AGENT, Actor("agent", agent_id))
    phrasing_id = await add_phrasing(tx, found.article_id, wording, source=source, by=by, now=now)
    if phrasing_id is not None:
        await _set(tx, found.id, status=CandidateStatus.ACTIVE, phrasing_id=phrasing_id, text=wording)


async def _doubt(tx: Transaction, found: PhrasingCandidate, *, now: datetime) -> None:
    if found.phrasing_id is not None:
        await retire_phrasing(tx, found.phrasing_id, reason="doubted", by=ASSISTANT, now=now)
    await _set(tx, found.id, status=CandidateStatus.WAITING)
    await tx.run("update phrasing_candidate set approved_at = null where id = %(id)s", id=found.id)


async def _set(
    tx: Transaction,
    candidate_id: int,
    *,
    status: CandidateStatus = CandidateStatus.WAITING,
    phrasing_id: int | None = None,
    text: str | None = None,
    answered_by: int | None = None,
) -> None:
    await tx.run(
        "update phrasing_candidate set status = %(status)s, phrasing_id = %(phrasing)s, answered_by = %(answered)s, "
        "text = coalesce(%(text)s, text) where id = %(id)s",
        status=status,
        phrasing=phrasing_id,
        answered=answered_by,
        text=text,
        id=candidate_id,
    )


# ------------------------------------------------------------------------------------------------ colleagues


async def approve_phrasing(tx: Transaction, candidate_id: int, *, by: Actor, now: datetime) -> PhrasingCandidate:
    """Let a wording lead to its article, whatever was said about it before. Raises NotFound, Conflict.

    Conflict: the article is a document or has as many phrasings as it may, or another one has this very wording.
    """
    found = await _locked(tx, candidate_id)
    if found.status in (CandidateStatus.ACTIVE, CandidateStatus.KNOWN):
        return found
    article = await queries.article(tx, found.article_id)
    if article.kind != ArticleKind.FAQ:
        raise Conflict("Only an article with a question and an answer can learn wordings.")
    for passage in (await search(tx, found.base_id, found.text, top_k=SEEN)).passages:
        if passage.article_id != found.article_id and passage.answer is not None and passage.likeness >= _SAME:
            raise Conflict(f"Another article has this wording already: {passage.title}")
    phrasing_id = None
    if not await knows(tx, found.article_id, found.text):
        phrasing_id = await add_phrasing(tx, found.article_id, found.text, source=Origin.AGENT, by=by, now=now)
        if phrasing_id is None:
            raise Conflict(f"The article has {MOST_PHRASINGS} phrasings, and no more are kept.")
    status = CandidateStatus.KNOWN if phrasing_id is None else CandidateStatus.ACTIVE
    await _set(tx, found.id, status=status, phrasing_id=phrasing_id)
    await _decided(tx, found.id, by=by, now=now)
    await tx.run("update phrasing_candidate set approved_at = %(now)s where id = %(id)s", now=now, id=found.id)
    await event_log.append(
        tx,
        PhrasingApproved(actor=by, at=now, candidate_id=found.id, article_id=found.article_id, phrasing=found.text),
    )
    return await evidence.candidate(tx, candidate_id)


async def reject_phrasing(tx: Transaction, candidate_id: int, *, by: Actor, now: datetime) -> PhrasingCandidate:
    """Undo a wording that was learnt, or refuse one that waits: no evidence brings it back.

    Raises NotFound, Conflict (the wording was written into the article, or was there from the beginning).
    """
    found = await _locked(tx, candidate_id)
    if found.status == CandidateStatus.REJECTED:
        return found
    if found.phrasing_id is None and await knows(tx, found.article_id, found.text):
        raise Conflict("The article has this wording of its own. Change the article to remove it.")
    if found.phrasing_id is not None:
        await retire_phrasing(tx, found.phrasing_id, reason="rejected", by=by, now=now)
    await _set(tx, found.id, status=CandidateStatus.REJECTED)
    await _decided(tx, found.id, by=by, now=now)
    await tx.run("update phrasing_candidate set approved_at = null where id = %(id)s", id=found.id)
    await event_log.append(
        tx,
        PhrasingRejected(actor=by, at=now, candidate_id=found.id, article_id=found.article_id, phrasing=found.text),
    )
    return await evidence.candidate(tx, candidate_id)


async def remove_phrasing(tx: Transaction, phrasing_id: int, *, by: Actor, now: datetime) -> None:
    """Take a wording away that an article was taught. Raises NotFound, Conflict (it was written into the article)."""
    found = await queries.phrasing(tx, phrasing_id)
    if found.origin not in LEARNT:
        raise Conflict("The article has this wording of its own. Change the article to remove it.")
    candidate_id: int | None = await tx.value(
        "select id from phrasing_candidate where phrasing_id = %(id)s", id=phrasing_id
    )
    if candidate_id is None:  # a colleague gave it from a gap
        await retire_phrasing(tx, phrasing_id, reason="rejected", by=by, now=now)
    else:
        await reject_phrasing(tx, candidate_id, by=by, now=now)


async def _locked(tx: Transaction, candidate_id: int) -> PhrasingCandidate:
    found = await evidence.candidate(tx, candidate_id)
    await lock_base(tx, found.base_id)
    return await evidence.candidate(tx, candidate_id)


async def _decided(tx: Transaction, candidate_id: int, *, by: Actor, now: datetime) -> None:
    await tx.run(
        "update phrasing_candidate set decided_by_kind = %(kind)s, decided_by = %(by)s, decided_by_name = %(name)s, "
        "decided_at = %(now)s where id = %(id)s",
        kind=by.kind,
        by=by.id,
        name=by.ref,
        now=now,
        id=candidate_id,
    )
