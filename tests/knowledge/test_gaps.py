"""Gaps: what asks the same is one of them, by words and by meaning, and stays where people have seen it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations
from pathlib import Path

import pytest

from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import gap_queries, service
from zhiban.knowledge.jobs import KnowledgeJobs
from zhiban.knowledge.models import GapOrigin, GapStatus
from zhiban.knowledge.vectors import Embedders

QUESTIONS = [line.split("\t") for line in (Path(__file__).parent / "gap_questions.tsv").read_text("utf-8").splitlines()]
TOPICS = sorted({topic for topic, _ in QUESTIONS})
TUNED_ON, HELD_OUT = TOPICS[0::2], TOPICS[1::2]  # the thresholds of `gap_likeness` were chosen on the first half


class Gathering:
    """A workspace whose gaps fill, and the job that looks at their meaning."""

    def __init__(self, db: Database, workspace: int, clock: SetClock) -> None:
        self.db, self.workspace, self.clock = db, workspace, clock
        self.jobs = KnowledgeJobs(db, clock, Embedders(SentenceEncoder()))
        self._messages = 0

    async def asks(self, question: str, *, contact: int | None = None) -> int:
        self._messages += 1
        self.clock.advance(timedelta(seconds=1))
        async with self.db.transaction(self.workspace) as tx:
            return await service.record_gap(
                tx,
                question,
                origin=GapOrigin.NO_ANSWER,
                conversation_id=contact or self._messages,
                contact_id=contact or self._messages,
                message_id=self._messages,
                now=self.clock.now(),
            )

    async def group(self) -> None:
        """Let the job work until nothing waits."""
        while True:
            await self.jobs.group_gaps(self.workspace)
            async with self.db.transaction(self.workspace) as tx:
                if not await tx.value("select exists (select from gap_question where embedder is null)"):
                    return

    async def open_gaps(self) -> list[gap_queries.GapRow]:
        async with self.db.transaction(self.workspace) as tx:
            return await gap_queries.open_gaps(tx, limit=1000)

    async def one(self, gap_id: int) -> gap_queries.GapRow:
        async with self.db.transaction(self.workspace) as tx:
            return await gap_queries.gap(tx, gap_id)

    async def close(self, gap_id: int, status: GapStatus) -> bool:
        async with self.db.transaction(self.workspace) as tx:
            return await service.close_gap(tx, gap_id, status, now=self.clock.now())

    async def groups(self) -> dict[str, int]:
        """Which gap each text is in."""
        async with self.db.transaction(self.workspace) as tx:
            return dict(await tx.rows("select text, gap_id from gap_question order by id"))

    async def facts(self) -> list[str]:
        async with self.db.transaction(self.workspace) as tx:
            return await tx.values("select kind from event where kind like 'gap%%' order by id")


@pytest.fixture
def gathering(db: Database, workspace: int, clock: SetClock) -> Gathering:
    return Gathering(db, workspace, clock)


def pairwise_f1(groups: dict[str, int], topics: Sequence[str]) -> float:
    """Of all pairs of questions: how well "in one gap" says "about one topic"."""
    of = [(topic, groups[text]) for topic, text in QUESTIONS if topic in topics]
    together = [(one[0] == other[0], one[1] == other[1]) for one, other in combinations(of, 2)]
    right = together.count((True, True))
    return 2 * right / (2 * right + together.count((True, False)) + together.count((False, True)))


async def gathered(gathering: Gathering, topics: Sequence[str], seed: int, *, grouped: bool) -> float:
    asked = [text for topic, text in QUESTIONS if topic in topics]
    random.Random(seed).shuffle(asked)
    for text in asked:
        await gathering.asks(text)
    if grouped:
        await gathering.group()
    return pairwise_f1(await gathering.groups(), topics)


def test_the_questions_are_enough_to_say_something() -> None:
    assert len(QUESTIONS) >= 120
    assert len(TOPICS) >= 30
    assert len({text for _, text in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize(("topics", "seed"), [(HELD_OUT, 1), (HELD_OUT, 2), (TUNED_ON, 1), (TOPICS, 3)])
async def test_by_meaning_eight_of_ten_pairs_are_right(gathering: Gathering, topics: Sequence[str], seed: int) -> None:
    found = await gathered(gathering, topics, seed, grouped=True)
    print("F1 by meaning", len(topics), seed, found)
    assert found >= 0.8


@pytest.mark.parametrize("topics", [HELD_OUT, TOPICS])
async def test_without_an_embedder_words_gather_two_thirds(gathering: Gathering, topics: Sequence[str]) -> None:
    found = await gathered(gathering, topics, 1, grouped=False)
    print("F1 by words", len(topics), found)
    assert found >= 0.6
