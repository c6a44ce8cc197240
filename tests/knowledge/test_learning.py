"""From evidence to phrasings and back: what the base learns, from whom, and how a colleague has the last word."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from tests.knowledge.material import LetterEmbedder
from zhiban.events import SYSTEM, Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict, NotFound
from zhiban.knowledge import articles, indexing, learning, maintenance, queries, service
from zhiban.knowledge.evidence import AGREEMENT, MOST_A_DAY, outcomes
from zhiban.knowledge.jobs import KnowledgeJobs
from zhiban.knowledge.learnt import learnt, learnt_wording
from zhiban.knowledge.models import EvidenceKind
from zhiban.knowledge.retrieval import ConfidenceBand, search
from zhiban.knowledge.vectors import Embedders
from zhiban.people import service as people
from zhiban.people.models import Role
from zhiban.postgres.provisioning import DatabaseUrls

ASKED = "包裹卡在半路不走啦"


class Base:
    """A base with two entries, and people who say what answers what."""

    def __init__(self, db: Database, workspace: int, clock: SetClock) -> None:
        self.db, self.workspace, self.clock = db, workspace, clock
        self.id = self.delivery = self.refund = 0
        self.answered_by: list[int] = []

    async def fill(self) -> Base:
        async with self.db.transaction(self.workspace) as tx:
            self.id = await service.base_for(tx)
            now = self.clock.now()
            self.delivery = await service.put_faq(
                tx, self.id, question="物流好几天不更新怎么办？", answer="请联系快递核实。", now=now
            )
            self.refund = await service.put_faq(
                tx, self.id, question="怎么申请退款？", answer="在订单里申请。", similar=("钱退给我",), now=now
            )
            await tx.run(
                "insert into contact (workspace_id, id) overriding system value "
                "select %(workspace)s, n from generate_series(1, 20) n",
                workspace=self.workspace,
            )
        return self

    async def agent(self, name: str) -> Actor:
        async with self.db.transaction(self.workspace) as tx:
            id_ = await people.add_agent(
                tx, email=f"{name}@example.test", name=name, role=Role.AGENT, password_hash=None
            )
        return Actor("agent", id_)

    async def hears(
        self,
        who: int | Actor,
        *,
        wording: str = ASKED,
        article: int = 0,
        kind: EvidenceKind = EvidenceKind.TAP,
    ) -> int | None:
        """Somebody says something, and it is weighed."""
        by = who if isinstance(who, Actor) else Actor("contact", who)
        async with self.db.transaction(self.workspace) as tx:
            found = await service.record_evidence(
                tx, article or self.delivery, wording, kind=kind, by=by, now=self.clock.now()
            )
        self.clock.advance(timedelta(minutes=1))
        if found is not None:
            await self.weigh(found)
        return found

    async def weigh(self, candidate_id: int) -> None:
        async def answered_by(workspace: int, base_id: int, question: str) -> list[int]:
            assert (workspace, base_id) == (self.workspace, self.id)
            return self.answered_by

        await learning.weigh(self.db, self.workspace, candidate_id, answered_by, now=self.clock.now())

    async def answer(self, wording: str = ASKED) -> int | None:
        """The article that is answered directly, by words."""
        async with self.db.transaction(self.workspace) as tx:
            found = await search(tx, self.id, wording)
        return found.passages[0].article_id if found.zone is ConfidenceBand.ANSWER else None

    async def statuses(self) -> dict[str, str]:
        async with self.db.transaction(self.workspace) as tx:
            return {one.row.text: one.row.status for one in await learnt(tx)}

    async def kinds(self) -> list[str]:
        async with self.db.transaction(self.workspace) as tx:
            return await tx.values(
                "select kind from event where kind <> all('{article_changed,agent_invited,rule_added}') order by id"
            )

    async def check(self) -> None:
        """What the base believes of itself is what counting everything anew would say."""
        async with self.db.transaction(self.workspace) as tx:
            base = await queries.base(tx, self.id)
            tally = indexing.count(await queries.entries_after(tx, self.id, 0, 1000), base.synonyms)
            assert await tx.value("select count(*) from phrasing where not indexed or retired") == 0
        assert (base.bodies, base.phrasings, base.phrasing_terms) == (
            tally.bodies, tally.phrasings, tally.phrasing_terms,
        )  # fmt: skip


@pytest.fixture
async def base(db: Database, workspace: int, clock: SetClock) -> Base:
    return await Base(db, workspace, clock).fill()


async def test_three_contacts_who_agree_teach_a_wording(base: Base) -> None:
    for contact in (1, 2):
        for _ in range(5):
            await base.hears(contact)
    assert await base.answer() is None
    assert await base.hears(1, wording="包裹卡在半路不走啦！！") is None
    await base.hears(3)
    assert await base.answer() == base.delivery
    assert await base.statuses() == {ASKED: "active"}
    assert await base.kinds() == ["evidence_recorded"] * 3 + ["phrasing_added"]
    await base.check()


async def test_wordings_that_ask_the_same_count_together_and_the_middle_one_is_learnt(base: Base) -> None:
    for contact, wording in ((1, "请问钱能还给我不"), (2, "钱能还我不"), (3, "钱能还给我不啊")):
        await base.hears(contact, wording=wording, article=base.refund)
    assert list((await base.statuses()).values()) == ["active"]
    assert await base.answer("钱能还给我不") == base.refund


async def test_one_agent_is_enough(base: Base) -> None:
    chen = await base.agent("陈默")
    await base.hears(chen, kind=EvidenceKind.ADOPTED)
    assert await base.answer() == base.delivery
    async with base.db.transaction(base.workspace) as tx:
        assert await tx.value("select actor_id from event where kind = 'phrasing_added'") == chen.id
        (found,) = await learnt(tx)
    assert [(one.name, one.kind) for one in found.evidence] == [("陈默", "adopted")]


async def test_what_is_learnt_answers_its_own_spellings_and_no_other_question(base: Base) -> None:
    """However sure the search is: what shares words with a learnt wording is offered, not answered."""
    chen = await base.agent("陈默")
    wording = "会员卡买了没用过可以全额退吗"
    await base.hears(chen, wording=wording, article=base.refund, kind=EvidenceKind.CONFIRMED)
    zones = {}
    async with base.db.transaction(base.workspace) as tx:
        for question in (wording, "会员卡买了没用过可以全部退吗", "会员卡没用过有什么用"):
            found = await search(tx, base.id, question, threshold=0.3)
            assert (found.passages[0].article_id, found.confidence > 0.3) == (base.refund, True)
            zones[question] = found.zone
    assert list(zones.values()) == [ConfidenceBand.ANSWER, ConfidenceBand.ANSWER, ConfidenceBand.SUGGEST]
    assert "learnt phrasing" in found.why


async def test_as_many_who_meant_another_entry_keep_it_waiting(base: Base) -> None:
    for contact in (1, 2, 3):
        await base.hears(contact, article=base.refund)
        await base.hears(10 + contact)
    assert await base.answer() is None or await base.answer() == base.refund
    for contact in (14, 15, 16, 17):
        await base.hears(contact)
    async with base.db.transaction(base.workspace) as tx:
        by_article = {one.row.article_id: one.row.status for one in await learnt(tx)}
    assert by_article == {base.delivery: "active", base.refund: "waiting"}
    assert await base.answer() == base.delivery
    await base.check()


async def test_a_wording_that_another_entry_answers_waits_for_a_colleague(base: Base) -> None:
    base.answered_by = [base.refund]
    for contact in range(1, 9):
        await base.hears(contact)
    chen = await base.agent("陈默")
    found = await base.hears(chen, kind=EvidenceKind.CONFIRMED)
    assert await base.answer() is None
    async with base.db.transaction(base.workspace) as tx:
        (waiting,) = await learnt(tx)
        assert (waiting.row.status, waiting.row.answered_by) == ("waiting", "怎么申请退款？")
        assert found is not None
        await service.approve_phrasing(tx, found, by=chen, now=base.clock.now())
    assert await base.answer() == base.delivery


async def test_the_very_wording_of_another_entry_is_never_taken_away(base: Base) -> None:
    chen = await base.agent("陈默")
    found = await base.hears(1, wording="钱退给我")
    async with base.db.transaction(base.workspace) as tx:
        assert found is not None
        with pytest.raises(Conflict, match="怎么申请退款"):
            await service.approve_phrasing(tx, found, by=chen, now=base.clock.now())
    assert await base.answer("钱退给我") == base.refund


async def test_undone_is_undone_whatever_is_said_afterwards(base: Base) -> None:
    chen = await base.agent("陈默")
    for contact in (1, 2, 3):
        found = await base.hears(contact)
    assert await base.answer() == base.delivery
    async with base.db.transaction(base.workspace) as tx:
        assert found is not None
        await service.reject_phrasing(tx, found, by=chen, now=base.clock.now())
        await service.reject_phrasing(tx, found, by=chen, now=base.clock.now())  # twice is once
    for contact in range(4, 12):
        await base.hears(contact)
    await base.hears(await base.agent("林"), kind=EvidenceKind.CONFIRMED)
    assert await base.answer() is None
    async with base.db.transaction(base.workspace) as tx:
        undone = await learnt_wording(tx, found)
        assert undone is not None
        assert (undone.row.status, undone.row.decided_by) == ("rejected", "陈默")
        assert await tx.value("select count(*) from phrasing where text = %(text)s", text=ASKED) == 0
        await service.approve_phrasing(tx, found, by=SYSTEM, now=base.clock.now())
    assert await base.answer() == base.delivery
    assert (await base.kinds())[3:6] == ["phrasing_added", "phrasing_removed", "phrasing_rejected"]
    await base.check()


async def test_several_who_were_not_helped_make_it_wait_again(base: Base) -> None:
    for contact in (1, 2, 3):
        await base.hears(contact)
    for contact in (4, 5):
        await base.hears(contact, kind=EvidenceKind.UNHELPFUL)
    assert await base.answer() == base.delivery
    await base.hears(5, kind=EvidenceKind.UNHELPFUL)
    assert await base.answer() == base.delivery
    await base.hears(6, kind=EvidenceKind.UNHELPFUL)
    assert await base.answer() is None
    assert await base.statuses() == {ASKED: "waiting"}
    await base.check()


async def test_agents_who_answer_otherwise_make_it_wait_again(base: Base) -> None:
    for contact in (1, 2, 3):
        await base.hears(contact)
    await base.hears(await base.agent("陈默"), article=base.refund, kind=EvidenceKind.ADOPTED)
    async with base.db.transaction(base.workspace) as tx:
        by_article = {one.row.article_id: one.row.status for one in await learnt(tx)}
    assert by_article[base.delivery] == "waiting"


async def test_an_approval_answers_what_was_said_before_it(base: Base) -> None:
    for contact in (1, 2, 3, 4):
        found = await base.hears(contact, kind=EvidenceKind.UNHELPFUL)
    assert await base.statuses() == {}  # nobody spoke for it
    async with base.db.transaction(base.workspace) as tx:
        assert found is not None
        await service.approve_phrasing(tx, found, by=SYSTEM, now=base.clock.now())
    base.clock.advance(timedelta(minutes=1))
    await base.hears(5, kind=EvidenceKind.UNHELPFUL)
    assert await base.answer() == base.delivery
    for contact in (6, 7):
        await base.hears(contact, kind=EvidenceKind.UNHELPFUL)
    assert await base.answer() is None


async def test_one_contact_speaks_about_few_wordings_a_day(base: Base) -> None:
    wordings = [f"{word}什么时候发货" for word in ("杯子", "椅子", "雨伞", "书包", "毛巾", "水壶", "帽子")]
    heard = [await base.hears(1, wording=wording) for wording in wordings]
    assert [found is not None for found in heard] == [True] * MOST_A_DAY + [False] * 2
    assert await base.hears(1, wording=wordings[0], kind=EvidenceKind.UNHELPFUL) is not None
    base.clock.advance(timedelta(days=1))
    assert await base.hears(1, wording=wordings[-1]) is not None


async def test_a_wording_that_the_article_has_is_known_until_it_loses_it(base: Base) -> None:
    for contact in (1, 2, 3):
        await base.hears(contact, wording="钱退给我", article=base.refund, kind=EvidenceKind.HELPFUL)
    assert await base.statuses() == {}
    async with base.db.transaction(base.workspace) as tx:
        found = await tx.value("select id from phrasing_candidate")
        with pytest.raises(Conflict):
            await service.reject_phrasing(tx, found, by=SYSTEM, now=base.clock.now())
        with pytest.raises(NotFound):
            await service.approve_phrasing(tx, 10**9, by=SYSTEM, now=base.clock.now())
        await tx.run("update phrasing set retired = true where text = '钱退给我'")
        await articles.index_phrasings(tx, await maintenance.locked(tx, base.id), [base.refund])
    await base.hears(4, wording="钱退给我", article=base.refund)
    assert await base.statuses() == {"钱退给我": "active"}


async def test_what_was_written_into_the_article_since_cannot_be_undone_here(base: Base, tmp_path: Path) -> None:
    file, now = tmp_path / "faq.csv", base.clock.now()
    file.write_text("question,answer\n包裹丢了怎么办？,请联系我们。\n")
    await service.import_paths(base.db, base.workspace, "default", [file], now=now)
    async with base.db.transaction(base.workspace) as tx:
        (lost,) = await queries.articles(tx, base.id, text="包裹丢了")
    for contact in (1, 2, 3):
        found = await base.hears(contact, article=lost.id)
    assert await base.answer() == lost.id
    file.write_text(f"question,similar_questions,answer\n包裹丢了怎么办？,{ASKED},请联系我们。\n")
    await service.import_paths(base.db, base.workspace, "default", [file], refresh=True, now=now)
    await base.check()
    async with base.db.transaction(base.workspace) as tx:
        assert found is not None
        with pytest.raises(Conflict):
            await service.reject_phrasing(tx, found, by=SYSTEM, now=now)
    await base.hears(4, article=lost.id)
    assert await base.statuses() == {}  # known, nothing to learn
    assert await base.answer() == lost.id


async def test_outcomes_tell_who_was_right(base: Base) -> None:
    await base.hears(1)
    await base.hears(2, kind=EvidenceKind.UNHELPFUL)
    await base.hears(3)
    await base.hears(3, kind=EvidenceKind.UNHELPFUL)
    await base.hears(await base.agent("陈默"), article=base.refund, kind=EvidenceKind.CONFIRMED)
    async with base.db.transaction(base.workspace) as tx:
        told = await outcomes(tx, base.id)
        later = await outcomes(tx, base.id, since=base.clock.now())
    assert [(one.question, one.article_id, one.right, one.contacts, one.agents) for one in told] == [
        (ASKED, base.delivery, True, 1, 0),
        (ASKED, base.delivery, False, 2, 0),
        (ASKED, base.refund, True, 0, 1),
    ]
    assert later == []


async def test_what_is_said_of_a_removed_article_is_forgotten(base: Base) -> None:
    found = await base.hears(1)
    async with base.db.transaction(base.workspace) as tx:
        await service.remove(tx, base.id, article_id=base.delivery, now=base.clock.now())
        assert await tx.value("select count(*) from phrasing_evidence") == 0
    assert await base.hears(2) is None
    assert found is not None
    await base.weigh(found)


async def test_while_the_base_is_busy_nobody_waits(base: Base) -> None:
    jobs = KnowledgeJobs(base.db, base.clock)
    for contact in (1, 2):
        await base.hears(contact)
    async with base.db.transaction(base.workspace) as importing:
        await maintenance.locked(importing, base.id)
        found = await base.hears(3)
        assert await base.statuses() == {ASKED: "active"}
    await jobs.index_phrasings(base.workspace, base.id)
    assert await base.answer() == base.delivery
    async with base.db.transaction(base.workspace) as importing:
        await maintenance.locked(importing, base.id)
        async with base.db.transaction(base.workspace) as tx:
            assert found is not None
            await service.reject_phrasing(tx, found, by=SYSTEM, now=base.clock.now())
        assert await base.answer() is None  # at once, before it has left the index
    assert await service.rebuild(base.db, base.workspace, "default") == 2
    await base.check()
    assert await base.answer() is None


async def test_many_at_once_learn_one_wording_once(base: Base, urls: DatabaseUrls) -> None:
    other = await Database(urls.app).open()
    try:

        async def says(db: Database, contact: int) -> int | None:
            async with db.transaction(base.workspace) as tx:
                return await service.record_evidence(
                    tx, base.delivery, ASKED, kind=EvidenceKind.TAP, by=Actor("contact", contact), now=base.clock.now()
                )

        found = await asyncio.gather(*(says((base.db, other)[n % 2], 1 + n % 4) for n in range(16)))
        assert len({one for one in found if one is not None}) == 1
        (candidate_id,) = {one for one in found if one is not None}
        await asyncio.gather(*(base.weigh(candidate_id) for _ in range(6)))
    finally:
        await other.close()
    async with base.db.transaction(base.workspace) as tx:
        assert await tx.value("select count(*) from phrasing where text = %(text)s", text=ASKED) == 1
        assert await tx.value("select count(*) from phrasing_evidence") == 4
    await base.check()


async def test_vectors_follow_what_is_learnt_and_undone(base: Base) -> None:
    embedder = LetterEmbedder()
    jobs = KnowledgeJobs(base.db, base.clock, Embedders(embedder))
    await jobs.embed(base.workspace, base.id)

    async def vectors() -> int:
        async with base.db.transaction(base.workspace) as tx:
            return int(await tx.value("select count(*) from phrasing_vector"))

    before = await vectors()
    for contact in range(1, AGREEMENT + 1):
        found = await base.hears(contact)
    await jobs.embed(base.workspace, base.id)
    assert await vectors() == before + 1
    async with base.db.transaction(base.workspace) as tx:
        assert found is not None
        await service.reject_phrasing(tx, found, by=SYSTEM, now=base.clock.now())
    await jobs.embed(base.workspace, base.id)
    assert await vectors() == before
