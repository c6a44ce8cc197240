"""One issue, one comment, one fact each, whatever happens between us and GitHub: over HTTP, with real processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.ports.tracker_stands import WEBHOOK_SECRET
from tests.tickets.github_app import GitHubApp, build_app, eventually, github_app
from zhiban.events import ASSISTANT
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.github.simulator import FaultKind
from zhiban.tickets import tracker_outbox as outbox
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
    changed = await site.facts("issue_changed")
    assert [(one["change"], one["call_id"]) for one in changed] == [("opened", opened["call_id"])]


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


@pytest.mark.process
async def test_a_process_that_is_killed_between_the_call_and_the_commit_leaves_one_issue(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with github_app(urls, tmp_path, work=False) as site:
        await site.opens(ticket_id=5)
        command = (sys.executable, "-m", "tests.tickets.github_app", urls.app, urls.owner, str(tmp_path))
        root = str(Path(__file__).resolve().parent.parent.parent)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))}
        child = await asyncio.create_subprocess_exec(*command, env=environment)

        async def kill() -> None:
            site.github.written_hook = None
            child.send_signal(signal.SIGKILL)

        site.github.written_hook = kill
        async with asyncio.timeout(40):
            assert await child.wait() == -signal.SIGKILL
        assert not await site.facts("issue_opened")
        heir = build_app(urls, tmp_path, site.clock)
        heir.start_workers()
        async with heir:
            await site.told("issue_opened")
        assert len(site.repo.entries) == 1
        assert len(await site.facts("issue_opened")) == 1
        assert [one["change"] for one in await site.facts("issue_changed")] == ["opened"]
