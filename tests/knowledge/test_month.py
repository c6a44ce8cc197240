"""A month of taps, complaints and agents' answers, with people who want to poison the base: it answers more, and no
wrong answer is added."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

from tests.knowledge.material import SHOP, answers, lines, write_table
from zhiban.assistant.direct_answers import DirectAnswers
from zhiban.events import Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import learning, queries, service
from zhiban.knowledge.evidence import outcomes
from zhiban.knowledge.models import EvidenceKind
from zhiban.knowledge.retrieval import ConfidenceBand, search
from zhiban.knowledge.vectors import NO_EMBEDDERS
from zhiban.people import service as people
from zhiban.people.models import Role

CONTACTS, POISONERS = 200, (201, 202)
QUESTIONS = 60


class Month:
    """A shop, what its contacts want to know, and what they get."""

    def __init__(self, db: Database, workspace: int, clock: SetClock, base: int, right: dict[str, int]) -> None:
        self.db, self.workspace, self.clock, self.base, self.right = db, workspace, clock, base, right
        self._answered_by = DirectAnswers(db, NO_EMBEDDERS, threshold=None)

    async def look(self, question: str) -> tuple[int | None, list[int]]:
        """The article that is answered directly, and the entries of the menu."""
        async with self.db.transaction(self.workspace) as tx:
            found = await search(tx, self.base, question)
        articles = [passage.article_id for passage in found.passages]
        return (articles[0] if found.zone is ConfidenceBand.ANSWER else None), articles

    async def says(self, by: Actor, question: str, article: int, kind: EvidenceKind) -> None:
        async with self.db.transaction(self.workspace) as tx:
            found = await service.record_evidence(tx, article, question, kind=kind, by=by, now=self.clock.now())
        if found is not None:
            await learning.weigh(self.db, self.workspace, found, self._answered_by, now=self.clock.now())

    async def tally(self, questions: list[str]) -> tuple[set[str], set[str]]:
        """Which are answered directly and right, and which wrong."""
        right, wrong = set(), set()
        for question in questions:
            answer, _ = await self.look(question)
            if answer is not None:
                (right if answer == self.right[question] else wrong).add(question)
        return right, wrong


async def test_a_month(db: Database, workspace: int, clock: SetClock, tmp_path: Path) -> None:
    dice = random.Random(7)
    table = write_table(tmp_path / "faq.csv", lines(SHOP / "corpus.jsonl"))
    await service.import_paths(db, workspace, "default", [table], now=clock.now())
    async with db.transaction(workspace) as tx:
        base = await service.base_for(tx)
        by_id = {article.category: article.id for article in await queries.articles(tx, base, limit=500)}
        await tx.run(
            "insert into contact (workspace_id, id) overriding system value "
            "select %(workspace)s, n from generate_series(1, 202) n",
            workspace=workspace,
        )
        agent_id = await people.add_agent(tx, email="c@example.test", name="陈默", role=Role.AGENT, password_hash=None)
    wanted = answers()
    right = {line["text"]: by_id[wanted[line["id"]]] for line in lines(SHOP / "queries.jsonl")}
    asked = dice.sample(sorted(right), QUESTIONS)
    month = Month(db, workspace, clock, base, right)
    spelt = {line["id"]: line["text"] for line in lines(SHOP / "queries_typo.jsonl")}
    same = {spelt[line["id"]]: right[line["text"]] for line in lines(SHOP / "queries.jsonl") if line["text"] in asked}
    elsewhere = sorted(set(right) - set(asked)) + sorted(same)
    month.right.update(same)
    before, elsewhere_before = await month.tally(asked), await month.tally(elsewhere)

    for _day in range(30):
        clock.advance(timedelta(days=1))
        for contact in dice.sample(range(1, CONTACTS + 1), 12):
            question = asked[min(int(dice.expovariate(4) * QUESTIONS), QUESTIONS - 1)]
            by, means = Actor("contact", contact), right[question]
            answer, menu = await month.look(question)
            if answer is not None:
                if answer != means:
                    await month.says(by, question, answer, EvidenceKind.UNHELPFUL)
            elif dice.random() < 0.08 and menu:
                await month.says(by, question, dice.choice(menu), EvidenceKind.TAP)  # a slip of the finger
            elif means in menu:
                await month.says(by, question, means, EvidenceKind.TAP)
            elif dice.random() < 0.2:
                await month.says(Actor("agent", agent_id), question, means, EvidenceKind.ADOPTED)
        for poisoner in POISONERS:
            for question in dice.sample(asked, 5):
                answer, menu = await month.look(question)
                others = [article for article in menu if article != right[question]]
                if answer is None and others:
                    await month.says(Actor("contact", poisoner), question, others[0], EvidenceKind.TAP)
                elif answer is not None:
                    await month.says(Actor("contact", poisoner), question, answer, EvidenceKind.UNHELPFUL)

    after, elsewhere_after = await month.tally(asked), await month.tally(elsewhere)
    assert len(after[0]) >= len(before[0]) + QUESTIONS / 3
    assert after[1] <= before[1]
    assert len(elsewhere_after[0]) > len(elsewhere_before[0])  # in words that nobody used in that month
    assert elsewhere_after[1] <= elsewhere_before[1]
    async with db.transaction(workspace) as tx:
        assert len(await outcomes(tx, base)) > QUESTIONS / 2
