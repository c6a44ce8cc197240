"""What the assistant would say, for the agent who has the conversation. Shown, never sent by itself."""

from __future__ import annotations

from zhiban.assistant import answering
from zhiban.assistant.queries import remember
from zhiban.conversations.views import Source, Suggestion, percent
from zhiban.kit.db import Database, Work
from zhiban.knowledge import retrieval
from zhiban.knowledge import service as knowledge

LONGEST_QUESTION = 400

# The contact's words since somebody last answered them.
_ASKED = """
select max(m.id), string_agg(m.text, E'\\n' order by m.id) from message m
where m.conversation_id = %(id)s and m.direction = 'in' and m.author = 'contact' and m.kind in ('text', 'menu')
  and m.recalled_at is null and m.id > coalesce((select max(o.id) from message o
    where o.conversation_id = m.conversation_id and o.direction = 'out' and o.author <> 'assistant'), 0)"""


class Suggester:
    """Looks into the knowledge for the words that an agent may adopt: the best entry's own, so that nothing is made up
    and nothing is spent."""

    def __init__(self, database: Database, *, threshold: float | None) -> None:
        self._database = database
        self._threshold = threshold

    async def suggest(self, workspace_id: int, conversation_id: int) -> Suggestion | None:
        """An answer to what the contact asked last, or None when the knowledge has none."""
        async with self._database.work(workspace_id) as work:
            found = await self._find(work, conversation_id)
        if found is None or found.zone is retrieval.Zone.HAND_OFF or not found.passages:
            return None
        best = found.passages[0]
        text = answering.verbatim(best)
        if text is None:
            return None
        return Suggestion(text, (Source(best.title),), percent(found.confidence))

    async def _find(self, work: Work, conversation_id: int) -> retrieval.Found | None:
        asked = await work.row(_ASKED, id=conversation_id)
        place = await work.row("select inbox_id, contact_id from conversation where id = %(id)s", id=conversation_id)
        if asked is None or place is None or not (asked[1] or "").strip():
            return None
        memory = await remember(work, conversation_id, contact_id=place[1], before=asked[0])
        return await retrieval.search(
            work,
            await knowledge.base_for(work, place[0]),
            asked[1][-LONGEST_QUESTION:],
            top_k=1,
            context=memory.questions,
            threshold=self._threshold,
        )
