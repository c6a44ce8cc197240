"""Importing: twice changes nothing, changes follow when asked, broken files are named, a kill loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.knowledge.material import SAMPLE, LetterEmbedder, write_table
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Misconfigured
from zhiban.knowledge import indexing, queries, service
from zhiban.knowledge.importing import ImportReport, Progress, Removal, RemovalRefused
from zhiban.knowledge.retrieval import ConfidenceBand, search
from zhiban.knowledge.sources import select
from zhiban.ports import ModelUnavailable
from zhiban.postgres.provisioning import DatabaseUrls


class Shop:
    """A base being filled from a folder."""

    def __init__(self, db: Database, workspace: int, clock: SetClock, folder: Path) -> None:
        self.db, self.workspace, self.clock, self.folder = db, workspace, clock, folder
        folder.mkdir()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    async def bring_in(self, *paths: Path, **wishes: Any) -> ImportReport:
        return await service.import_paths(
            self.db, self.workspace, "shop", paths or (self.folder,), now=self.clock.now(), **wishes
        )

    async def everything(self) -> list[tuple[Any, ...]]:
        """Every row of knowledge, to compare one moment with another."""
        async with self.db.transaction(self.workspace) as tx:
            return [
                (table, *row)
                for table in ("source", "article", "phrasing", "chunk", "chunk_index", "term_df")
                for row in await tx.rows(f"select * from {table} order by 1, 2, 3")
            ]

    async def base(self) -> queries.BaseRow:
        async with self.db.transaction(self.workspace) as tx:
            found = await queries.base_by_slug(tx, "shop")
        assert found is not None
        return found

    async def ask(self, question: str) -> str | None:
        base = await self.base()
        async with self.db.transaction(self.workspace) as tx:
            found = await search(tx, base.id, question)
        return found.passages[0].answer or found.passages[0].text if found.passages else None

    async def check_counts(self) -> None:
        """What the base believes of itself is what counting everything anew would say."""
        base = await self.base()
        async with self.db.transaction(self.workspace) as tx:
            entries = await queries.entries_after(tx, base.id, 0, 100_000)
            tally = indexing.count(entries, base.synonyms)
            kept = await tx.rows(
                "select term, sum(bodies), sum(phrasings) from term_df group by term "
                "having sum(bodies) <> 0 or sum(phrasings) <> 0 order by term"
            )
            indexed = await tx.value("select count(*) from chunk_index")
        assert (base.bodies, base.body_terms, base.phrasings, base.phrasing_terms) == (
            tally.bodies,
            tally.body_terms,
            tally.phrasings,
            tally.phrasing_terms,
        )
        assert kept == [
            (term, tally.in_bodies[term], tally.in_phrasings[term])
            for term in sorted(tally.in_bodies.keys() | tally.in_phrasings.keys())
        ]
        assert indexed == len(entries)


@pytest.fixture
def shop(db: Database, workspace: int, clock: SetClock, tmp_path: Path) -> Shop:
    return Shop(db, workspace, clock, tmp_path / "shop")


async def yes(_removal: Removal) -> bool:
    return True


REFUND = "# 帮助\n## 怎么退款？\n相似问题：如何退钱；退款流程\n\n在订单页申请。\n\n## 怎么开发票？\n在发票页申请。\n"
POST = "青禾商店每天下午四点发货。\n\n满七十九元包邮。\n"


async def test_importing_twice_changes_nothing(shop: Shop) -> None:
    first = await shop.bring_in(SAMPLE)
    before = await shop.everything()
    second = await shop.bring_in(SAMPLE)
    third = await shop.bring_in(SAMPLE, refresh=True)
    assert len(first.new) == 8
    assert second.unchanged == third.unchanged == first.new
    assert second.new == second.changed == third.changed == []
    assert await shop.everything() == before
    await shop.check_counts()


async def test_a_changed_file_waits_for_refresh(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    await shop.bring_in()
    shop.write("帮助.md", REFUND.replace("在订单页申请", "找小禾申请"))
    report = await shop.bring_in()
    assert report.outdated == ["shop/帮助.md"]
    assert await shop.ask("怎么退款") == "在订单页申请。"
    report = await shop.bring_in(refresh=True)
    assert report.changed == ["shop/帮助.md"]
    assert (report.changes.articles_changed, report.changes.articles_added) == (1, 0)
    assert await shop.ask("怎么退款") == "找小禾申请。"
    await shop.check_counts()


async def test_refresh_keeps_what_people_taught(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    await shop.bring_in()
    base = await shop.base()
    async with shop.db.transaction(shop.workspace) as tx:
        article = (await queries.articles(tx, base.id))[0]
        assert await service.add_phrasing(tx, article.id, "钱能还我不", source="click", now=shop.clock.now())
    shop.write("帮助.md", REFUND.replace("在订单页申请", "找小禾申请").replace("退款流程", "想退"))
    await shop.bring_in(refresh=True)
    async with shop.db.transaction(shop.workspace) as tx:
        asked = {row.text for row in await queries.phrasings(tx, [article.id])}
        found = await search(tx, base.id, "钱能还我不")
    assert asked == {"怎么退款？", "如何退钱", "想退", "钱能还我不"}
    assert found.zone is ConfidenceBand.ANSWER
    assert found.passages[0].answer == "找小禾申请。"
    await shop.check_counts()


async def test_only_changed_chunks_of_a_document_are_touched(shop: Shop) -> None:
    sections = [f"## 第{at}节\n{'这一节说的是青禾商店的第几件事情。' * 3}{at}\n" for at in range(6)]
    shop.write("手册.md", "# 手册\n" + "".join(sections))
    await shop.bring_in()
    base = await shop.base()
    async with shop.db.transaction(shop.workspace) as tx:
        before = {row.digest: row.id for row in await queries.chunks(tx, [(await queries.articles(tx, base.id))[0].id])}
    sections[2] = "## 第2节\n这一节改过了。\n"
    shop.write("手册.md", "# 手册\n新的开头。\n" + "".join(sections))
    report = await shop.bring_in(refresh=True)
    assert report.changes.chunks_added == 2
    assert report.changes.chunks_removed == 1
    async with shop.db.transaction(shop.workspace) as tx:
        after = await queries.chunks(tx, [(await queries.articles(tx, base.id))[0].id])
    assert [row.ordinal for row in after] == list(range(7))
    assert sum(1 for row in after if before.get(row.digest) == row.id) == 5
    await shop.check_counts()


async def test_refresh_removes_what_vanished_from_the_folder_only(shop: Shop, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "note.txt"
    other.parent.mkdir()
    other.write_text("门店在湖滨路十八号。", encoding="utf-8")
    shop.write("帮助.md", REFUND)
    shop.write("发货.txt", POST)
    await shop.bring_in(shop.folder, other)
    (shop.folder / "发货.txt").unlink()
    report = await shop.bring_in()
    assert report.removed == []
    report = await shop.bring_in(refresh=True, confirm=yes)
    assert report.removed == ["shop/发货.txt"]
    assert await shop.ask("门店在哪") == "门店在湖滨路十八号。"
    assert "包邮" not in (await shop.ask("满多少包邮") or "")
    await shop.check_counts()


async def test_a_broken_file_is_named_and_the_others_go_in(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    shop.write("坏.docx", "not a document")
    shop.write("空.txt", "")
    report = await shop.bring_in(shop.folder, shop.folder / "没有.md")
    assert report.new == ["shop/帮助.md"]
    assert [failure.file for failure in report.failed] == [str(shop.folder / "没有.md"), "shop/坏.docx", "shop/空.txt"]
    assert all(failure.sentence for failure in report.failed)
    assert await shop.ask("怎么退款") == "在订单页申请。"


async def test_a_file_that_becomes_unreadable_keeps_its_last_good_content(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    await shop.bring_in()
    shop.write("帮助.md", "")
    report = await shop.bring_in(refresh=True)
    assert [failure.file for failure in report.failed] == ["shop/帮助.md"]
    assert await shop.ask("怎么退款") == "在订单页申请。"


async def test_the_same_content_goes_in_once(shop: Shop) -> None:
    shop.write("一.md", REFUND)
    shop.write("二/一.md", REFUND)
    report = await shop.bring_in()
    assert report.new == ["shop/一.md"]
    assert report.duplicates == ["shop/二/一.md"]


async def test_a_renamed_file_follows_its_name(shop: Shop) -> None:
    shop.write("旧.md", REFUND)
    await shop.bring_in()
    (shop.folder / "旧.md").rename(shop.folder / "新.md")
    report = await shop.bring_in(refresh=True)
    assert (report.new, report.removed) == (["shop/新.md"], ["shop/旧.md"])
    async with shop.db.transaction(shop.workspace) as tx:
        assert len(await queries.articles(tx, (await shop.base()).id)) == 2


async def test_a_category_is_kept(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    await shop.bring_in(category="售后")
    async with shop.db.transaction(shop.workspace) as tx:
        assert {row.category for row in await queries.articles(tx, (await shop.base()).id)} == {"售后"}


async def test_progress_is_told(shop: Shop) -> None:
    told: list[Progress] = []
    await shop.bring_in(SAMPLE, progress=told.append)
    assert [one.done for one in told if one.stage == "reading"] == list(range(1, 9))
    assert {one.stage for one in told} >= {"reading", "storing", "calibrating"}


async def test_the_index_is_rebuilt_when_texts_grow_longer(shop: Shop) -> None:
    shop.write("短.md", "".join(f"## 怎么办理第{at}项？\n好。\n" for at in range(30)))
    await shop.bring_in()
    shop.write("长.md", "".join(f"## 如何看待第{at}条？\n{'这件事说来话长，' * 20}{at}\n" for at in range(30)))
    report = await shop.bring_in()
    base = await shop.base()
    assert report.rebuilt
    assert base.pivots == pytest.approx(base.means)
    await shop.check_counts()


class _Failing(LetterEmbedder):
    async def embed(self, *_: Any, **__: Any) -> list[list[float]]:
        raise ModelUnavailable("The embedder is out of order.")


async def test_words_serve_when_the_embedder_fails(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    report = await shop.bring_in(embedder=_Failing())
    assert report.embedding_failed == "The embedder is out of order."
    assert await shop.ask("怎么退款") == "在订单页申请。"
    assert (await shop.bring_in(embedder=LetterEmbedder())).embedded == 4


CHILD = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from zhiban.kit.db import Database
from zhiban.knowledge import importing, service
importing.GROUP_CHUNKS = 50

async def main():
    async with Database(sys.argv[1], work_size=2) as db:
        await service.import_paths(
            db, int(sys.argv[2]), "shop", [Path(sys.argv[3])], now=datetime.now(UTC),
            progress=lambda told: print(told.stage, told.chunks, flush=True))

asyncio.run(main())
"""


async def _killed_after(urls: DatabaseUrls, shop: Shop, chunks: int) -> None:
    """Import in a process of its own and kill it as soon as it has stored so many chunks."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, urls.app, str(shop.workspace), str(shop.folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async for line in process.stdout:
        stage, stored = line.decode().split()
        if stage == "storing" and int(stored) >= chunks:
            os.kill(process.pid, signal.SIGKILL)
            break
    assert await process.wait() == -signal.SIGKILL


@pytest.mark.process
async def test_a_killed_import_is_completed_by_the_next(urls: DatabaseUrls, shop: Shop) -> None:
    for file in range(40):
        entries = [
            {"id": "x", "text": f"第{file}类第{at}个问题怎么办？", "answer": f"第{file}类第{at}个回答。"}
            for at in range(10)
        ]
        write_table(shop.folder / f"{file:02}.csv", entries)
    await _killed_after(urls, shop, 100)
    async with shop.db.transaction(shop.workspace) as tx:
        stored = await tx.value("select count(*) from source")
        whole = await tx.rows("select count(*) from article group by source_id")
    assert 0 < stored < 40
    assert {row[0] for row in whole} == {10}
    await shop.check_counts()
    report = await shop.bring_in()
    assert len(report.new) == 40 - stored
    async with shop.db.transaction(shop.workspace) as tx:
        assert await tx.value("select count(*) from article") == 400
    await shop.check_counts()
    assert await shop.ask("第39类第9个问题怎么办？") == "第39类第9个回答。"


async def test_two_imports_at_once_do_not_harm_each_other(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    shop.write("发货.txt", POST)
    await asyncio.gather(shop.bring_in(), shop.bring_in())
    await shop.check_counts()
    async with shop.db.transaction(shop.workspace) as tx:
        assert await tx.value("select count(*) from source") == 2
        assert await tx.value("select count(*) from article") == 3


def test_hidden_and_foreign_files_are_not_found(tmp_path: Path) -> None:
    for name in ("a.md", ".git/b.md", "~$c.docx", "d.exe"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    selection = select([tmp_path / "docs"])
    assert [file.name for file in selection.files] == ["docs/a.md"]
    assert selection.whole == ["docs/"]
    assert selection.missing == []


# ---------------------------------------------------------------------------------------------------- sources


def _shops(folder: Path) -> tuple[Path, Path]:
    """Two folders called faq, with a file called 帮助.md in each."""
    for name, answer in (("甲", "在甲店申请。"), ("乙", "在乙店申请。")):
        path = folder / name / "faq" / "帮助.md"
        path.parent.mkdir(parents=True)
        path.write_text(f"# 帮助\n## {name}店怎么退款？\n{answer}\n", encoding="utf-8")
    return folder / "甲" / "faq", folder / "乙" / "faq"


async def test_two_folders_of_one_name_are_two_sources(shop: Shop, tmp_path: Path) -> None:
    one, other = _shops(tmp_path)
    await shop.bring_in(one)
    report = await shop.bring_in(other, refresh=True)
    assert (report.new, report.changed, report.removed) == (["乙/faq/帮助.md"], [], [])
    assert await shop.ask("甲店怎么退款") == "在甲店申请。"
    (one / "帮助.md").write_text("# 帮助\n## 甲店怎么退款？\n找甲店店长。\n", encoding="utf-8")
    report = await shop.bring_in(one, refresh=True)
    assert (report.changed, report.removed) == (["faq/帮助.md"], [])
    assert await shop.ask("乙店怎么退款") == "在乙店申请。"
    async with shop.db.transaction(shop.workspace) as tx:
        folders = await queries.source_folders(tx)
    assert [(row.name, row.path, row.files, row.articles) for row in folders] == [
        ("faq", str(one), 1, 1),
        ("乙/faq", str(other), 1, 1),
    ]
    await shop.check_counts()


async def test_a_file_or_a_folder_inside_belongs_to_the_source_around_it(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    shop.write("物流/发货.txt", POST)
    await shop.bring_in()
    shop.write("物流/发货.txt", POST.replace("四点", "五点"))
    shop.write("物流/自提.txt", "自提点在西门。")
    report = await shop.bring_in(shop.folder / "物流" / "发货.txt", refresh=True)
    assert (report.changed, report.new, report.removed) == (["shop/物流/发货.txt"], [], [])
    report = await shop.bring_in(shop.folder / "物流", refresh=True)
    assert (report.new, report.removed) == (["shop/物流/自提.txt"], [])
    # The other way round: the folder around a known one.
    report = await shop.bring_in(shop.folder.parent / "shop", refresh=True)
    assert (len(report.unchanged), report.new, report.removed) == (3, [], [])


async def test_material_that_moved_is_named_and_not_guessed(shop: Shop, tmp_path: Path) -> None:
    shop.write("帮助.md", REFUND)
    await shop.bring_in()
    moved = tmp_path / "elsewhere" / "shop"
    moved.parent.mkdir()
    shop.folder.rename(moved)
    with pytest.raises(Misconfigured, match="--source shop"):
        await shop.bring_in(moved, refresh=True)
    report = await shop.bring_in(moved, refresh=True, source="shop")
    assert report.unchanged == ["shop/帮助.md"]
    assert (await shop.bring_in(moved)).unchanged == ["shop/帮助.md"]
    with pytest.raises(Misconfigured):
        await shop.bring_in(moved, source="shop/帮助.md")
    with pytest.raises(Misconfigured):
        await shop.bring_in(moved, moved, source="two")


async def test_a_refresh_that_removes_more_than_it_brings_asks_first(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    shop.write("发货.txt", POST)
    await shop.bring_in()
    before = await shop.everything()
    (shop.folder / "发货.txt").unlink()
    shop.write("帮助.md", REFUND.split("\n## 怎么开发票")[0])
    asked: list[Removal] = []

    async def no(removal: Removal) -> bool:
        asked.append(removal)
        return False

    for wishes in ({}, {"confirm": no}):
        with pytest.raises(RemovalRefused, match="remove 2 articles and add 0"):
            await shop.bring_in(refresh=True, **wishes)
    assert asked == [Removal(2, 0, ("shop/发货.txt",))]
    assert await shop.everything() == before
    report = await shop.bring_in(refresh=True, confirm=yes)
    assert (report.removed, report.changed) == (["shop/发货.txt"], ["shop/帮助.md"])
    await shop.check_counts()


async def test_a_refresh_that_brings_as_much_does_not_ask(shop: Shop) -> None:
    shop.write("帮助.md", REFUND)
    await shop.bring_in()
    (shop.folder / "帮助.md").rename(shop.folder / "退款.md")
    report = await shop.bring_in(refresh=True)
    assert (report.new, report.removed) == (["shop/退款.md"], ["shop/帮助.md"])
