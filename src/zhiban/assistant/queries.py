"""What the assistant reads of a conversation before it answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from zhiban.assistant.decide import PERSON_CHOICE
from zhiban.assistant.passages import PlainPassage
from zhiban.assistant.prompt import HistoryLine
from zhiban.conversations.quotes import WITHOUT_LINK
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.knowledge import queries as knowledge

HISTORY = 12  # messages that count as recent
_LAST_WORDS = 6  # of them, when it is about what was just answered

_RECENT = f"""
select m.direction, m.author, {WITHOUT_LINK} as text, m.content, t.question, t.decision, t.citations
from message m left join turn t on t.workspace_id = m.workspace_id and t.id = m.turn_id
where m.conversation_id = %(conversation)s and m.kind in ('text', 'menu', 'markdown')
  and m.state in ('handled', 'queued', 'sent', 'stored') and m.direction <> 'internal' and m.recalled_at is null
  and m.id < %(before)s
order by m.id desc limit %(limit)s"""


@frozen_dataclass
class _Recent:
    """A message, with what its turn was asked and cited when the assistant wrote it."""

    direction: str
    author: str
    text: str
    content: dict[str, Any]
    question: str | None
    decision: str | None
    citations: list[dict[str, Any]] | None


@frozen_dataclass
class AnsweredQuestion:
    """A question of the contact that the assistant answered with one article."""

    question: str
    article_id: int


@frozen_dataclass
class Memory:
    """The recent conversation, oldest first."""

    said: tuple[HistoryLine, ...]
    questions: tuple[str, ...]  # the contact's earlier questions and what was answered last: context for a follow-up
    answered: str  # the title of what was answered last
    offered: dict[str, dict[str, Any]]  # choices of our last menu, by id
    offered_question: str  # the question that led to that menu
    person_offered: bool
    just_answered: AnsweredQuestion | None = None  # by the last message of all, if it was an answer


async def remember(tx: Transaction, conversation_id: int, *, before: int) -> Memory:
    """What was said before the message `before`."""
    rows = await tx.objects(_Recent, _RECENT, conversation=conversation_id, before=before, limit=HISTORY)
    rows.reverse()
    offered, offered_question = _offer(rows)
    return Memory(
        said=tuple(HistoryLine(_who(row), row.text) for row in rows if row.text.strip()),
        questions=_questions(rows),
        answered=_answered(rows),
        offered=offered,
        offered_question=offered_question,
        person_offered=PERSON_CHOICE in offered,
        just_answered=_just_answered(rows),
    )


def _who(row: _Recent) -> Literal["contact", "assistant", "agent"]:
    if row.direction == "in":
        return "contact"
    return "assistant" if row.author in ("assistant", "flow") else "agent"


def _offer(rows: Sequence[_Recent]) -> tuple[dict[str, dict[str, Any]], str]:
    """The menu that we offered last, if nothing of ours came after it."""
    for row in reversed(rows):
        if row.direction == "out":
            choices = {choice["id"]: choice for choice in row.content.get("choices", ())}
            return choices, row.question or "" if choices else ""
    return {}, ""


def _questions(rows: Sequence[_Recent]) -> tuple[str, ...]:
    """The contact's last questions, then the title of what was answered last."""
    asked = [row.text for row in rows if row.direction == "in" and row.text.strip()][-3:]
    return (*asked, *filter(None, (_answered(rows[-_LAST_WORDS:]),)))


def _just_answered(rows: Sequence[_Recent]) -> AnsweredQuestion | None:
    """What the last message answered. Of a menu's entry that was chosen, the question that led to the menu."""
    if not rows or rows[-1].direction != "out" or rows[-1].decision != "Answer":
        return None
    articles = {int(citation["article_id"]) for citation in rows[-1].citations or ()}
    if len(articles) != 1 or not rows[-1].question:
        return None
    (article_id,) = articles
    before = next((row for row in reversed(rows) if row.direction == "out" and row.question != rows[-1].question), None)
    offered = {choice["id"]: choice["label"] for choice in before.content.get("choices", ())} if before else {}
    chosen = offered.get(Chosen(article_id).id) == rows[-1].question
    return AnsweredQuestion(before.question or "" if before and chosen else rows[-1].question, article_id)


def _answered(rows: Sequence[_Recent]) -> str:
    cited = (row.citations for row in reversed(rows) if row.direction == "out" and row.citations)
    return next((str(citations[0]["title"]) for citations in cited), "")


@frozen_dataclass
class Chosen:
    """What a menu entry stands for: an article, or one section of it."""

    article_id: int
    chunk_id: int | None = None

    @property
    def id(self) -> str:
        return f"a:{self.article_id}" if self.chunk_id is None else f"a:{self.article_id}:{self.chunk_id}"

    @classmethod
    def parse(cls, choice: str | None) -> Chosen | None:
        """The entry that this id means; None when it is no entry of knowledge."""
        found = _CHOICE.fullmatch(choice or "")
        return cls(int(found[1]), int(found[2]) if found[2] else None) if found else None


_CHOICE = lazy_pattern(r"a:(\d{1,18})(?::(\d{1,18}))?", re.ASCII)


async def entry(tx: Transaction, chosen: Chosen) -> PlainPassage | None:
    """What was chosen as a passage, when its own words are to be said. None when it was removed meanwhile."""
    try:
        article = await knowledge.article(tx, chosen.article_id)
    except NotFound:
        return None
    if article.answer is not None:
        return PlainPassage(article.title, "", article.answer, (), article.source_name)
    chunks = await knowledge.chunks(tx, [chosen.article_id])
    section = [chunk for chunk in chunks if chunk.id == chosen.chunk_id]
    if chosen.chunk_id is not None and not section:
        return None
    heading = tuple(section[0].heading_path) if section else ()
    text = "\n".join(chunk.text for chunk in section or chunks)
    return PlainPassage(article.title, text, None, heading, article.source_name)


async def contact_words(tx: Transaction, conversation_id: int, message_id: int) -> str | None:
    """What the contact wrote in this message of the conversation; None when there is no such message."""
    text: str | None = await tx.value(
        "select text from message where conversation_id = %(conversation)s and id = %(id)s and direction = 'in' "
        "and author = 'contact' and recalled_at is null",
        conversation=conversation_id,
        id=message_id,
    )
    return text


_SUGGESTED = """
select t.question, (
         select min(m.id) from message m where m.workspace_id = t.workspace_id and m.turn_id = t.id
           and m.direction = 'in') as message_id, (
         select m.content -> 'choices' from message m where m.workspace_id = t.workspace_id and m.turn_id = t.id
           and m.direction = 'out' order by m.id desc limit 1) as choices, n.citations as answered
  from turn t left join lateral (
         select n.citations from turn n where n.workspace_id = t.workspace_id and n.conversation_id = t.conversation_id
           and n.id > t.id and n.decision not in ('SmallTalk', 'NoReply') order by n.id limit 1) n on true
 where t.conversation_id = %(conversation)s and t.decision = 'Suggest' and (%(since)s::bigint is null or t.id >= (
         select m.turn_id from message m where m.workspace_id = t.workspace_id and m.id = %(since)s))
 order by t.id desc limit %(limit)s"""


@frozen_dataclass
class _Suggested:
    question: str
    message_id: int | None
    choices: list[dict[str, Any]] | None
    answered: list[dict[str, Any]] | None

    @property
    def taken(self) -> bool:
        """Whether what was told next is one of the entries that were offered: tapped, by its number or its words."""
        offered = {found.article_id for choice in self.choices or () if (found := Chosen.parse(choice["id"]))}
        return any(citation["article_id"] in offered for citation in self.answered or ())


@frozen_dataclass
class Untapped:
    """A question whose suggestions were none of what the contact meant."""

    question: str
    message_id: int | None


async def untapped(tx: Transaction, conversation_id: int, *, limit: int = 5) -> list[Untapped]:
    """The newest questions that got a menu and then nothing of it, however it went on."""
    rows = await tx.objects(_Suggested, _SUGGESTED, conversation=conversation_id, since=None, limit=limit)
    return [Untapped(row.question, row.message_id) for row in rows if not row.taken]


async def took_an_entry_since(tx: Transaction, conversation_id: int, message_id: int) -> bool:
    """Whether the contact chose an entry of a menu after this message: then that was its answer."""
    if await tx.value(
        "select exists (select from message where conversation_id = %(conversation)s and id > %(id)s "
        "and direction = 'in' and author = 'contact' and choice like 'a:%%')",
        conversation=conversation_id,
        id=message_id,
    ):
        return True
    rows = await tx.objects(_Suggested, _SUGGESTED, conversation=conversation_id, since=message_id, limit=5)
    return any(row.taken for row in rows)
