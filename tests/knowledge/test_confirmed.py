"""What people confirm changes from which confidence on a base answers, and whether its documents do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.knowledge.material import SHOP, answers, lines, write_table
from zhiban.events import Actor
from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import evidence, queries, service
from zhiban.knowledge.calibrating import ENOUGH_NEW
from zhiban.knowledge.confirmed import confirmed_questions, settle
from zhiban.knowledge.evidence import ConfirmedOutcome
from zhiban.knowledge.jobs import KnowledgeJobs
from zhiban.knowledge.models import EvidenceKind
from zhiban.knowledge.retrieval import ConfidenceBand, search
from zhiban.knowledge.vectors import Embedders

SHOPS = {
    "清溪": "松林", "湖滨": "柳荫", "北门": "鼓楼", "石桥": "翠竹", "南站": "朝阳", "码头": "渔港", "古城": "钟声",
    "东湖": "荷花", "西山": "枫叶", "云谷": "晨露", "梅园": "落雁", "金沙": "潮汐", "高岭": "白云", "大学": "求知",
}  # fmt: skip


class Town:
    """People who write, and a base that they speak about."""

    def __init__(self, db: Database, workspace: int, clock: SetClock, base_id: int) -> None:
        self.db, self.workspace, self.clock, self.base_id = db, workspace, clock, base_id

    async def contact(self) -> int:
        async with self.db.transaction(self.workspace) as tx:
            found: int = await tx.value(
                "insert into contact (workspace_id) values (%(workspace)s) returning id", workspace=self.workspace
            )
            return found

    async def says(self, contact: int, question: str, article_id: int, kind: EvidenceKind = EvidenceKind.TAP) -> None:
        self.clock.advance(timedelta(minutes=1))
        async with self.db.transaction(self.workspace) as tx:
            await evidence.record_evidence(
                tx, article_id, question, kind=kind, by=Actor("contact", contact), now=self.clock.now()
            )

    async def article(self, title: str) -> int:
        async with self.db.transaction(self.workspace) as tx:
            return (await queries.articles(tx, self.base_id, text=title))[0].id

    async def waiting(self) -> list[str]:
        async with self.db.transaction(self.workspace) as tx:
            return await tx.values(
                "select task_name from jobs.procrastinate_jobs where task_name = 'calibrate_confirmed'"
            )

    async def row(self) -> queries.BaseRow:
        async with self.db.transaction(self.workspace) as tx:
            return await queries.base(tx, self.base_id)


@pytest.fixture
async def sample(db: Database, workspace: int, clock: SetClock, sample_base: int) -> Town:
    return Town(db, workspace, clock, sample_base)


async def test_documents_answer_once_several_people_have_confirmed_enough(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path
) -> None:
    for shop, road in SHOPS.items():
        told = f"{shop}店开在{road}路上，每天早上九点开门，晚上九点打烊，周末不休息。"
        (tmp_path / f"{shop}店.txt").write_text(told, encoding="utf-8")
    await service.import_paths(db, workspace, "shops", [tmp_path], now=clock.now())
    async with db.transaction(workspace) as tx:
        town = Town(db, workspace, clock, await service.ensure_base(tx, "shops", "门店"))
    asked = {shop: f"{shop}店开在{road}路上吗" for shop, road in SHOPS.items()}

    async def zone() -> ConfidenceBand:
        async with db.transaction(workspace) as tx:
            found = await search(tx, town.base_id, asked["清溪"])
            assert found.confidence > 0.7
            return found.zone

    assert await zone() is ConfidenceBand.SUGGEST
    people = [await town.contact() for _ in range(6)]
    jobs = KnowledgeJobs(db, clock)
    for number, (shop, question) in enumerate(list(asked.items())[:12]):
        await town.says(people[number % 4], question, await town.article(f"{shop}店"))
        await town.says(people[number % 4], question, await town.article(f"{shop}店"), EvidenceKind.HELPFUL)
    assert await town.waiting() == ["calibrate_confirmed"]
    await jobs.calibrate_confirmed(workspace, town.base_id)
    told_now = (await town.row()).calibration["documents"]
    assert (told_now["people"], told_now["confirmed"], told_now["answer_at"]) == (4, 12, None)
    assert await zone() is ConfidenceBand.SUGGEST
    for person, shop in ((4, "高岭"), (5, "大学"), (4, "清溪"), (5, "清溪"), (4, "湖滨")):
        await town.says(people[person], asked[shop], await town.article(f"{shop}店"))
    await jobs.calibrate_confirmed(workspace, town.base_id)
    row = await town.row()
    assert row.calibration["documents"]["people"] == 6
    assert row.calibration["documents"]["answer_at"] == 0.7
    assert row.calibration["precision"] == row.calibration["documents"]["precision"] >= 0.88
    assert await zone() is ConfidenceBand.ANSWER


async def test_few_voices_change_nothing_and_cost_nothing(sample: Town) -> None:
    before = (await sample.row()).calibrated_at
    refund, contact = await sample.article("怎么申请退款"), await sample.contact()
    jobs = KnowledgeJobs(sample.db, sample.clock)
    for question in ("钱能退给我吗", "想把钱要回来", "东西不要了退钱给我", "买错了能退钱不")[: ENOUGH_NEW - 1]:
        await sample.says(contact, question, refund)
    await jobs.calibrate_confirmed(sample.workspace, sample.base_id)
    assert (await sample.row()).calibrated_at == before
    await sample.says(await sample.contact(), "退我的钱要怎么弄", refund)
    await jobs.calibrate_confirmed(sample.workspace, sample.base_id)
    row = await sample.row()
    assert row.calibrated_at == sample.clock.now()
    assert row.calibration["confirmed"] == 0  # two people move no threshold, whatever they say
    for question in ("给我退钱", "退钱", "退货退钱怎么走流程", "能把钱退回来吗", "钱退我一下"):
        await sample.says(await sample.contact(), question, refund)
    await jobs.calibrate_confirmed(sample.workspace, sample.base_id)
    assert (await sample.row()).calibration["confirmed"] >= 8


def test_what_most_people_say_is_settled_and_a_draw_is_not(clock: SetClock) -> None:
    def said(question: str, article: int, contacts: int, *, right: bool) -> ConfirmedOutcome:
        return ConfirmedOutcome(question, article, right, contacts, 0, clock.now())

    spoken = [
        said("甲", 1, 3, right=True), said("甲", 1, 1, right=False), said("乙", 1, 1, right=True),
        said("乙", 1, 1, right=False), said("丙", 2, 2, right=False),
    ]  # fmt: skip
    assert settle(spoken) == [("甲", 1, True), ("丙", 2, False)]


async def test_contacts_words_teach_a_base_of_far_words_to_answer_more(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path
) -> None:
    """Half of the contacts' questions are confirmed; of the other half more are answered, and rightly."""
    embedders = Embedders(SentenceEncoder())
    table = write_table(tmp_path / "faq.csv", lines(SHOP / "corpus.jsonl"))
    await service.import_paths(db, workspace, "shop", [table], embedder=embedders.wanted, now=clock.now())
    right, questions = answers(), lines(SHOP / "queries.jsonl")
    async with db.transaction(workspace) as tx:
        base_id = await service.ensure_base(tx, "shop", "shop")
        articles = {row.category: row.id for row in await queries.articles(tx, base_id, limit=500)}
    town = Town(db, workspace, clock, base_id)
    before = await town.row()
    for number, question in enumerate(questions[::2]):
        if number % 4 == 0:
            contact = await town.contact()
        await town.says(contact, question["text"], articles[right[question["id"]]])
    async with db.transaction(workspace) as tx:
        assert len(await confirmed_questions(tx, base_id)) > 100
    await KnowledgeJobs(db, clock, embedders).calibrate_confirmed(workspace, base_id)
    after = await town.row()
    assert before.answer_at_with_vectors is not None
    assert after.answer_at_with_vectors is not None
    assert after.answer_at_with_vectors < before.answer_at_with_vectors - 0.15
    assert after.calibration["confirmed"] > 100
    assert after.calibration["precision"] >= 0.88
