"""What an agent looks up in the knowledge to put into what they write: found by words and by meaning, without a model,
and said as contacts read it."""

from __future__ import annotations

from zhiban.assistant.answering import readable
from zhiban.assistant.learning import SuggestionRef, wording_of
from zhiban.assistant.queries import Chosen, entry
from zhiban.assistant.suggesting import open_questions
from zhiban.conversations import groups
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries as knowledge
from zhiban.knowledge import retrieval, service
from zhiban.knowledge.article_lists import article_lines, openings
from zhiban.knowledge.queries import BaseRow
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders
from zhiban.ports import Limits

SHOWN = 8  # entries at once; who misses one types another word
LONGEST = 200  # characters that are looked up
MOST_PARTS = 3  # messages that one entry may take; a longer one is more than anybody reads in a chat
_OPENING = 160  # characters of an entry that are shown before it is chosen
_ENDS = "。！？!?；\n"


@frozen_dataclass
class FoundEntry:
    """An entry, or a section of a document, with its first words. `under`: the headings that a section stands under."""

    article_id: int
    chunk_id: int
    title: str
    opening: str
    source_name: str | None
    under: tuple[str, ...] = ()


@frozen_dataclass
class FoundEntries:
    """What the base of the conversation's inbox has. `asked` is the contact's question, where that was looked up;
    `base` is None where the inbox has no base, and a base without `articles` has nothing to be found. `by_words`: an
    embedder behind a network was left out, which might find more."""

    base: BaseRow | None
    articles: bool
    entries: tuple[FoundEntry, ...] = ()
    asked: str = ""
    by_words: bool = False


@frozen_dataclass
class Insertion:
    """The words of an entry. `ref` names what they answer, for `learning.SuggestionRef`; empty when that is unclear."""

    title: str
    text: str
    ref: str


def cut(text: str, limits: Limits, *, left: int | None) -> tuple[str, bool]:
    """As much of the text as goes out in a few messages, at most as many as are `left`, up to the end of a sentence,
    and whether something had to be left out."""
    parts = limits.parts(text)
    most = MOST_PARTS if left is None else max(1, min(left, MOST_PARTS))
    if len(parts) <= most:
        return text, False
    kept = "".join(parts[:most])
    end = max(kept.rfind(sign) for sign in _ENDS) + 1
    return kept[: end if end > len(kept) // 2 else len(kept)].rstrip(), True


class EntrySearch:
    """Looks into the base that answers in a conversation: its inbox's, or its group's own."""

    def __init__(self, database: Database, embedders: Embedders = NO_EMBEDDERS) -> None:
        self._database = database
        self._embedders = embedders

    async def search(
        self, workspace_id: int, conversation_id: int, inbox_id: int, text: str, *, typing: bool = False
    ) -> FoundEntries:
        """The entries that fit `text`; without any those that fit what the contact asked last, or the newest ones.

        While somebody is `typing`, no embedder behind a network is asked: each pause would cost money and time.
        """
        typed = " ".join(text.split())[:LONGEST]
        async with self._database.transaction(workspace_id) as tx:
            base = await service.base_of_inbox(tx, inbox_id, chosen=await groups.base_of(tx, conversation_id))
            if base is None or not base.bodies:
                return FoundEntries(base, False)
            questions = [] if typed else await open_questions(tx, conversation_id)
        asked = " ".join(questions[0].text.split())[:LONGEST] if questions else ""
        by_words = typing and bool(typed) and self._embedders.asks_remotely(base.embedder, typed)
        embedders = NO_EMBEDDERS if by_words else self._embedders
        found = await self._found(workspace_id, base, typed or asked, embedders) if typed or asked else []
        if len(found) < SHOWN and not asked:
            found += await self._listed(workspace_id, base, typed, {one.article_id for one in found})
        return FoundEntries(base, True, tuple(found[:SHOWN]), asked if found else "", by_words)

    async def _found(self, workspace_id: int, base: BaseRow, text: str, embedders: Embedders) -> list[FoundEntry]:
        async def known(_tx: Transaction) -> int:
            return base.id

        result = await retrieval.find(
            lambda: self._database.transaction(workspace_id), known, text, embedders=embedders, top_k=SHOWN
        )
        return [
            FoundEntry(
                one.article_id,
                one.chunk_id,
                one.title,
                _opening(one.answer or one.text),
                one.source_name,
                () if one.answer else one.heading_path,
            )
            for one in result.passages
        ]

    async def _listed(self, workspace_id: int, base: BaseRow, text: str, known: set[int]) -> list[FoundEntry]:
        """Those whose title or wording holds what was typed, also half a word; without any, the newest."""
        async with self._database.transaction(workspace_id) as tx:
            lines = await article_lines(tx, base.id, text=text, limit=SHOWN)
            rows = await openings(tx, [one.id for one in lines if one.id not in known])
        return [
            FoundEntry(one.article_id, one.chunk_id, one.title, _opening(one.text), one.source_name) for one in rows
        ]

    async def entry(
        self, workspace_id: int, conversation_id: int, inbox_id: int, *, article_id: int, chunk_id: int
    ) -> Insertion:
        """The words of what was chosen. Raises NotFound when it is gone, or is in another base than the inbox's."""
        async with self._database.transaction(workspace_id) as tx:
            base = await service.base_of_inbox(tx, inbox_id, chosen=await groups.base_of(tx, conversation_id))
            article = await knowledge.article(tx, article_id)
            passage = await entry(tx, Chosen(article_id, chunk_id))
            if base is None or article.base_id != base.id or passage is None:
                raise NotFound("There is no such article.")
            asked = [one for one in await open_questions(tx, conversation_id) if wording_of(one.text) is not None]
        # Of several open questions nobody knows which one it answers.
        ref = SuggestionRef(article_id, asked[0].id).written if len(asked) == 1 else ""
        return Insertion(article.title, readable(passage.answer or passage.text), ref)


def _opening(text: str) -> str:
    words = " ".join(readable(text[: 4 * _OPENING]).split())
    return words if len(words) <= _OPENING else words[: _OPENING - 1] + "…"
