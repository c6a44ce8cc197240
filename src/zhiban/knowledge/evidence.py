"""What people say about whether an article answers a wording: kept as evidence, one voice for each person.

Wordings of one article that ask the same are one candidate (`phrasing_candidate`); `learning` turns candidates into
phrasings and back. Deciding is pure here: `count` counts the voices, `verdict` says what they amount to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from zhiban.events import Actor, EvidenceRecorded
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries
from zhiban.knowledge.calibrating import follow_evidence
from zhiban.knowledge.corpus_stats import alike
from zhiban.knowledge.document import clean
from zhiban.knowledge.followups import is_follow_up
from zhiban.knowledge.models import ArticleKind, CandidateStatus, EvidenceKind
from zhiban.knowledge.phrasings import LONGEST_PHRASING, knows
from zhiban.knowledge.tokenizer import character_term, fold, is_word, terms

AGREEMENT = 3  # so many more contacts must say yes than no; so many who say no make a phrasing wait again
MOST_A_DAY = 5  # wordings that one contact may speak about in a day; what comes after them is not kept
ASKS_SAME = 0.7  # shared weight over all weight, from which two wordings count together
CONSIDERED = 500  # candidates that a wording is compared with, the newest

_DENIALS = frozenset(map(character_term, "不没别未非莫勿甭"))
_PRIVATE = re.compile(r"\d{5}")  # of an order, a phone, a person: the contact's own matter

Person = tuple[Literal["contact", "agent"], int]


# ------------------------------------------------------------------------------------------------- deciding


@frozen_dataclass
class Voice:
    """What somebody last said about a wording and an article."""

    person: Person
    supports: bool
    at: datetime


@frozen_dataclass
class Count:
    """How many different people say yes and no."""

    contacts_for: int = 0
    contacts_against: int = 0
    agents_for: int = 0
    agents_against: int = 0


def count(own: Iterable[Voice], others: Iterable[Voice] = ()) -> Count:
    """Count every person once, by what they said last. `others` spoke of other articles for the same wording: whoever
    chose one of those speaks against this one."""
    against = (Voice(voice.person, supports=False, at=voice.at) for voice in others if voice.supports)
    last: dict[Person, Voice] = {}
    for voice in sorted((*own, *against), key=lambda voice: (voice.at, not voice.supports)):
        last[voice.person] = voice
    said = [(voice.person[0], voice.supports) for voice in last.values()]
    return Count(
        *(said.count(one) for one in (("contact", True), ("contact", False), ("agent", True), ("agent", False)))
    )


def verdict(status: CandidateStatus, voices: Count, *, approved: bool = False) -> CandidateStatus:
    """What these voices make of a candidate that waits or is active; nothing of any other.

    An agent outweighs contacts, up to the number of them that would be believed without any agent. Agents who say
    different things leave it to an approval, which counts as one agent more.
    """
    ahead = voices.contacts_for - voices.contacts_against
    agents = voices.agents_for + approved - voices.agents_against
    if status is CandidateStatus.WAITING:
        if agents > 0:
            believed = ahead > -AGREEMENT
        else:
            believed = agents == 0 and not voices.agents_against and ahead >= AGREEMENT
        return CandidateStatus.ACTIVE if believed else status
    if status is CandidateStatus.ACTIVE:
        many = voices.contacts_against >= AGREEMENT and ahead <= (-AGREEMENT if agents > 0 else 0)
        return CandidateStatus.WAITING if agents < 0 or many else status
    return status


def asks_same(one: Iterable[int], other: Iterable[int]) -> bool:
    """Whether two wordings, as their terms, count together: alike, and different neither in a denial, nor in a number
    or a word in Latin letters."""
    first, second = frozenset(one), frozenset(other)
    telling = first ^ second
    return not any(term in _DENIALS or is_word(term) for term in telling) and alike(first, second) >= ASKS_SAME


def may_be_learnt(wording: str) -> bool:
    """Whether a wording means something by itself, and to others than who wrote it."""
    if len(wording) > LONGEST_PHRASING or _PRIVATE.search(fold(wording)) or is_follow_up(wording):
        return False
    return bool(terms(wording))


# ------------------------------------------------------------------------------------------------ recording


@frozen_dataclass
class PhrasingCandidate:
    """A wording on its way to be a phrasing of an article."""

    id: int
    base_id: int
    article_id: int
    text: str
    terms: list[int]
    status: str
    phrasing_id: int | None
    approved_at: datetime | None


_CANDIDATE = "select id, base_id, article_id, text, terms, status, phrasing_id, approved_at from phrasing_candidate "


async def lock_base(tx: Transaction, base_id: int) -> None:
    """One at a time changes what is learnt in a base. Nobody holds this lock while they wait for anything else."""
    await tx.value("select pg_advisory_xact_lock(hashtextextended('learning', %(base)s))", base=base_id)


async def record_evidence(
    tx: Transaction,
    article_id: int,
    wording: str,
    *,
    kind: EvidenceKind,
    by: Actor,
    conversation_id: int | None = None,
    now: datetime,
) -> int | None:
    """Keep that a contact or an agent (`by`) said whether the article answers the wording. Returns the candidate's id.

    None when it adds nothing: said before, or nothing that others could ask like this, or more than one contact may say
    in a day, or about an article that is gone. What becomes of it is decided after the commit, see `learning.weigh`.
    """
    asked = clean(wording).strip()
    if by.id is None or by.kind not in ("contact", "agent") or not may_be_learnt(asked):
        return None
    try:
        article = await queries.article(tx, article_id)
    except NotFound:
        return None
    await lock_base(tx, article.base_id)
    own = sorted(set(terms(asked)))
    found = next((one for one in await _of_article(tx, article_id) if asks_same(own, one.terms)), None)
    if by.kind == "contact" and await _said_enough(tx, by.id, found.id if found else 0, now=now):
        return None
    if found is not None:
        candidate_id = found.id
        await _follow_article(tx, found, is_faq=article.kind == ArticleKind.FAQ)
    else:
        known = article.kind != ArticleKind.FAQ or await knows(tx, article_id, asked)
        candidate_id = await tx.value(
            "insert into phrasing_candidate (workspace_id, base_id, article_id, text, terms, status, created_at) "
            "values (%(workspace)s, %(base)s, %(article)s, %(text)s, %(terms)s, %(status)s, %(now)s) returning id",
            workspace=tx.workspace_id,
            base=article.base_id,
            article=article_id,
            text=asked,
            terms=own,
            status=CandidateStatus.KNOWN if known else CandidateStatus.WAITING,
            now=now,
        )
    if not await _speak(tx, candidate_id, asked, kind=kind, by=by, conversation_id=conversation_id, now=now):
        return None
    await follow_evidence(tx, article.base_id, now=now)
    await event_log.append(
        tx,
        EvidenceRecorded(
            actor=by,
            at=now,
            candidate_id=candidate_id,
            article_id=article_id,
            evidence=kind.value,
            supports=kind.supports,
            contact_id=by.id if by.kind == "contact" else None,
            conversation_id=conversation_id,
        ),
    )
    return candidate_id


async def _speak(
    tx: Transaction,
    candidate_id: int,
    wording: str,
    *,
    kind: EvidenceKind,
    by: Actor,
    conversation_id: int | None,
    now: datetime,
) -> bool:
    """A person's voice, new or changed. False when they said the same before."""
    person = "contact_id" if by.kind == "contact" else "agent_id"
    said = await tx.value(
        "insert into phrasing_evidence as e (workspace_id, candidate_id, kind, supports, contact_id, agent_id, "
        "wording, conversation_id, at) values (%(workspace)s, %(candidate)s, %(kind)s, %(supports)s, %(contact)s, "
        f"%(agent)s, %(wording)s, %(conversation)s, %(now)s) on conflict (workspace_id, candidate_id, {person}) "
        "do update set kind = excluded.kind, supports = excluded.supports, wording = excluded.wording, "
        "conversation_id = excluded.conversation_id, at = excluded.at where e.supports <> excluded.supports "
        "returning e.id",
        workspace=tx.workspace_id,
        candidate=candidate_id,
        kind=kind,
        supports=kind.supports,
        contact=by.id if by.kind == "contact" else None,
        agent=by.id if by.kind == "agent" else None,
        wording=wording,
        conversation=conversation_id,
        now=now,
    )
    return said is not None


async def _follow_article(tx: Transaction, of: PhrasingCandidate, *, is_faq: bool) -> None:
    """Whoever edits the article may have written the wording into it, or taken it out again."""
    if of.status == CandidateStatus.KNOWN or (of.status == CandidateStatus.ACTIVE and of.phrasing_id is None):
        known = not is_faq or await knows(tx, of.article_id, of.text)
        await tx.run(
            "update phrasing_candidate set status = %(status)s where id = %(id)s",
            status=CandidateStatus.KNOWN if known else CandidateStatus.WAITING,
            id=of.id,
        )


async def _of_article(tx: Transaction, article_id: int) -> list[PhrasingCandidate]:
    return await tx.objects(
        PhrasingCandidate,
        _CANDIDATE + "where article_id = %(article)s order by id desc limit %(limit)s",
        article=article_id,
        limit=CONSIDERED,
    )


async def _said_enough(tx: Transaction, contact_id: int, candidate_id: int, *, now: datetime) -> bool:
    """Whether a contact has spoken about as many other wordings today as one may."""
    spoken: int = await tx.value(
        "select count(*) from phrasing_evidence where contact_id = %(contact)s and candidate_id <> %(candidate)s "
        "and at > %(since)s",
        contact=contact_id,
        candidate=candidate_id,
        since=now - timedelta(days=1),
    )
    return spoken >= MOST_A_DAY


# -------------------------------------------------------------------------------------------------- reading


async def candidate(tx: Transaction, candidate_id: int) -> PhrasingCandidate:
    """Raises NotFound."""
    found = await tx.object(PhrasingCandidate, _CANDIDATE + "where id = %(id)s", id=candidate_id)
    if found is None:
        raise NotFound(f"There is no wording {candidate_id} to be learnt.")
    return found


async def rivals(tx: Transaction, of: PhrasingCandidate) -> list[PhrasingCandidate]:
    """Candidates of other articles of the base that ask the same."""
    near = await tx.objects(
        PhrasingCandidate,
        _CANDIDATE + "where base_id = %(base)s and article_id <> %(article)s and terms && %(terms)b::integer[] "
        "order by id desc limit %(limit)s",
        base=of.base_id,
        article=of.article_id,
        terms=of.terms,
        limit=CONSIDERED,
    )
    return [one for one in near if asks_same(of.terms, one.terms)]


@frozen_dataclass
class _SpokenAnswer:
    contact_id: int | None
    agent_id: int | None
    supports: bool
    at: datetime

    def voice(self) -> Voice:
        person: Person = ("agent", self.agent_id or 0) if self.contact_id is None else ("contact", self.contact_id)
        return Voice(person, self.supports, self.at)


async def voices(tx: Transaction, candidate_ids: Sequence[int], *, after: datetime | None = None) -> list[Voice]:
    """What people last said about these candidates, or only what they said since `after`."""
    rows = await tx.objects(
        _SpokenAnswer,
        "select contact_id, agent_id, supports, at from phrasing_evidence where candidate_id = any(%(ids)b::bigint[]) "
        "and (%(after)s::timestamptz is null or at > %(after)s)",
        ids=list(candidate_ids),
        after=after,
    )
    return [row.voice() for row in rows]


async def counted(tx: Transaction, of: PhrasingCandidate) -> Count:
    """The voices for and against a candidate. An approval has answered whatever was said before it."""
    others = [one.id for one in await rivals(tx, of)]
    return count(await voices(tx, [of.id], after=of.approved_at), await voices(tx, others, after=of.approved_at))


@frozen_dataclass
class ConfirmedOutcome:
    """Whether an article was the right answer to a question, by people's own word.

    `question` is as they asked it, and means something by itself. `contacts` and `agents` count different people who
    say so; `last_at` is when the last of them did.
    """

    question: str
    article_id: int
    right: bool
    contacts: int
    agents: int
    last_at: datetime


async def outcomes(tx: Transaction, base_id: int, *, since: datetime | None = None) -> list[ConfirmedOutcome]:
    """The confirmed outcomes of a base, oldest first: for each question and article one of those who say that it was
    right, and one of those who say that it was not.

    Right: contacts who chose the article of our suggestions or praised it as an answer, agents who sent or confirmed
    it. Wrong: contacts who said that it did not help. Everybody is counted once for a question and an article, by what
    they said last. Also those that nothing is to be learnt from are told: questions that the article has as phrasings,
    articles that are documents, and what a colleague rejected. `since` leaves out what was said before.
    """
    return await tx.objects(
        ConfirmedOutcome,
        "select c.text as question, c.article_id, e.supports as right, count(e.contact_id) as contacts, "
        "count(e.agent_id) as agents, max(e.at) as last_at from phrasing_candidate c "
        "join phrasing_evidence e on e.workspace_id = c.workspace_id and e.candidate_id = c.id "
        "where c.base_id = %(base)s and (%(since)s::timestamptz is null or e.at >= %(since)s) "
        "group by c.workspace_id, c.id, e.supports order by max(e.at), c.id, e.supports",
        base=base_id,
        since=since,
    )
