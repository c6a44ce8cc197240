"""The verbs of knowledge: teach, write, remove, rebuild, export, and gather what is missing."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest

from tests.knowledge.material import SHOP, lines, write_table
from zhiban.events import ASSISTANT
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound
from zhiban.knowledge import gap_queries, maintenance, queries, service
from zhiban.knowledge.indexing import INDEX_VERSION
from zhiban.knowledge.jobs import REBUILD_OUTDATED, KnowledgeJobs, enqueue_rebuilds
from zhiban.knowledge.models import GapStatus, Origin
from zhiban.knowledge.retrieval import ConfidenceBand, search


@pytest.fixture
def base_id(sample_base: int) -> int:
    return sample_base


async def test_the_default_base_is_made_on_demand(db: Database, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        first = await service.base_for(tx)
        assert await service.base_for(tx, 4711) == first
        assert [base.slug for base in await queries.bases(tx)] == ["default"]


async def test_an_empty_base_hands_over(db: Database, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        found = await search(tx, await service.base_for(tx), "怎么退款", context=["怎么退货"])
    assert found.zone is ConfidenceBand.HANDOFF
    assert found.passages == ()


async def test_a_click_teaches_the_wording(db: Database, workspace: int, clock: SetClock, base_id: int) -> None:
    wording = "包裹卡在半路不走啦"
    async with db.transaction(workspace) as tx:
        before = await search(tx, base_id, wording)
        assert before.zone is not ConfidenceBand.ANSWER
        article = next(passage for passage in before.passages if passage.title == "物流好几天不更新怎么办？")
        assert await service.add_phrasing(tx, article.article_id, wording, source="click", now=clock.now())
        assert not await service.add_phrasing(tx, article.article_id, wording + "？", source="agent", now=clock.now())
        after = await search(tx, base_id, wording)
    assert after.zone is ConfidenceBand.ANSWER
    assert after.passages[0].article_id == article.article_id


async def test_what_changes_in_a_base_is_written_down(
    db: Database, workspace: int, clock: SetClock, base_id: int
) -> None:
    async with db.transaction(workspace) as tx:
        article_id = await service.put_faq(tx, base_id, question="可以寄存吗？", answer="可以。", now=clock.now())
        await service.add_phrasing(tx, article_id, "行李放哪", source="click", by=ASSISTANT, now=clock.now())
        gap_id = await service.record_gap(tx, "水壶能烧牛奶吗", message_id=1, now=clock.now())
        await service.record_gap(tx, "水壶能烧牛奶吗", message_id=1, now=clock.now())  # the same message again
        await service.close_gap(tx, gap_id, GapStatus.DISMISSED, now=clock.now())
        await service.remove(tx, base_id, article_id=article_id, now=clock.now())
        kinds = await tx.rows(
            "select kind, actor_kind from event where kind not in "
            "('sources_imported', 'rule_added', 'thresholds_moved') order by id"
        )
        brought = await tx.rows("select (data ->> 'added')::int from event where kind = 'sources_imported'")
    assert kinds == [
        ("article_changed", "system"),
        ("phrasing_added", "assistant"),
        ("gap_recorded", "assistant"),
        ("gap_closed", "system"),
        ("articles_removed", "system"),
    ]
    assert sum(row[0] for row in brought) == 62


async def test_a_document_learns_no_wording(db: Database, workspace: int, clock: SetClock, base_id: int) -> None:
    async with db.transaction(workspace) as tx:
        (passage,) = (await search(tx, base_id, "机场店的营业时间", top_k=1)).passages
        assert not await service.add_phrasing(tx, passage.article_id, "机场店", source=Origin.AGENT, now=clock.now())
        with pytest.raises(NotFound):
            await service.add_phrasing(tx, 10**9, "机场店", source=Origin.AGENT, now=clock.now())


async def test_an_article_written_by_hand_is_found_and_removed(
    db: Database, workspace: int, clock: SetClock, base_id: int
) -> None:
    async with db.transaction(workspace) as tx:
        article_id = await service.put_faq(
            tx,
            base_id,
            question="可以寄存行李吗？",
            answer="可以寄存两小时。",
            similar=("行李放哪",),
            now=clock.now(),
        )
        found = await search(tx, base_id, "可以寄存行李吗")
        assert found.passages[0].answer == "可以寄存两小时。"
        with pytest.raises(NotFound):
            await service.remove(tx, base_id + 1, article_id=article_id, now=clock.now())
        removed = await service.remove(tx, base_id, article_id=article_id, now=clock.now())
        assert (removed.articles_removed, removed.chunks_removed) == (1, 1)
        again = await search(tx, base_id, "可以寄存行李吗")
    assert all(passage.article_id != article_id for passage in again.passages)


async def test_a_file_is_removed_by_its_name(db: Database, workspace: int, clock: SetClock, base_id: int) -> None:
    async with db.transaction(workspace) as tx:
        removed = await service.remove(tx, base_id, source="sample/支付与发票.md", now=clock.now())
        assert removed.articles_removed == 9
        with pytest.raises(NotFound):
            await service.remove(tx, base_id, source="sample/支付与发票.md", now=clock.now())
        found = await search(tx, base_id, "怎么开发票")
    assert found.zone is not ConfidenceBand.ANSWER


async def test_a_base_is_removed_whole(db: Database, workspace: int, clock: SetClock, base_id: int) -> None:
    async with db.transaction(workspace) as tx:
        await service.remove_base(tx, base_id, now=clock.now())
        for table in ("knowledge_base", "source", "article", "phrasing", "chunk", "chunk_index", "term_df"):
            assert await tx.value(f"select count(*) from {table}") == 0
        with pytest.raises(NotFound):
            await service.remove_base(tx, base_id, now=clock.now())


async def test_rebuilding_changes_no_answer_and_does_not_stop_searches(
    db: Database, workspace: int, base_id: int
) -> None:
    async def found() -> list[list[int]]:
        async with db.transaction(workspace) as tx:
            return [
                [passage.chunk_id for passage in (await search(tx, base_id, question)).passages]
                for question in ("怎么退款", "那运费呢", "会员打几折")
            ]

    before = await found()
    async with db.transaction(workspace) as tx:
        await maintenance.reindex_base(tx, await maintenance.locked(tx, base_id), recount=True)
        assert await found() == before  # the rebuild is not committed yet, and nobody waits for it
    assert await found() == before
    assert await service.rebuild(db, workspace, "default") == 63
    assert await found() == before
    with pytest.raises(NotFound):
        await service.rebuild(db, workspace, "没有")


async def test_what_an_older_release_indexed_is_rebuilt_once(
    db: Database, workspace: int, clock: SetClock, base_id: int
) -> None:
    async def waiting() -> int:
        async with db.transaction(workspace) as tx:
            return int(await tx.value("select count(*) from jobs.procrastinate_jobs where task_name = %(name)s",
                                        name=REBUILD_OUTDATED.name))  # fmt: skip

    await enqueue_rebuilds(db)
    assert await waiting() == 0
    async with db.transaction(workspace) as tx:
        await tx.run("update knowledge_base set recipe = 0, calibrated_at = null where id = %(id)s", id=base_id)
    await enqueue_rebuilds(db)
    await enqueue_rebuilds(db)  # another process starts, too
    assert await waiting() == 1
    await KnowledgeJobs(db, clock).rebuild_outdated(workspace)
    async with db.transaction(workspace) as tx:
        base = await queries.base(tx, base_id)
    assert (base.recipe, base.calibrated_at) == (INDEX_VERSION, clock.now())


async def test_synonyms_find_what_words_do_not(db: Database, workspace: int, base_id: int) -> None:
    async with db.transaction(workspace) as tx:
        before = await search(tx, base_id, "银两啥时候回来")
        await service.set_synonyms(tx, base_id, [["银两回来", "退款到账"], ["银两", "退款", "钱"], ["孤零零"]])
        after = await search(tx, base_id, "银两啥时候回来")
        base = await queries.base(tx, base_id)
    assert len(base.synonym_ids) == 2
    assert after.confidence > before.confidence
    assert after.passages[0].category == "退款与退货"


async def test_the_export_can_be_imported(
    db: Database, workspace: int, clock: SetClock, base_id: int, tmp_path: Path
) -> None:
    async with db.transaction(workspace) as tx:
        text = await service.export(tx, base_id, now=clock.now())
    (tmp_path / "export.csv").write_text(text, encoding="utf-8", newline="")
    report = await service.import_paths(db, workspace, "copy", [tmp_path / "export.csv"], now=clock.now())
    assert report.changes.articles_added == 61
    async with db.transaction(workspace) as tx:
        one, other = await service.stats(tx)
    assert (one.slug, one.sources, one.articles, one.chunks, one.vectors) == ("default", 8, 62, 63, 0)
    assert other.phrasings == one.phrasings
    assert one.answer_at is not None


FORMULAS = ("=1+1", "+86 10", "-5%", "@all", "'=2", "＝3")


async def test_an_export_holds_no_formula_and_comes_back_equal(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path
) -> None:
    async with db.transaction(workspace) as tx:
        base_id = await service.base_for(tx)
        for text in FORMULAS:
            await service.put_faq(
                tx, base_id, question=f"{text}？", answer=text, similar=(f"{text}!",), now=clock.now()
            )
        exported = await service.export(tx, base_id, now=clock.now())
    cells = [cell for row in csv.reader(io.StringIO(exported)) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "＝", "\t", "\r")]
    (tmp_path / "export.csv").write_text(exported, encoding="utf-8", newline="")
    await service.import_paths(db, workspace, "copy", [tmp_path / "export.csv"], now=clock.now())
    async with db.transaction(workspace) as tx:
        copy = await queries.base_by_slug(tx, "copy")
        assert copy is not None
        kept = [await queries.articles(tx, id_) for id_ in (base_id, copy.id)]
        asked = [
            [row.text for row in await queries.phrasings(tx, [article.id for article in articles])] for articles in kept
        ]
    assert [(one.title, one.answer) for one in kept[0]] == [(one.title, one.answer) for one in kept[1]]
    assert asked[0] == asked[1]


async def test_a_base_with_enough_similar_questions_learns_when_to_answer(
    db: Database, workspace: int, clock: SetClock, base_id: int
) -> None:
    calibration = await service.calibrate(db, workspace, base_id, now=clock.now())
    assert calibration.trusted
    assert calibration.precision is not None
    assert calibration.precision >= 0.9
    assert calibration.answer_at is not None
    assert 0.5 < calibration.answer_at < 1.6
    assert await service.calibrate(db, workspace, base_id, now=clock.now()) == calibration
    async with db.transaction(workspace) as tx:  # what moved, when it moved
        told = await tx.rows(
            "select data ->> 'base_id', (data ->> 'answer_at')::float from event where kind = 'thresholds_moved'"
        )
    assert told == [(str(base_id), pytest.approx(calibration.answer_at))]


async def test_a_base_with_too_few_entries_does_not(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "faq.csv", lines(SHOP / "corpus.jsonl")[:6])
    await service.import_paths(db, workspace, "few", [table], now=clock.now())
    async with db.transaction(workspace) as tx:
        base = await queries.base_by_slug(tx, "few")
    assert base is not None
    assert base.answer_at is None
    assert (base.calibration["trusted"], base.calibration["reason"]) == (False, "few")


async def test_entries_that_are_taken_for_each_other_are_named(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path
) -> None:
    entries = lines(SHOP / "corpus.jsonl")[:30]
    twin = {**entries[0], "id": "twin", "answer": "请在订单里申请。"}
    table = write_table(tmp_path / "faq.csv", [*entries, twin])
    await service.import_paths(db, workspace, "twins", [table], now=clock.now())
    async with db.transaction(workspace) as tx:
        base = await queries.base_by_slug(tx, "twins")
        assert base is not None
        pair = base.calibration["confused"][0]
        taken = [await queries.article(tx, pair[one]) for one in ("article", "other")]
    assert {article.title for article in taken} == {entries[0]["text"]}
    assert pair["times"] >= 2


async def test_gaps_gather_what_asks_the_same(db: Database, workspace: int, clock: SetClock) -> None:
    async with db.transaction(workspace) as tx:
        first = await service.record_gap(tx, "你们招代理吗？", conversation_id=1, message_id=1, now=clock.now())
        clock.advance(timedelta(minutes=5))
        assert await service.record_gap(tx, "招代理么", conversation_id=2, message_id=2, now=clock.now()) == first
        assert await service.record_gap(tx, "招代理么", conversation_id=2, message_id=2, now=clock.now()) == first
        other = await service.record_gap(tx, "水壶能烧牛奶吗", conversation_id=None, message_id=None, now=clock.now())
        assert other != first
        gaps = await gap_queries.open_gaps(tx)
        assert [(gap.id, gap.times) for gap in gaps] == [(first, 2), (other, 1)]
        assert gaps[0].questions == ["招代理么", "你们招代理吗？"]
        assert gaps[0].last_at - gaps[0].first_at == timedelta(minutes=5)
        assert await service.close_gap(tx, first, GapStatus.DISMISSED, now=clock.now())
        assert not await service.close_gap(tx, first, GapStatus.ANSWERED, now=clock.now())
        again = await service.record_gap(tx, "招代理么", message_id=3, now=clock.now())
        assert again == first  # in silence
        assert [gap.id for gap in await gap_queries.open_gaps(tx)] == [other]
