"""Gaps: what asks the same is one of them, by words and by meaning, and stays where people have seen it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations
from pathlib import Path

import pytest

from tests.waiting import LOCK_AWAITED
from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound
from zhiban.knowledge import gap_queries, maintenance, queries, service
from zhiban.knowledge.jobs import GROUP_GAPS, KnowledgeJobs
from zhiban.knowledge.models import GapOrigin, GapStatus
from zhiban.knowledge.vectors import Embedders
from zhiban.ports import ModelUnavailable

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
        message = self._messages
        self.clock.advance(timedelta(seconds=1))
        async with self.db.transaction(self.workspace) as tx:
            return await service.record_gap(
                tx,
                question,
                origin=GapOrigin.NO_ANSWER,
                conversation_id=contact or message,
                contact_id=contact or message,
                message_id=message,
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


async def test_a_gap_keeps_its_number_and_title_and_says_where_it_went(gathering: Gathering) -> None:
    first = await gathering.asks("开车过来车停在哪里")
    second = await gathering.asks("门店附近有停车场吗")
    third = await gathering.asks("能刻字吗")
    assert len({first, second, third}) == 3  # by words they are three
    await gathering.group()
    assert [(gap.id, gap.question, gap.times, gap.contacts) for gap in await gathering.open_gaps()] == [
        (first, "开车过来车停在哪里", 2, 2),
        (third, "能刻字吗", 1, 1),
    ]
    merged = await gathering.one(second)
    assert (merged.status, merged.merged_into, merged.times) == ("merged", first, 0)
    with pytest.raises(NotFound, match=f"merged into gap {first}"):
        async with gathering.db.transaction(gathering.workspace) as tx:
            await gap_queries.open_gap(tx, second)
    before = await gathering.groups()
    await gathering.group()  # once more changes nothing
    assert await gathering.groups() == before
    assert await gathering.facts() == ["gap_recorded"] * 3 + ["gap_merged"]


async def test_what_words_brought_together_by_mistake_is_taken_apart(gathering: Gathering) -> None:
    milk = await gathering.asks("水壶能烧牛奶吗")
    assert await gathering.asks("水壶怎么去水垢啊") == milk
    await gathering.group()
    groups = await gathering.groups()
    assert groups["水壶能烧牛奶吗"] == milk
    assert groups["水壶怎么去水垢啊"] != milk
    assert {gap.question for gap in await gathering.open_gaps()} == set(groups)
    assert await gathering.facts() == ["gap_recorded", "gap_recorded", "gap_question_moved"]


async def test_what_was_dismissed_counts_in_silence_until_more_contacts_ask(gathering: Gathering) -> None:
    gap_id = await gathering.asks("能送到火星吗", contact=1)
    await gathering.group()
    assert await gathering.close(gap_id, GapStatus.DISMISSED)
    for contact in (1, 1, 2, 2, 3):
        assert await gathering.asks("你们可以送货到火星上吗", contact=contact) == gap_id
        await gathering.group()
    assert not await gathering.open_gaps()
    assert (await gathering.one(gap_id)).times == 6
    await gathering.asks("火星配送支持吗", contact=4)
    await gathering.group()
    (gap,) = await gathering.open_gaps()
    assert (gap.id, gap.times, gap.contacts) == (gap_id, 7, 4)
    assert "gap_reopened" in await gathering.facts()


async def test_the_same_meaning_in_other_words_is_found_among_the_dismissed(gathering: Gathering) -> None:
    gap_id = await gathering.asks("门店附近有停车场吗")
    await gathering.group()
    await gathering.close(gap_id, GapStatus.DISMISSED)
    other = await gathering.asks("开车过来车停在哪里")
    assert other != gap_id
    await gathering.group()
    assert not await gathering.open_gaps()
    assert (await gathering.one(other)).merged_into == gap_id


@pytest.mark.parametrize("again", ["能寄到日本吗", "可以寄日本吗", "往日本邮寄可以么"])
async def test_what_was_answered_and_is_asked_again_names_the_earlier(gathering: Gathering, again: str) -> None:
    first = await gathering.asks("能寄到日本吗")
    await gathering.group()
    async with gathering.db.transaction(gathering.workspace) as tx:
        base = await service.base_for(tx)
        await service.answer_gap(tx, first, base, answer="可以。", now=gathering.clock.now())
    second = await gathering.asks(again)
    third = await gathering.asks(again)
    await gathering.group()
    assert second == third != first
    (gap,) = await gathering.open_gaps()
    assert (gap.id, gap.follows, gap.times) == (second, first, 2)
    assert (await gathering.one(first)).status == "answered"


async def test_one_message_counts_once_in_a_gap_and_each_of_its_questions_counts(gathering: Gathering) -> None:
    async with gathering.db.transaction(gathering.workspace) as tx:
        now = gathering.clock.now()
        asked = [
            await service.record_gap(tx, text, conversation_id=1, contact_id=7, message_id=1, now=now)
            for text in ("能刻字吗", "能刻字吗", "可以刻字吗", "门店能停车吗")
        ]
    assert asked[0] == asked[1] == asked[2] != asked[3]
    assert [(gap.times, gap.contacts) for gap in await gathering.open_gaps()] == [(1, 1), (1, 1)]


async def test_two_processes_record_and_group_at_once(gathering: Gathering, db: Database, workspace: int) -> None:
    other = Gathering(db, workspace, gathering.clock)
    other._messages = 1000
    asked = ["门店能停车吗", "店里有停车场吗", "门店附近有停车场吗", "能刻字吗", "可以刻字不"] * 3
    await asyncio.gather(
        *(one.asks(text) for one in (gathering, other) for text in asked), gathering.group(), other.group()
    )
    await asyncio.gather(gathering.group(), other.group())
    gaps = await gathering.open_gaps()
    assert sum(gap.times for gap in gaps) == 30
    assert len(gaps) == 2
    groups = await gathering.groups()
    assert len({groups[text] for text in asked[:3]}) == len({groups[text] for text in asked[3:5]}) == 1


async def test_a_gap_that_is_closed_meanwhile_stays_as_it_was_closed(gathering: Gathering) -> None:
    parking = await gathering.asks("门店附近有停车场吗")
    driving = await gathering.asks("开车过来车停在哪里")
    async with gathering.db.transaction(gathering.workspace) as tx:
        base = await service.base_for(tx)
        article = await service.answer_gap(tx, driving, base, answer="地下车库。", now=gathering.clock.now())
    await gathering.group()
    closed = await gathering.one(driving)
    assert (closed.status, closed.article_id, closed.times) == ("answered", article, 1)
    assert (await gathering.one(parking)).status == "open"


async def test_without_an_embedder_and_with_one_that_fails_nothing_is_lost(gathering: Gathering) -> None:
    await gathering.asks("能刻字吗")
    await KnowledgeJobs(gathering.db, gathering.clock).group_gaps(gathering.workspace)

    class Broken(SentenceEncoder):
        async def embed(self, *_: object, **__: object) -> list[list[float]]:
            raise ModelUnavailable("The embedder is out of order.")

    broken = KnowledgeJobs(gathering.db, gathering.clock, Embedders(Broken()))
    with pytest.raises(ModelUnavailable):
        await broken.group_gaps(gathering.workspace)
    assert [gap.question for gap in await gathering.open_gaps()] == ["能刻字吗"]
    async with gathering.db.transaction(gathering.workspace) as tx:
        waiting = "select count(*) from jobs.procrastinate_jobs where task_name = %(name)s"
        assert await tx.value(waiting, name=GROUP_GAPS.name) == 1
    await gathering.group()


async def test_another_embedder_gives_new_vectors_and_moves_nothing(gathering: Gathering) -> None:
    for topic, text in QUESTIONS[:30]:
        del topic
        await gathering.asks(text)
    await gathering.group()
    before = await gathering.groups()

    class Renamed(SentenceEncoder):
        name = "another"

    await KnowledgeJobs(gathering.db, gathering.clock, Embedders(Renamed())).group_gaps(gathering.workspace)
    assert await gathering.groups() == before
    async with gathering.db.transaction(gathering.workspace) as tx:
        assert await tx.values("select distinct embedder from gap_question") == ["another"]
        assert await tx.values("select distinct embedder from gap where status = 'open'") == ["another"]


async def test_an_article_learns_the_wordings_of_its_gap(gathering: Gathering) -> None:
    asked = ["能刻字吗", "能刻字吗？", "可以刻字不", "杯子上可以刻名字不"]
    for text in asked:
        await gathering.asks(text)
    for number in range(60):
        await gathering.asks(f"能刻字吗{number}号杯子")
    await gathering.group()
    gap = (await gathering.open_gaps())[0]
    async with gathering.db.transaction(gathering.workspace) as tx:
        base = await service.base_for(tx)
        article = await service.answer_gap(tx, gap.id, base, answer="可以，十个字内。", now=gathering.clock.now())
        texts = [row.text for row in await queries.phrasings(tx, [article])]
    assert texts[0] == "能刻字吗"
    assert len(texts) == len(set(texts)) == service.MOST_FROM_GAP + 1
    assert "能刻字吗？" not in texts  # the same but for a sign


async def test_recording_does_not_wait_while_an_answer_waits_for_a_busy_base(
    gathering: Gathering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LOCK_TIMEOUT", 60.0)  # the answer waits for as long as the test needs
    gap_id = await gathering.asks("能刻字吗")
    async with gathering.db.transaction(gathering.workspace) as tx:
        base = await service.base_for(tx)

    async def answer() -> None:
        async with gathering.db.transaction(gathering.workspace) as tx:
            await service.answer_gap(tx, gap_id, base, answer="可以。", now=gathering.clock.now())

    async with gathering.db.transaction(gathering.workspace) as importing:
        await maintenance.locked(importing, base)
        waiting = asyncio.create_task(answer())
        async with asyncio.timeout(30):
            while not await importing.value(LOCK_AWAITED):  # noqa: ASYNC110 - it happens in PostgreSQL
                await asyncio.sleep(0.01)
            await gathering.asks("门店能停车吗")
    await waiting
    assert (await gathering.one(gap_id)).status == "answered"


async def test_an_answer_to_a_gap_that_was_closed_meanwhile_writes_nothing(gathering: Gathering) -> None:
    gap_id = await gathering.asks("能刻字吗")
    async with gathering.db.transaction(gathering.workspace) as tx:
        base = await service.base_for(tx)

    async def answer(text: str) -> None:
        async with gathering.db.transaction(gathering.workspace) as tx:
            await service.answer_gap(tx, gap_id, base, answer=text, now=gathering.clock.now())

    ends = await asyncio.gather(answer("可以。"), answer("不行。"), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) in (["Conflict", "NoneType"], ["NoneType", "NotFound"])
    async with gathering.db.transaction(gathering.workspace) as tx:
        assert len(await queries.articles(tx, base)) == 1


async def test_one_contact_alone_does_not_lead_the_list(gathering: Gathering) -> None:
    loud = await gathering.asks("能送到火星吗", contact=1)
    for _ in range(5):
        await gathering.asks("能送到火星吗", contact=1)
    quiet = await gathering.asks("门店能停车吗", contact=2)
    assert await gathering.asks("门店能停车吗", contact=3) == quiet
    assert [gap.id for gap in await gathering.open_gaps()] == [quiet, loud]


async def test_the_model_is_not_loaded_when_nothing_waits(gathering: Gathering) -> None:
    class Untouched(SentenceEncoder):
        async def embed(self, *_: object, **__: object) -> list[list[float]]:
            raise AssertionError("It was asked.")

    await gathering.asks("能刻字吗")
    await gathering.group()
    await KnowledgeJobs(gathering.db, gathering.clock, Embedders(Untouched())).group_gaps(gathering.workspace)
