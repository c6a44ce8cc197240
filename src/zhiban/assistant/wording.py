"""Words around answers and menus, in the language in which the contact writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zhiban.assistant import answering, intents
from zhiban.assistant.decide import PERSON_CHOICE
from zhiban.assistant.passages import PassageLike
from zhiban.assistant.queries import Chosen
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import cut_bytes, size_of
from zhiban.knowledge.retrieval import Passage
from zhiban.ports import Choice

SOURCES_SHOWN = 3
LABEL_SIZE = 120  # bytes of an entry of a menu: forty Chinese characters


@frozen_dataclass
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
    """The line above a menu and its entries: every entry once, the best first, and a person at the end.

    An entry is an article that answers one question, or a section of a document.
    """
    words = words_for(question)
    entries = {entry.id: entry for entry in map(entry_of, passages)}
    return words.menu_head, (*entries.values(), Choice(PERSON_CHOICE, words.person))


def entry_of(passage: Passage) -> Choice:
    """The entry of a menu that leads to this passage."""
    if passage.answer is not None:
        return Choice(Chosen(passage.article_id).id, cut_bytes(passage.title, LABEL_SIZE))
    return Choice(Chosen(passage.article_id, passage.chunk_id).id, section_label(passage))


def section_label(passage: PassageLike) -> str:
    """What a section is called in a menu: its heading and its first words."""
    first = " ".join(answering.readable(passage.text).split())
    heading = passage.heading_path[-1] if passage.heading_path else ""
    if first.startswith(heading):
        first = first.removeprefix(heading).lstrip(" ：:")
    label = "：".join(filter(None, (heading, first)))
    return label if size_of(label) <= LABEL_SIZE else cut_bytes(label, LABEL_SIZE - 3) + "…"


def sources(citations: Sequence[Mapping[str, Any]], question: str) -> str:
    """What stands below an answer: where it comes from. Empty when nothing is cited."""
    titles = dict.fromkeys(str(citation["title"])[:60] for citation in citations)
    if not titles:
        return ""
    lines = [f"[{number}] {title}" for number, title in enumerate(list(titles)[:SOURCES_SHOWN], start=1)]
    return f"\n\n{words_for(question).sources}" + "\n".join(lines)
