"""Words around answers and menus, in the language in which the contact writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zhiban.assistant import intents

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
    "Talk to a person", "Sources:",
)  # fmt: skip


def words_for(question: str) -> Words:
    return ENGLISH if intents.is_english(question) else CHINESE


def with_sources(reply: str, citations: Sequence[Mapping[str, Any]], question: str) -> str:
    """The answer, and below it where it comes from."""
    titles = dict.fromkeys(str(citation["title"])[:60] for citation in citations)
    if not titles:
        return reply
    lines = [f"[{number}] {title}" for number, title in enumerate(list(titles)[:SOURCES_SHOWN], start=1)]
    return f"{reply}\n\n{words_for(question).sources}" + "\n".join(lines)
