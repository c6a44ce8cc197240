"""What the assistant would say, for the agent who has the conversation. Shown, never sent by itself."""

from __future__ import annotations

from zhiban.assistant import answering, finding, intents
from zhiban.assistant.finding import Found
from zhiban.assistant.person_requests import asks_for_person
from zhiban.assistant.queries import remember
from zhiban.assistant.reading import questions_in
from zhiban.assistant.searching import Searcher
from zhiban.channels.policy import Policy
from zhiban.kit.db import Database
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.retrieval import ConfidenceBand
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

TRIED = 3  # of the contact's last words
LONGEST = 400  # characters of them that are read

# The contact's words since a person last answered, newest first. What was tapped in our menu is no question.
_ASKED = """
select m.id, m.text from message m
where m.conversation_id = %(id)s and m.direction = 'in' and m.author = 'contact' and m.kind = 'text'
  and m.choice is null and m.recalled_at is null and m.id > coalesce((select max(o.id) from message o
    where o.conversation_id = m.conversation_id and o.direction = 'out' and o.author <> 'assistant'), 0)
order by m.id desc limit 12"""


@frozen_dataclass
class _Asked:
    id: int
    text: str


@frozen_dataclass
class Source:
    """Where an answer came from."""

    title: str
    url: str | None = None


@frozen_dataclass
class Suggestion:
    """What the assistant would say. Never sent by itself."""

    text: str
    sources: tuple[Source, ...] = ()
    sure: int | None = None
    article_id: int = 0
    message_id: int = 0  # of the contact, which it answers

    @property
    def ref(self) -> str:
        """Names what it answers with what, see `learning.SuggestionRef`."""
        return f"{self.article_id}:{self.message_id}"


def percent(confidence: float | None) -> int | None:
    """For people to read, 0 to 99: a search is never certain, whatever its score says."""
    return None if confidence is None else min(99, round(max(0.0, confidence) * 100))


def is_question(text: str) -> bool:
    """Whether knowledge may have something to say to it: not politeness, complaint, or the wish for a person."""
    bare = text.strip()
    return not (not bare or intents.small_talk(bare) or asks_for_person(bare) or intents.only_complains(bare))


class Suggester:
    """Looks into the knowledge for words that an agent may adopt: the best entry's own, so that nothing is made up
    and nothing is spent."""

    def __init__(self, database: Database, *, threshold: float | None, embedders: Embedders = NO_EMBEDDERS) -> None:
        self._database = database
        self._searcher = Searcher(embedders, top_k=1, threshold=threshold)

    async def suggest(self, workspace_id: int, conversation_id: int) -> Suggestion | None:
        """An answer to the contact's last question, or None when the knowledge has none."""
        async with self._database.transaction(workspace_id) as tx:
            asked = await tx.objects(_Asked, _ASKED, id=conversation_id)
            inbox_id = await tx.value("select inbox_id from conversation where id = %(id)s", id=conversation_id)
        if inbox_id is None:
            return None
        for message in [message for message in asked if is_question(message.text)][:TRIED]:
            for found in await self._find(workspace_id, conversation_id, inbox_id, message):
                if found.zone is not ConfidenceBand.HANDOFF and found.result.passages:
                    best = found.result.passages[0]
                    words = answering.verbatim(best)
                    if words is not None:
                        sure = percent(found.result.confidence)
                        return Suggestion(words, (Source(best.title),), sure, best.article_id, message.id)
        return None

    async def _find(self, workspace_id: int, conversation_id: int, inbox_id: int, message: _Asked) -> tuple[Found, ...]:
        """What is found for the first question of a message; while vectors are waited for, no transaction is open."""
        async with self._database.transaction(workspace_id) as tx:
            memory = await remember(tx, conversation_id, before=message.id)
            plans = finding.plan(questions_in(message.text[:LONGEST])[:1], memory)
            if not plans:
                return ()
            begun = await self._searcher.begin(tx, await knowledge.base_for(tx, inbox_id), plans)
        vectors = await begun.vectors()
        async with self._database.transaction(workspace_id) as tx:
            return await self._searcher.find(tx, begun, vectors, Policy())
