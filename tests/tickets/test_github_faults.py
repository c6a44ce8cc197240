"""One issue, one comment, one fact each, whatever happens between us and GitHub: over HTTP, with real processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET
from tests.tickets.github_app import GitHubApp, build_app, eventually, github_app
from zhiban import bootstrap
from zhiban.channels.delivery_store import read_again
from zhiban.channels.service import connect
from zhiban.channels.topics import DELIVERY_WAITING, TRACKER_DELIVERY_WAITING
from zhiban.events import ASSISTANT, SYSTEM
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.github.simulator import FaultKind
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET, WebhookProgram
from zhiban.tickets import repositories
from zhiban.tickets import tracker_outbox as outbox
from zhiban.tickets.tracker_jobs import TrackerJobs
from zhiban.tickets.tracker_writes import NewComment


@pytest.fixture
async def site(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[GitHubApp]:
    async with github_app(urls, tmp_path) as found:
        yield found


@pytest.mark.parametrize("kind", ["broken_after", "429"])
async def test_one_issue_whatever_github_answers(site: GitHubApp, kind: FaultKind) -> None:
    site.github.fails(kind, ending="/issues", retry_after=20)
    await site.opens(ticket_id=5)

    async def put_off() -> bool:
        return await site.count("select count(*) from tracker_call where retry_at is not null") == 1

    await eventually(put_off)
    site.clock.ahead += timedelta(seconds=90)
    (opened,) = await site.told("issue_opened")
    await site.quiet()
    assert [one.title for one in site.repo.entries.values()] == ["支付页白屏"]
    assert opened["ticket_id"] == 5
    changed = [(one["change"], one["call_id"]) for one in await site.facts("issue_changed")]
    # Nothing where the first comparison with the repository, every few minutes, came first: it tells of nothing.
    assert changed in ([("opened", opened["call_id"])], [])


async def test_webhooks_that_come_before_the_answer_are_no_news(site: GitHubApp) -> None:
    """GitHub tells of our issue, and of our comment, while it still answers us."""

    async def all_read() -> bool:
        return await site.count("select count(*) from delivery where state = 'pending'") == 0

    async def hooks_first() -> None:
        await site.github.hooks.settled()
        await eventually(all_read)

    site.github.written_hook = hooks_first
    call = await site.opens(ticket_id=5)
    async with site.app.database.transaction(site.workspace_id) as tx:
        second = await outbox.enqueue(
            tx, site.repository_id, NewComment("还在"), ticket_id=5, client_key="c", by=ASSISTANT, now=site.clock.now()
        )
    (commented,) = await site.told("issue_commented")
    await site.quiet()
    assert commented["call_id"] == second
    assert commented["ours"]
    assert [one["call_id"] for one in await site.facts("issue_changed", "issue_opened")] == [call, call]
    assert len(site.repo.entries[1].comments) == 1


async def test_webhooks_that_come_thrice_and_out_of_order_are_told_once(site: GitHubApp) -> None:
    hooks, repo = site.github.hooks, site.repo
    hooks.add(hooks.hooks[0].url, WEBHOOK_SECRET, repo=repo)  # the repository's own hook, too: other ids, other bytes
    hooks.paused = True
    entry = site.github.opens(repo, "lin", "导出乱码")
    site.github.comments(repo, entry, "chen", "看到了")
    await asyncio.sleep(1.01)  # GitHub's times are whole seconds
    site.github.closes(repo, entry, "chen")
    calls = hooks.waiting * 3
    random.Random(4).shuffle(calls)
    # The order that hurts most: what is newest comes first.
    await hooks.send(hooks.waiting[-1])
    await asyncio.gather(*(hooks.send(one) for one in calls))
    await site.quiet()
    assert {one.status for one in hooks.deliveries} == {202}
    changed = [one["change"] for one in await site.facts("issue_changed")]
    assert changed == ["opened", "closed"]
    assert len(await site.facts("issue_commented")) == 1


async def test_a_forged_call_is_refused(site: GitHubApp) -> None:
    hooks = site.github.hooks
    hooks.add(hooks.hooks[0].url, "another secret", repo=site.repo)
    hooks.hooks.pop(0)
    site.github.opens(site.repo, "lin", "假的")
    await hooks.settled()
    assert hooks.deliveries[0].status == 403
    assert not await site.facts("issue_changed")


async def test_a_renewed_secret_and_its_former_one_are_taken_for_a_day(site: GitHubApp) -> None:
    hooks = site.github.hooks
    address, calls = hooks.hooks.pop(0).url, 0

    async def compared() -> bool:
        return await site.count("select count(*) from repository where synced_at is not null") == 1

    # The first comparison with the repository tells of nothing: what it found before its webhook would not be told.
    await eventually(compared)

    async def status(secret: str) -> int:
        """What is answered to a call that is signed with this secret."""
        nonlocal calls
        calls += 1
        hook = hooks.add(address, secret, repo=site.repo)
        site.github.opens(site.repo, "lin", f"第{calls}个")
        await hooks.settled()
        hooks.hooks.remove(hook)
        return next(one.status for one in hooks.deliveries if one.hook is hook)

    async def renew(secret: str) -> None:
        async with site.app.database.transaction(site.workspace_id) as tx:
            values = {"account": "acme", "webhook_secret": secret}
            await connect(tx, site.app.vault, bootstrap.TRACKERS["github"], values, now=site.clock.now())

    assert await status(WEBHOOK_SECRET) < 300
    await renew("a new secret of the hook")

    async def renewed() -> bool:
        return await status("a new secret of the hook") < 300

    await eventually(renewed)
    assert await status(WEBHOOK_SECRET) < 300
    site.clock.ahead += timedelta(hours=23)
    assert await status(WEBHOOK_SECRET) < 300
    site.clock.ahead += timedelta(hours=2)
    assert await status(WEBHOOK_SECRET) == 403
    assert await status("a new secret of the hook") < 300
    assert await status("") == 403
    await site.told("issue_changed", len([one for one in hooks.deliveries if 200 <= one.status < 300]))


@pytest.mark.process
async def test_a_process_that_is_killed_between_the_call_and_the_commit_leaves_one_issue(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with github_app(urls, tmp_path, work=False) as site:
        await site.opens(ticket_id=5)
        child = await _process(urls, tmp_path)

        async def kill() -> None:
            site.github.written_hook = None
            child.send_signal(signal.SIGKILL)

        site.github.written_hook = kill
        async with asyncio.timeout(120):
            assert await child.wait() == -signal.SIGKILL
        assert not await site.facts("issue_opened")
        heir = build_app(urls, tmp_path, site.clock)
        heir.start_workers()
        async with heir:
            await site.told("issue_opened")
        assert len(site.repo.entries) == 1
        assert len(await site.facts("issue_opened")) == 1
        assert [one["change"] for one in await site.facts("issue_changed")] == ["opened"]


@pytest.mark.process
async def test_a_process_that_is_killed_while_it_comments_for_a_group_leaves_one_comment_and_one_word(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    """Over the webhook channel: a card in a group, an answer to it that is told four times, a process that dies."""
    program = WebhookProgram()
    async with github_app(urls, tmp_path, work=False) as site, served(program.app) as there:
        app, repo = site.app, site.repo
        values = {"source": "crm", "url": f"{there}/inbox", "secret": SECRET, "allow_private": "true"}
        async with app.database.transaction(site.workspace_id) as tx:
            done = await connect(tx, app.vault, bootstrap.CHANNELS["webhook"], values, now=site.clock.now())
            public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
        program.hooks = f"{site.url}/hooks/{public_id}"
        await _says(program, "大家早", id_="m1")
        first = await _process(urls, tmp_path)
        try:
            await eventually(_stored(site, "select count(*) from message where state = 'handled'", 1))
            async with app.database.transaction(site.workspace_id) as tx:
                group = await tx.value("select id from conversation where kind = 'group'")
                await repositories.link(tx, group, NAME, by=SYSTEM, now=site.clock.now())
            entry = site.github.opens(repo, "lin", "导出乱码")
            await eventually(_news_stored(site))
            site.clock.ahead += timedelta(seconds=61)
            await TrackerJobs(app.database, app.connections, site.clock).tell_groups()
            await eventually(_heard(program, "导出乱码", 1))
            card = program.replies("g-1")[0].body["message"]["id"]

            async def kill() -> None:
                site.github.written_hook = None
                first.send_signal(signal.SIGKILL)

            site.github.written_hook = kill
            for _ in range(3):
                await _says(program, "我也是", id_="m2", reply_to=card)
            async with asyncio.timeout(120):
                assert await first.wait() == -signal.SIGKILL
        finally:
            if first.returncode is None:
                first.kill()
        assert len(entry.comments) == 1
        assert not await site.facts("issue_commented")
        heir = build_app(urls, tmp_path, site.clock)
        heir.start_workers()
        async with heir:
            program.loses_answers = 1  # and the word about it is told, though the answer to us is lost
            await _says(program, "我也是", id_="m2", reply_to=card)
            await eventually(_heard(program, "已评论", 1))
            await site.quiet()
            await eventually(_stored(site, "select count(*) from message where state = 'queued'", 0))
        assert [one.body.split("\n")[0] for one in entry.comments] == ["我也是"]
        assert len(await site.facts("issue_commented")) == 1
        assert len([one for one in program.replies("g-1") if "已评论" in one.text]) == 1


async def _says(program: WebhookProgram, text: str, *, id_: str, **message: str) -> None:
    said = {"id": id_, "text": text, **message}
    event = {"type": "message", "group": {"id": "g-1"}, "contact": {"id": "lu", "name": "陆知行"}, "message": said}
    status, answer = await program.call(event)
    assert status == 202, answer


def _news_stored(site: GitHubApp) -> Callable[[], Awaitable[bool]]:
    """Whether the group's news is there. A hook that was too slow to be acknowledged is sent again, by hand as ever."""

    async def holds() -> bool:
        await site.github.hooks.settled()
        last = site.github.hooks.deliveries[-1]
        if last.status >= 300:
            site.github.hooks.redeliver(last)
        return await site.count("select count(*) from group_news") == 1

    return holds


def _stored(site: GitHubApp, sql: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await site.count(sql) == count

    return holds


def _heard(program: WebhookProgram, words: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return len([one for one in program.replies("g-1") if words in one.text]) == count

    return holds


async def _process(urls: DatabaseUrls, folder: Path) -> asyncio.subprocess.Process:
    """A process that works."""
    command = (sys.executable, "-m", "tests.tickets.github_app", urls.app, urls.owner, str(folder))
    root = str(Path(__file__).resolve().parent.parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))}
    return await asyncio.create_subprocess_exec(*command, env=environment)


async def test_a_delivery_that_failed_is_read_again_at_once_by_who_reads_trackers(site: GitHubApp) -> None:
    """From the page of the health; the sweep, which would find it some time, is not waited for."""
    database, woken = site.app.database, []
    topics = {TRACKER_DELIVERY_WAITING: "tracker", DELIVERY_WAITING: "channel"}
    for topic, who in topics.items():
        site.app.pubsub.subscribe(topic, lambda _workspace, id_, who=who: woken.append((who, id_)))
    site.github.opens(site.repo, "chen", "导出超时")
    await site.told("issue_changed")
    await site.quiet()
    async with database.transaction(site.workspace_id) as tx:
        id_ = await tx.value(
            "update delivery set state = 'failed', attempts = 5, error = 'x' where id = (select max(id) from delivery) "
            "returning id"
        )
    woken.clear()
    async with database.transaction(site.workspace_id) as tx:
        await read_again(tx, id_)

    async def read() -> bool:
        return await site.count("select count(*) from delivery where state <> 'done'") == 0

    await eventually(read)
    assert woken == [("tracker", site.connection_id)]
