"""Several questions that came before the answer left: each has an entry of its own, and one answer tells them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from zhiban.assistant import answering
from zhiban.knowledge.retrieval import Passage, SearchResult

MOST = 4  # more lines than this are one long message


def questions_in(text: str) -> list[str]:
    """The lines, when they may be several questions; otherwise none."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines if 1 < len(lines) <= MOST else []


def together(each: Sequence[SearchResult]) -> SearchResult:
    """What was found for all of them: the best passage of each first. As sure as the least sure."""
    ranks = zip_longest(*(found.passages for found in each))
    passages = {passage.chunk_id: passage for rank in ranks for passage in rank if passage is not None}
    return replace(min(each, key=lambda found: found.confidence), passages=tuple(passages.values()))


def verbatim(each: Sequence[SearchResult]) -> tuple[str, list[Passage]] | None:
    """The entries' own answers one below the other, and the entries; None when one of them has no fit words."""
    best = {found.passages[0].article_id: found.passages[0] for found in each}
    texts = [answering.verbatim(passage) for passage in best.values()]
    told = [text for text in texts if text is not None]
    return ("\n\n".join(told), list(best.values())) if len(told) == len(texts) else None
