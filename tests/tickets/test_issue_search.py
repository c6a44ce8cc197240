"""Issues about the same are found in whatever words, as they are by now, and only where somebody may read them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.conftest import Cluster
from tests.tickets.chat import ASSISTANT, Chat, group_chat
from tests.tickets.stand import TrackerStand, tracker_stand
from zhiban.assistant.group_turn import GroupAssistant
from zhiban.events import SYSTEM
from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound
from zhiban.knowledge.vectors import Embedders
from zhiban.ports import Embedder, Issue, ModelUnavailable, Repository, TrackerUser, TryLater
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.tickets import issue_search, issue_vectors, issues, repositories
from zhiban.tickets.issue_search import FoundIssue, IssueFinder
from zhiban.tickets.issue_text import digest_of, embedded_text
from zhiban.tickets.issue_vectors import IssueVectorJobs, missing, progress
from zhiban.tickets.responder import TicketCommands
from zhiban.tickets.tracker_jobs import TrackerJobs

SAMPLE = Path(__file__).parents[2] / "bench" / "duplicates"
TOPICS = ("导出|export|csv", "乱码|garbage|打不开", "登录|sign", "慢|slow", "支付|pay", "图片|picture")


class TopicEmbedder:
    """What a text is about, in whatever language."""

    dimensions = len(TOPICS) + 26

    def __init__(self, name: str = "topics") -> None:
        self.name = name
        self.embedded: list[str] = []
        self.fails = False
        self.waits: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def embed(
        self, texts: Sequence[str], *, purpose: Literal["query", "passage"] = "passage"
    ) -> list[list[float]]:
        if self.waits is not None:
            self.asked.set()
            await self.waits.wait()
        if self.fails:
            raise ModelUnavailable("The embedder is out of order.")
        if purpose == "passage":
            self.embedded += texts
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        about = [1.0 if re.search(topic, text) else 0.0 for topic in TOPICS] + 26 * [0.0]
        if not any(about):  # something else, like nothing else
            about[len(TOPICS) + sum(map(ord, text)) % 26] = 1.0
        length = sum(one * one for one in about) ** 0.5
        return [one / length for one in about]


class Desk:
    """A repository of issues, the jobs that keep their vectors, and what is found."""

    def __init__(self, stand: TrackerStand, repository: int, embedder: TopicEmbedder) -> None:
        self.stand, self.repository, self.embedder = stand, repository, embedder
        self.known = {embedder.name: embedder}
        self.wanted: Embedder | None = embedder

    @property
    def embedders(self) -> Embedders:
        return Embedders(self.wanted, lambda name: self.known.get(name), seconds=0.5)

    async def is_there(self, number: int, title: str, body: str = "", **more: Any) -> None:
        """The tracker has it and calls us."""
        stand = self.stand
        now = stand.now
        stand.board.issues["acme/shop", number] = Issue(
            "acme/shop", number, f"https://tracker.test/{number}", title, "open", TrackerUser("lin"), now, now, body
        )
        await self.happens("opened", number, **more)

    async def happens(self, action: str, number: int, **more: Any) -> None:
        now = self.stand.board.issues.get(("acme/shop", number))
        said: dict[str, Any] = {"title": now.title, "body": now.body, "state": now.state} if now else {"title": "?"}
        self.stand.clock.advance(timedelta(seconds=1))
        said |= {"action": action, "repository": "acme/shop", "number": number, "actor": "lin"}
        await self.stand.hears({**said, **more})

    async def work(self) -> list[tuple[str, dict[str, Any]]]:
        """Do what was asked for with the changes, as the queue does."""
        jobs = IssueVectorJobs(self.stand.database, self.embedders)
        due = (
            "select id, task_name, args from jobs.procrastinate_jobs where status = 'todo' "
            "and task_name in ('embed_issues', 'embed_all_issues') order by id"
        )
        done: list[tuple[str, dict[str, Any]]] = []
        while rows := await self.stand.rows(due):
            for id_, name, args in rows:
                await self.stand.rows(
                    "update jobs.procrastinate_jobs set status = 'succeeded' where id = %(id)s returning 1", id=id_
                )
                await {task.job.name: task.function for task in jobs.tasks()}[name](**args)
                done.append((name, args))
        return done

    async def likely(self, about: str) -> list[FoundIssue]:
        finder = IssueFinder(self.stand.connections.tracker, self.embedders)
        stand = self.stand
        return await finder.likely(lambda: stand.database.transaction(stand.workspace_id), self.repository, about)

    async def numbers(self, about: str) -> list[int]:
        return [one.number for one in await self.likely(about)]

    async def vectors(self) -> list[tuple[int, str]]:
        return await self.stand.rows(
            "select i.number, s.embedder from issue_vector v join issue_vector_set s on s.id = v.set_id "
            "join issue i on i.id = v.issue_id order by 1, 2"
        )


@asynccontextmanager
async def opened(db: Database, workspace: int) -> AsyncIterator[Desk]:
    async with tracker_stand(db, workspace) as stand:
        desk = Desk(stand, await stand.repository(), TopicEmbedder())
        for number, title in enumerate(
            ("CSV export broken: Excel shows garbage", "Sign in is impossible", "支付页白屏", "The first page is slow",
             "Dark theme is forgotten", "图片列显示裂图", "希望支持甘特图", "Calendar begins on Sunday"), 1
        ):  # fmt: skip
            await desk.is_there(number, title)
        yield desk


@pytest.fixture
async def desk(db: Database, workspace: int) -> AsyncIterator[Desk]:
    async with opened(db, workspace) as found:
        yield found


async def test_an_issue_is_found_in_other_words_and_another_language(desk: Desk) -> None:
    asked = "导出的表格打不开"
    assert await desk.numbers(asked) == []  # no word in common, and no vectors yet
    assert {name for name, _ in await desk.work()} == {"embed_issues"}
    (found,) = await desk.likely(asked)
    assert (found.number, found.state, found.called) == (1, "open", "#1")
    assert await desk.numbers("今天中午吃什么") == []


async def test_without_an_embedder_words_do(desk: Desk) -> None:
    desk.wanted = None
    desk.known.clear()
    assert await desk.work()
    assert await desk.vectors() == []
    assert await desk.numbers("Excel 打开 CSV export 是 garbage") == [1]
    assert await desk.numbers("支付页白屏了") == [3]
    assert await desk.numbers("导出的表格打不开") == []
    assert await desk.numbers("，。！") == []


async def test_an_embedder_that_fails_or_hangs_leaves_the_words(desk: Desk) -> None:
    await desk.work()
    desk.embedder.fails = True
    assert await desk.numbers("支付页白屏了") == [3]
    desk.embedder.fails, desk.embedder.waits = False, asyncio.Event()
    async with asyncio.timeout(5):
        assert await desk.numbers("白屏了，支付页") == [3]


async def test_new_edited_closed_and_deleted_issues_are_in_step_at_once(desk: Desk) -> None:
    await desk.work()
    desk.embedder.embedded.clear()
    await desk.is_there(20, "导出很慢")
    assert 20 in await desk.numbers("导出很慢啊")  # by its words, before it has a vector
    await desk.work()
    assert desk.embedder.embedded == ["导出很慢"]  # and nothing else was made anew
    assert (await desk.numbers("export slow"))[0] == 20

    board = desk.stand.board.issues
    board["acme/shop", 20] = replace(board["acme/shop", 20], title="登录很慢")
    await desk.happens("edited", 20)
    assert (await desk.numbers("登录很慢啊"))[0] == 20
    await desk.work()
    assert (await desk.numbers("sign slow"))[0] == 20
    assert (await desk.numbers("export slow"))[0] != 20

    board["acme/shop", 20] = replace(board["acme/shop", 20], state="closed")
    await desk.happens("closed", 20)
    assert (await desk.likely("sign slow"))[0].state == "closed"
    desk.embedder.embedded.clear()
    await desk.happens("labeled", 20, labels=["bug"])
    await desk.work()
    assert desk.embedder.embedded == []  # it says what it said

    await desk.happens("deleted", 20)
    assert 20 not in await desk.numbers("sign slow")
    assert 20 not in [number for number, _ in await desk.vectors()]
    await desk.happens("transferred", 1)
    assert await desk.numbers("导出的表格打不开") == []


async def test_what_a_first_look_finds_can_be_found_too(desk: Desk) -> None:
    stand = desk.stand
    now = stand.now
    stand.board.issues["acme/shop", 30] = Issue(
        "acme/shop", 30, "https://tracker.test/30", "登录后图片不见了", "open", TrackerUser("lin"), now, now
    )
    await TrackerJobs(stand.database, stand.connections, stand.clock).sync_tracker(
        stand.workspace_id, stand.connection_id
    )
    await desk.work()
    assert (await desk.numbers("no picture after sign in"))[0] == 30


async def test_many_are_embedded_by_the_slow_queue_and_go_on_where_they_stopped(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue_vectors, "EMBEDDED_AT_ONCE", 3)
    monkeypatch.setattr("zhiban.knowledge.embedding_batches.AT_ONCE", 2)
    monkeypatch.setattr("zhiban.knowledge.embedding_batches.SIDE_BY_SIDE", 1)
    kept = desk.embedder._vector
    monkeypatch.setattr(desk.embedder, "_vector", lambda text: [1.0] if "裂图" in text else kept(text))
    with pytest.raises(ModelUnavailable):  # a batch of other dimensions: what came before it is kept
        await desk.work()
    stand = desk.stand
    async with stand.database.transaction(stand.workspace_id) as tx:
        seen = await progress(tx, desk.repository, desk.embedder.name)
    assert (seen.made, seen.total) == (4, 8)
    assert await desk.numbers("导出的表格打不开") == [1]  # the first set serves while it grows
    monkeypatch.setattr(desk.embedder, "_vector", kept)
    desk.embedder.embedded.clear()
    async with stand.database.transaction(stand.workspace_id) as tx:
        await issue_vectors.enqueue(tx, issue_vectors.embedding_of(desk.repository))
    assert [name for name, _ in await desk.work()] == ["embed_issues", "embed_all_issues"]
    assert len(desk.embedder.embedded) == 4


async def test_the_old_vectors_serve_until_another_embedder_has_made_all(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.work()
    other = TopicEmbedder("others")
    desk.wanted, desk.known[other.name] = other, other
    monkeypatch.setattr("zhiban.knowledge.embedding_batches.AT_ONCE", 2)
    monkeypatch.setattr("zhiban.knowledge.embedding_batches.SIDE_BY_SIDE", 1)
    stand = desk.stand
    kept, seen = other._vector, []

    def vector(text: str) -> list[float]:
        if len(seen) == 4:
            raise ModelUnavailable("The embedder is out of order.")
        seen.append(text)
        return kept(text)

    monkeypatch.setattr(other, "_vector", vector)
    await issue_vectors.enqueue_embedding(stand.database)
    with pytest.raises(ModelUnavailable):
        await desk.work()
    serving = "select embedder from issue_vector_set where serving"
    assert await stand.rows(serving) == [("topics",)]
    assert await desk.numbers("导出的表格打不开") == [1]
    monkeypatch.setattr(other, "_vector", kept)
    await issue_vectors.enqueue_embedding(stand.database)
    await desk.work()
    assert await stand.rows("select embedder, serving from issue_vector_set") == [("others", True)]
    assert {name for _, name in await desk.vectors()} == {"others"}
    assert await desk.numbers("导出的表格打不开") == [1]


async def test_an_issue_that_changes_while_its_vector_is_made_gets_the_right_one(desk: Desk) -> None:
    await desk.work()
    desk.embedder.waits = asyncio.Event()
    await desk.is_there(21, "导出很慢")
    working = asyncio.create_task(desk.work())
    await asyncio.sleep(0.1)
    board = desk.stand.board.issues
    board["acme/shop", 21] = replace(board["acme/shop", 21], title="登录很慢")
    await desk.happens("edited", 21)
    await desk.happens("deleted", 2)
    desk.embedder.waits.set()
    await working
    await desk.work()
    async with desk.stand.database.transaction(desk.stand.workspace_id) as tx:
        assert await missing(tx, desk.repository, desk.embedder.name) == 0
    assert (await desk.numbers("sign slow"))[0] == 21
    assert 2 not in [number for number, _ in await desk.vectors()]


async def test_what_is_claimed_is_there_and_as_it_is_now(desk: Desk) -> None:
    await desk.work()
    board, asked = desk.stand.board, "导出的表格打不开"
    issue = board.issues["acme/shop", 1]
    board.issues["acme/shop", 1] = replace(issue, state="closed", title="CSV export: garbage (fixed)")
    (found,) = await desk.likely(asked)
    assert (found.state, found.title) == ("closed", "CSV export: garbage (fixed)")  # no webhook told
    board.issues["acme/shop", 1] = replace(issue, confidential=True)
    assert await desk.likely(asked) == []
    del board.issues["acme/shop", 1]
    assert await desk.likely(asked) == []  # deleted, and no webhook told
    board.issues["acme/shop", 1] = issue
    board.broken = True
    assert await desk.numbers(asked) == [1]  # nobody says otherwise


async def test_a_tracker_that_hangs_keeps_nobody_waiting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.work()
    opened_tracker = await desk.stand.connections.tracker(desk.stand.workspace_id, desk.stand.connection_id)

    async def hangs(*_: Any) -> Issue:
        await asyncio.sleep(60)
        raise TryLater("too late")

    monkeypatch.setattr(type(opened_tracker.tracker), "issue", hangs)
    monkeypatch.setattr(issue_search, "CHECK_SECONDS", 0.05)
    async with asyncio.timeout(5):
        assert await desk.numbers("导出的表格打不开") == [1]


async def test_what_is_confidential_is_in_no_index(desk: Desk) -> None:
    await desk.work()
    stand, now = desk.stand, desk.stand.now + timedelta(minutes=1)
    secret = Issue("acme/shop", 1, "", "CSV export broken: garbage", "open", TrackerUser("lin"), now, now,
                   confidential=True)  # fmt: skip
    async with stand.database.transaction(stand.workspace_id) as tx:
        await issues.note(tx, desk.repository, secret, now=now)
    assert 1 not in [number for number, _ in await desk.vectors()]
    assert await desk.numbers("导出的表格打不开 CSV export broken garbage") == []


async def test_a_repository_that_is_gone_is_searched_by_nobody(desk: Desk) -> None:
    async with desk.stand.database.transaction(desk.stand.workspace_id) as tx:
        await repositories.remove(tx, desk.stand.connection_id, "1", now=desk.stand.now)
    with pytest.raises(NotFound):
        await desk.likely("导出的表格打不开")


async def test_a_search_that_takes_too_long_finds_nothing_and_the_turn_goes_on(desk: Desk) -> None:
    stand = desk.stand
    async with stand.database.transaction(stand.workspace_id) as other:
        await other.run("lock table issue in access exclusive mode")
        async with stand.database.transaction(stand.workspace_id) as tx:
            limit = await tx.value("select current_setting('statement_timeout')")
            assert await issue_search.search_issues(tx, desk.repository, "支付页白屏") == []
            assert await tx.value("select current_setting('statement_timeout')") == limit
    async with stand.database.transaction(stand.workspace_id) as tx:
        await issue_search.search_issues(tx, desk.repository, "支付页白屏")
        assert await tx.value("select current_setting('statement_timeout')") == limit


async def test_a_server_that_does_not_trust_the_operators_compares_one_repository_alone(
    desk: Desk, urls: DatabaseUrls, cluster: Cluster
) -> None:
    stand = desk.stand
    stand.board.repositories.append(Repository("2", "acme/large"))
    async with stand.database.transaction(stand.workspace_id) as tx:
        large = await repositories.keep(tx, stand.connection_id, stand.board.repository("acme/large"), now=stand.now)
        for number in range(300):
            one = Issue("acme/large", number, "", "支付页白屏", "open", TrackerUser("lin"), stand.now, stand.now)
            await issues.note(tx, large, one, quietly=True, now=stand.now)
    superuser = make_conninfo(cluster.superuser, dbname=conninfo_to_dict(urls.app)["dbname"])
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as connection:
        await connection.execute("alter function arrayoverlap(anyarray, anyarray) not leakproof")
    async with stand.database.transaction(stand.workspace_id) as tx:
        assert (await issue_search.search_issues(tx, desk.repository, "支付页白屏了"))[0].number == 3
        read = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'issue_index'"
        assert await tx.value(read) < 100


def test_an_embedder_reads_what_somebody_wrote_and_no_form() -> None:
    body = (
        "<!-- Please search first -->\n### Describe the bug\nThe export is broken.\n- [x] I searched\n"
        "```\nTraceback (most recent call last)\n```\n| a | b |\n![shot](https://x.test/1.png) see https://x.test/2\n"
    )
    assert embedded_text("CSV 導出", body) == "csv 导出 the export is broken. see"
    assert digest_of("CSV 導出", body) == digest_of("csv 导出", body.replace("- [x]", "- [ ]"))
    assert digest_of("CSV 導出", body) != digest_of("CSV 導入", body)
    assert len(embedded_text("长" * 300, "文" * 90_000)) == 400


async def test_the_local_embedder_finds_what_is_said_otherwise_and_names_no_nonsense(
    db: Database, workspace: int
) -> None:
    async with tracker_stand(db, workspace) as stand:
        repository = await stand.repository()
        rows = [line.split("\t") for line in (SAMPLE / "tables_issues.tsv").read_text("utf-8").splitlines()]
        async with db.transaction(workspace) as tx:
            for number, title, body in rows:
                at = stand.now
                issue = Issue("acme/shop", int(number), "", title, "open", TrackerUser("lin"), at, at, body)
                stand.board.issues["acme/shop", int(number)] = issue
                await issues.note(tx, repository, issue, quietly=True, now=stand.now)
        encoder = SentenceEncoder()
        await issue_vectors.embed_issues(db, workspace, repository, encoder)
        finder = IssueFinder(stand.connections.tracker, Embedders(encoder, lambda _: encoder))

        async def first(about: str) -> int | None:
            found = await finder.likely(lambda: db.transaction(workspace), repository, about)
            return found[0].number if found else None

        about = "导出的表格打不开，里面全是乱码"  # 1: CSV export broken: Excel shows garbage
        assert 1 in [one.number for one in await finder.likely(lambda: db.transaction(workspace), repository, about)]
        assert await first("评论里 @ 了同事，他说没收到提醒") == 45  # Comments: @mention sends no notification
        assert await first("大表打开直接就卡死了") == 81
        assert await first("only the first page is printed, the sheet has twenty") == 63  # 打印预览只有一页
        assert await first("今天天气真好，中午吃什么") is None
        assert await first("收到，我下午看一下") is None


# ------------------------------------------------------------------------------------------------------- in a group


@pytest.fixture
async def group(db: Database, workspace: int, desk: Desk) -> AsyncIterator[tuple[Chat, Desk]]:
    async with group_chat(db, workspace, clock=desk.stand.clock) as chat:
        finder = IssueFinder(desk.stand.connections.tracker, desk.embedders)
        chat.commands = TicketCommands(GroupAssistant(db, chat.clock, ASSISTANT), db, chat.clock, None, finder)
        async with db.transaction(workspace) as tx:
            await repositories.link(tx, chat.conversation_id, "acme/shop", by=SYSTEM, now=chat.clock.now())
        await desk.work()
        yield chat, desk


async def test_the_draft_in_a_group_names_what_may_be_the_same(group: tuple[Chat, Desk]) -> None:
    chat, desk = group
    board = desk.stand.board.issues
    board["acme/shop", 1] = replace(board["acme/shop", 1], state="closed")
    await chat.says("lu", "导出的表格打不开")
    shown = await chat.asks("lu", "以上1条开工单")
    assert "可能重复：\n#1 CSV export broken: Excel shows garbage (已关闭)" in shown
    await chat.says("lu", "今天中午吃什么")
    assert "可能重复" not in await chat.asks("lu", "以上1条开工单")


async def test_a_group_reads_nothing_of_a_repository_that_it_is_not_linked_with(group: tuple[Chat, Desk]) -> None:
    chat, desk = group
    stand = desk.stand
    stand.board.repositories.append(Repository("2", "acme/secret", private=True))
    async with stand.database.transaction(stand.workspace_id) as tx:
        now = stand.now
        secret = await repositories.keep(tx, stand.connection_id, stand.board.repository("acme/secret"), now=now)
        issue = Issue("acme/secret", 5, "", "导出的表格打不开，薪资表", "open", TrackerUser("lin"), now, now)
        await issues.note(tx, secret, issue, quietly=True, now=stand.now)
    stand.board.issues["acme/secret", 5] = issue
    await chat.says("lu", "导出的表格打不开，薪资表")
    assert "薪资表 (打开)" not in await chat.asks("lu", "以上1条开工单")
    assert "可能重复" not in await chat.asks("lu", "以上1条开工单，到 acme/secret")
    # nor of one that it was linked with a moment ago
    chat.clock.advance(timedelta(minutes=2))
    async with stand.database.transaction(stand.workspace_id) as tx:
        await repositories.link(tx, chat.conversation_id, "acme/secret", by=SYSTEM, now=stand.now)
    shown = await chat.asks("lu", "以上1条开工单，到 acme/secret")
    assert "#5 导出的表格打不开，薪资表 (打开)" in shown
    async with stand.database.transaction(stand.workspace_id) as tx:
        await repositories.unlink(tx, chat.conversation_id, "acme/secret", by=SYSTEM, now=stand.now)
    shown = await chat.asks("lu", "改标题 导出的表格打不开，薪资")
    assert "标题：导出的表格打不开，薪资" in shown
    assert "#5" not in shown


async def test_no_vector_is_waited_for_in_the_turns_transaction(group: tuple[Chat, Desk]) -> None:
    chat, desk = group
    desk.embedder.waits = asyncio.Event()
    await chat.says("lu", "导出的表格打不开")
    await chat.says("lu", "以上1条开工单")
    turn = asyncio.create_task(chat.turn())
    async with asyncio.timeout(30):
        await desk.embedder.asked.wait()
    open_now = (
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and state = 'idle in transaction' and pid <> pg_backend_pid()"
    )
    assert await desk.stand.rows(open_now) == [(0,)]
    desk.embedder.waits.set()
    assert "#1 CSV export broken" in "\n".join(await turn)
