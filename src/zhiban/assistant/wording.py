"""Words around answers and menus, in the language in which the contact writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zhiban.assistant import intents
from zhiban.assistant.decide import PERSON_CHOICE
from zhiban.knowledge.retrieval import Passage
from zhiban.ports import Choice

SOURCES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Words:
    menu_head: str
    menu_foot: str
    person: str
    sources: str


CHINESE = Words("您是不是想问：", "都不是的话，请换个说法，或点“转人工”。", "转人工", "参考：")
ENGLISH = Words(
    "Did you mean:", "If it is none of these, please ask in other words or tap “Talk to a person”.",
    "Talk to a person", "Sources: ",
)  # fmt: skip


def words_for(question: str) -> Words:
    return ENGLISH if intents.is_english(question) else CHINESE


def menu(passages: Sequence[Passage], question: str) -> tuple[str, tuple[Choice, ...]]:
    """The line above a menu and its entries: every article once, the best first, and a person at the end."""
    entries = {passage.article_id: passage for passage in reversed(passages)}
    ordered = sorted(entries.values(), key=lambda passage: -passage.score)
    words = words_for(question)
    choices = [Choice(f"a:{passage.article_id}", passage.title[:40]) for passage in ordered]
    return words.menu_head, (*choices, Choice(PERSON_CHOICE, words.person))


def sources(citations: Sequence[Mapping[str, Any]], question: str) -> str:
    """What stands below an answer: where it comes from. Empty when nothing is cited."""
    titles = dict.fromkeys(str(citation["title"])[:60] for citation in citations)
    if not titles:
        return ""
    lines = [f"[{number}] {title}" for number, title in enumerate(list(titles)[:SOURCES_SHOWN], start=1)]
    return f"\n\n{words_for(question).sources}" + "\n".join(lines)
