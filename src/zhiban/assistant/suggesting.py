"""What the assistant would say, for the agent who has the conversation. Shown, never sent by itself."""

from __future__ import annotations

from zhiban.assistant import answering, finding, intents
from zhiban.assistant.decide import Facts, Pending, TurnDecision, decide
from zhiban.assistant.finding import Found
from zhiban.assistant.person_requests import asks_for_person
from zhiban.assistant.queries import remember
from zhiban.assistant.reading import questions_in
from zhiban.assistant.searching import Searcher
from zhiban.channels.inboxes import settings_of
from zhiban.channels.policy import Policy
from zhiban.conversations import groups
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.retrieval import ConfidenceBand, Passage
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders
from zhiban.ports import Kind

TRIED = 3  # of the contact's last words
LONGEST = 400  # characters of them that are read

# The contact's words since a person last answered, newest first. What was tapped in our menu is no question.
_ASKED = """
select m.id, m.text from message m
where m.conversation_id = %(id)s and m.direction = 'in' and m.author = 'contact' and m.kind = 'text'
  and m.choice is null and m.recalled_at is null and m.id > coalesce((select max(o.id) from message o
    where o.conversation_id = m.conversation_id and o.direction = 'out' and o.author not in ('assistant', 'flow')), 0)
order by m.id desc limit 12"""


@frozen_dataclass
class OpenQuestion:
    """A message of the contact that asks something, and that no person has answered."""

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


async def open_questions(tx: Transaction, conversation_id: int) -> list[OpenQuestion]:
    """What the contact asked since a person last answered, the newest first."""
    found = await tx.objects(OpenQuestion, _ASKED, id=conversation_id)
    return [message for message in found if is_question(message.text)]


@frozen_dataclass
class LookedUp:
    """A message of the contact that was looked up, and what the knowledge found for it."""

    message_id: int
    text: str
    found: Found

    @property
    def best(self) -> Passage | None:
        """What is suggested from, if it has words of its own that an agent may adopt."""
        passages = self.found.result.passages
        return passages[0] if self.found.zone is not ConfidenceBand.HANDOFF and passages else None

    def suggestion(self) -> Suggestion | None:
        words = answering.verbatim(self.best) if self.best is not None else None
        if self.best is None or words is None:
            return None
        sure = percent(self.found.result.confidence)
        return Suggestion(words, (Source(self.best.title),), sure, self.best.article_id, self.message_id)


@frozen_dataclass
class SuggestionReasons:
    """Why something was suggested to the agent, or nothing was.

    `looked_up` is what the suggestion was made of; of several that led to none the newest; None when the contact asked
    nothing since a person answered. `alone` is what the assistant would decide by the inbox's policy, had it the
    conversation, and `judged` the search as that policy judges it.
    """

    policy: Policy
    looked_up: LookedUp | None
    judged: Found | None
    alone: TurnDecision | None


class Suggester:
    """Looks into the knowledge for words that an agent may adopt: the best entry's own, so that nothing is made up
    and nothing is spent."""

    def __init__(self, database: Database, *, threshold: float | None, embedders: Embedders = NO_EMBEDDERS) -> None:
        self._database = database
        self._searcher = Searcher(embedders, top_k=1, threshold=threshold)

    async def suggest(self, workspace_id: int, conversation_id: int) -> Suggestion | None:
        """An answer to the contact's last question, or None when the knowledge has none."""
        looked_up, _ = await self._look(workspace_id, conversation_id, Policy())
        return looked_up.suggestion() if looked_up is not None else None

    async def explain(self, workspace_id: int, conversation_id: int) -> SuggestionReasons:
        """Why `suggest` answers as it does just now. Raises NotFound (no such conversation)."""
        async with self._database.transaction(workspace_id) as tx:
            inbox_id = await tx.value("select inbox_id from conversation where id = %(id)s", id=conversation_id)
            if inbox_id is None:
                raise NotFound("There is no such conversation.")
            policy = await settings_of(tx, inbox_id)
        looked_up, judged = await self._look(workspace_id, conversation_id, policy)
        if looked_up is None or judged is None:
            return SuggestionReasons(policy, None, None, None)
        facts = Facts(
            pending=(Pending(Kind.TEXT, looked_up.text),),
            policy=policy,
            zone=judged.zone,
            suggestions=len(judged.result.passages),
        )
        return SuggestionReasons(policy, looked_up, judged, decide(facts))

    async def _look(
        self, workspace_id: int, conversation_id: int, policy: Policy
    ) -> tuple[LookedUp | None, Found | None]:
        """What is suggested from, and the same as `policy` judges it."""
        async with self._database.transaction(workspace_id) as tx:
            asked = await open_questions(tx, conversation_id)
            inbox_id = await tx.value("select inbox_id from conversation where id = %(id)s", id=conversation_id)
        if inbox_id is None:
            return None, None
        newest: tuple[LookedUp | None, Found | None] = None, None
        for message in asked[:TRIED]:
            found = await self._find(workspace_id, conversation_id, inbox_id, message, policy)
            if found is not None:
                looked_up = LookedUp(message.id, message.text, found[0])
                if looked_up.suggestion() is not None:
                    return looked_up, found[1]
                newest = newest if newest[0] is not None else (looked_up, found[1])
        return newest

    async def _find(
        self, workspace_id: int, conversation_id: int, inbox_id: int, message: OpenQuestion, policy: Policy
    ) -> tuple[Found, Found] | None:
        """What is found for the first question of a message, for an agent and as `policy` judges it; while vectors are
        waited for, no transaction is open."""
        async with self._database.transaction(workspace_id) as tx:
            memory = await remember(tx, conversation_id, before=message.id)
            plans = finding.plan(questions_in(message.text[:LONGEST])[:1], memory)
            if not plans:
                return None
            chosen = await groups.base_of(tx, conversation_id)
            begun = await self._searcher.begin(tx, await knowledge.base_for(tx, inbox_id, chosen=chosen), plans)
        vectors = await begun.vectors()
        async with self._database.transaction(workspace_id) as tx:
            (found,) = await self._searcher.find(tx, begun, vectors, Policy())
            judged = (await self._searcher.find(tx, begun, vectors, policy))[0] if policy.zones else found
            return found, judged
