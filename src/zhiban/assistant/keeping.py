"""An agent's reply becomes knowledge: as a new article, or as one more way to ask for one that is there.

Where an open gap asks the same, it is closed by it, through the gap's own verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from zhiban.assistant.private_words import PrivateWords
from zhiban.assistant.reading import bare_questions, questions_in
from zhiban.assistant.suggesting import is_question
from zhiban.conversations.access import access_conversation
from zhiban.conversations.person_replies import person_reply
from zhiban.conversations.queries import ThreadHead
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.gap_queries import GapRow, phrasings_for
from zhiban.knowledge.gaps import open_gap_like
from zhiban.knowledge.kept_replies import lock_reply, note_kept
from zhiban.knowledge.models import SavedFrom
from zhiban.knowledge.phrasings import LONGEST_PHRASING
from zhiban.knowledge.service import MOST_FROM_GAP
from zhiban.knowledge.tokenizer import counts
from zhiban.people.contact_card import contact_card
from zhiban.people.permissions import Access


@frozen_dataclass
class ReplyToKeep:
    """A reply, and the contact's own ways of asking for it, without what is theirs alone.

    `question` is the likeliest; empty where nothing asks, or nothing that others may read.
    """

    message_id: int
    conversation_id: int
    inbox_id: int
    contact: str
    answer: str
    question: str
    similar: tuple[str, ...]
    asked: tuple[int, ...]  # messages of the contact
    private: PrivateWords


async def access_reply(tx: Transaction, access: Access, message_id: int) -> ReplyToKeep:
    """A reply in a conversation that the agent sees. Raises NotFound."""
    found = await person_reply(tx, message_id)
    head = await access_conversation(tx, access, found.conversation_id)
    private = await _private_words(tx, head, [one.text for one in found.said])
    asking = [one.text for one in found.said if is_question(one.text)]
    questions = [asked for text in asking for asked in bare_questions(text)]
    # The last one is what a reply most likely answers; what somebody else would not ask is no wording.
    wordings = list(
        dict.fromkeys(text.strip() for text in [*_pure(questions), *reversed(questions), *reversed(asking)])
    )
    plain = [text for text in wordings if len(text) <= LONGEST_PHRASING and not private.in_text(text)]
    question = plain[0] if plain else ""
    return ReplyToKeep(
        message_id=found.message_id,
        conversation_id=found.conversation_id,
        inbox_id=found.inbox_id,
        contact=head.name,
        answer=private.hidden(found.words),
        question=question,
        similar=_others(plain, question),
        asked=tuple(one.id for one in found.said),
        private=private,
    )


async def _private_words(tx: Transaction, head: ThreadHead, said: Sequence[str]) -> PrivateWords:
    known = [head.name, head.contact_name]
    if head.contact_id is not None:
        card = await contact_card(tx, head.contact_id)
        known += [card.name, card.remark, *(str(card.attributes.get(name, "")) for name in ("phone", "email"))]
    return PrivateWords(known, said)


def _pure(questions: Sequence[str]) -> list[str]:
    """The clause that asks, of the last question."""
    return [lookup for read in questions_in(questions[-1])[:1] for lookup in read.lookups[-1:]] if questions else []


def _others(wordings: Sequence[str], question: str) -> tuple[str, ...]:
    """Those that differ from it, and from each other, in more than spelling."""
    known, others = [counts(question)], []
    for text in wordings:
        if counts(text) not in known:
            known.append(counts(text))
            others.append(text)
    return tuple(others)


async def gap_of(tx: Transaction, reply: ReplyToKeep, wordings: Sequence[str]) -> GapRow | None:
    """The open gap that asks what this reply answers."""
    return await open_gap_like(tx, wordings, message_ids=reply.asked)


async def wordings_to_show(tx: Transaction, reply: ReplyToKeep, gap: GapRow | None) -> tuple[str, ...]:
    """How the contact asked, and others for whom nothing answered it, without what holds anybody's own data."""
    others = await phrasings_for(tx, gap.id, reply.question, most=MOST_FROM_GAP) if gap is not None else ()
    public = [text for text in others if not reply.private.in_text(text)]
    return _others([*reply.similar, *public], reply.question)


async def keep_as_article(
    tx: Transaction,
    reply: ReplyToKeep,
    base_id: int,
    *,
    question: str,
    answer: str,
    similar: tuple[str, ...],
    category: str | None,
    gap_id: int,
    by: Actor,
    now: datetime,
) -> int:
    """Write the article, which learns `similar` and nothing else. `gap_id` is the gap that was shown, 0 for none.

    Returns its id. Raises KeptAlready, Conflict (a text is empty, or it answers another gap than was shown), BaseBusy.
    """
    await lock_reply(tx, reply.message_id)
    gap = await _shown_gap(tx, reply, (question, *similar), gap_id)
    write = (
        partial(knowledge.put_faq, tx)
        if gap is None
        else partial(knowledge.answer_gap, tx, gap.id, learns_wordings=False)
    )
    article_id = await write(
        base_id,
        question=question,
        answer=answer,
        similar=similar,
        category=category,
        origin=SavedFrom.REPLY,
        by=by,
        now=now,
    )
    await note_kept(tx, reply.message_id, article_id, conversation_id=reply.conversation_id, by=by, now=now)
    return article_id


async def keep_as_wordings(
    tx: Transaction,
    reply: ReplyToKeep,
    article_id: int,
    wordings: Sequence[str],
    *,
    gap_id: int,
    by: Actor,
    now: datetime,
) -> None:
    """Let an article that is there be found by these wordings, too, and by no others. Raises KeptAlready, NotFound (no
    article), Conflict (it is a document, has as many phrasings as it may, or it answers another gap than was shown)."""
    await lock_reply(tx, reply.message_id)
    gap = await _shown_gap(tx, reply, wordings, gap_id)
    await knowledge.teach(tx, article_id, wordings, by=by, now=now)
    if gap is not None:
        await knowledge.join_gap(tx, gap.id, article_id, learns_wordings=False, by=by, now=now)
    await note_kept(tx, reply.message_id, article_id, conversation_id=reply.conversation_id, by=by, now=now)


async def _shown_gap(tx: Transaction, reply: ReplyToKeep, wordings: Sequence[str], gap_id: int) -> GapRow | None:
    gap = await gap_of(tx, reply, wordings)
    if (gap.id if gap is not None else 0) != gap_id:
        raise Conflict(mark("It answers another gap than was shown. Look at it again."))
    return gap
