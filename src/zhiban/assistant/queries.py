"""What the assistant reads of a conversation before it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zhiban.assistant.decide import PERSON_CHOICE
from zhiban.assistant.passages import PlainPassage
from zhiban.assistant.prompt import HistoryLine
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.knowledge import queries as knowledge

HISTORY = 12  # messages that count as recent

_RECENT = """
select m.direction, m.author, m.text, m.content, t.question, t.citations
from message m left join turn t on t.workspace_id = m.workspace_id and t.id = m.turn_id
where m.conversation_id = %(conversation)s and m.kind in ('text', 'menu', 'markdown')
  and m.state in ('handled', 'queued', 'sent', 'stored') and m.direction <> 'internal' and m.recalled_at is null
  and m.id < %(before)s
order by m.id desc limit %(limit)s"""


@dataclass(frozen=True, slots=True)
class _Recent:
    """A message, with what its turn was asked and cited when the assistant wrote it."""

    direction: str
    author: str
    text: str
    content: dict[str, Any]
    question: str | None
    citations: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Memory:
    """The recent conversation, oldest first."""

    said: tuple[HistoryLine, ...]
    questions: tuple[str, ...]  # the contact's earlier questions and what was answered last: context for a follow-up
    offered: dict[str, dict[str, Any]]  # choices of our last menu, by id
    offered_question: str  # the question that led to that menu
    person_offered: bool


async def remember(tx: Transaction, conversation_id: int, *, before: int) -> Memory:
    """What was said before the message `before`."""
    rows = await tx.objects(_Recent, _RECENT, conversation=conversation_id, before=before, limit=HISTORY)
    rows.reverse()
    offered, offered_question = _offer(rows)
    return Memory(
        said=tuple(HistoryLine(_who(row), row.text) for row in rows if row.text.strip()),
        questions=_questions(rows),
        offered=offered,
        offered_question=offered_question,
        person_offered=PERSON_CHOICE in offered,
    )


def _who(row: _Recent) -> Literal["contact", "assistant", "agent"]:
    if row.direction == "in":
        return "contact"
    return "assistant" if row.author == "assistant" else "agent"


def _offer(rows: Sequence[_Recent]) -> tuple[dict[str, dict[str, Any]], str]:
    """The menu that we offered last, if nothing of ours came after it."""
    for row in reversed(rows):
        if row.direction == "out":
            choices = {choice["id"]: choice for choice in row.content.get("choices", ())}
            return choices, row.question or "" if choices else ""
    return {}, ""


def _questions(rows: Sequence[_Recent]) -> tuple[str, ...]:
    """The contact's last questions, then the titles of what was answered last."""
    asked = [row.text for row in rows if row.direction == "in" and row.text.strip()][-3:]
    for row in reversed(rows):
        if row.direction == "out":
            asked += [citation["title"] for citation in (row.citations or ())[:1]]
            break
    return tuple(asked)


async def entry(tx: Transaction, article_id: int) -> PlainPassage | None:
    """An article as a passage, when its own words are to be said. None when it was removed meanwhile."""
    try:
        article = await knowledge.article(tx, article_id)
    except NotFound:
        return None
    text = ""
    if article.answer is None:
        text = "\n".join(chunk.text for chunk in await knowledge.chunks(tx, [article_id]))
    return PlainPassage(article.title, text, article.answer, (), article.source_name)
