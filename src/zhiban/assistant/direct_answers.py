"""What the assistant would answer by itself to a question now, for those who are about to change that."""

from __future__ import annotations

from zhiban.assistant import finding
from zhiban.assistant.reading import questions_in
from zhiban.assistant.searching import Searcher
from zhiban.channels.policy import Policy
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound
from zhiban.knowledge.retrieval import NEARLY_SAME, ConfidenceBand
from zhiban.knowledge.vectors import Embedders

_LOOKED_AT = 10  # entries that may have the wording of their own


class DirectAnswers:
    """Asks a base as a contact would who says nothing else."""

    def __init__(self, database: Database, embedders: Embedders, *, threshold: float | None) -> None:
        self._database = database
        self._searcher = Searcher(embedders, top_k=_LOOKED_AT, threshold=threshold)

    async def __call__(self, workspace_id: int, base_id: int, question: str) -> list[int]:
        """The articles that the assistant would answer with, then those that have nearly this wording.

        While vectors are waited for, no transaction is open.
        """
        plans = finding.plan(questions_in(question)[:1], None)
        if not plans:
            return []
        try:
            (found,) = await self._searcher.search(
                lambda: self._database.transaction(workspace_id), base_id, plans, Policy()
            )
        except NotFound:
            return []
        passages = found.result.passages
        answering = passages[:1] if found.zone is ConfidenceBand.ANSWER else ()
        same = [one for one in passages if one.likeness >= NEARLY_SAME]
        return list(dict.fromkeys(one.article_id for one in (*answering, *same)))
