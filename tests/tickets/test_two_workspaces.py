"""Two organisations on one installation, each with its own app at GitHub, whose groups speak of one repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.desk.seed import new_workspace
from tests.ports.tracker_stands import NAME
from tests.tickets.github_app import GitHubApp, eventually, github_app
from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.events import SYSTEM
from zhiban.ports import Repository
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.forge_hooks import Hook
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET, WebhookProgram
from zhiban.tickets import repositories
from zhiban.tickets.tracker_jobs import TrackerJobs

OTHER_SECRET = "the secret of the other hook"


class House:
    """One of the organisations: its group g-1, and what is told there."""

    def __init__(self, site: GitHubApp, program: WebhookProgram) -> None:
        self.site = site
        self.program = program
        self._number = 0

    async def says(self, text: str, **message: str) -> None:
        self._number += 1
        said = {"id": f"m{self._number}", "text": text, **message}
        event = {"type": "message", "group": {"id": "g-1"}, "contact": {"id": "lu", "name": "陆知行"}, "message": said}
        status, answer = await self.program.call(event)
        assert status == 202, answer

    def heard(self, words: str) -> list[str]:
        return [one.text for one in self.program.replies("g-1") if words in one.text]

    async def hears(self, words: str) -> str:
        async def told() -> bool:
            return self.heard(words) != []

        await eventually(told)
        return self.heard(words)[0]

    async def furnish(self, there: str) -> None:
        """The group exists, and is linked with the repository."""
        site, app = self.site, self.site.app
        values = {"source": "crm", "url": f"{there}/inbox", "secret": SECRET, "allow_private": "true"}
        async with app.database.transaction(site.workspace_id) as tx:
            done = await connect(tx, app.vault, bootstrap.CHANNELS["webhook"], values, now=site.clock.now())
            public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
        self.program.hooks = f"{site.url}/hooks/{public_id}"
        await self.says("大家早")

        async def there_is_one() -> bool:
            return await site.count("select count(*) from conversation where kind = 'group'") == 1

        await eventually(there_is_one)
        async with app.database.transaction(site.workspace_id) as tx:
            group = await tx.value("select id from conversation where kind = 'group'")
            await repositories.link(tx, group, NAME, settings={"mode": "all"}, by=SYSTEM, now=site.clock.now())


async def second(site: GitHubApp) -> tuple[GitHubApp, Hook]:
    """Another organisation on this installation, with an app and a hook of its own for the same repository."""
    workspace_id = await new_workspace(site.app.database, "other", "别家")
    private, public = site.github.new_key()
    identity = site.github.app(public, slug="other-desk")
    site.github.install(identity, site.repo)
    values = {"account": "acme", "app_id": str(identity.id), "private_key": private, "webhook_secret": OTHER_SECRET}
    async with site.app.database.transaction(site.workspace_id) as tx:
        values["api_base"] = await tx.value("select config ->> 'api_base' from connection where vendor = 'github'")
    async with site.app.database.transaction(workspace_id) as tx:
        done = await connect(tx, site.app.vault, bootstrap.TRACKERS["github"], values, now=site.clock.now())
        known = Repository(str(site.repo.id), NAME)
        repository_id = await repositories.keep(tx, done.id, known, now=site.clock.now())
        public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
    hook = site.github.hooks.add(f"{site.url}/hooks/{public_id}", OTHER_SECRET, app_id=identity.id)
    found = replace(site, workspace_id=workspace_id, connection_id=done.id, repository_id=repository_id)
    return found, hook


@pytest.fixture
async def houses(urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[tuple[House, House, Hook]]:
    async with github_app(urls, tmp_path) as site, _program() as (ours, here), _program() as (theirs, there):
        other, hook = await second(site)
        first, another = House(site, ours), House(other, theirs)
        await first.furnish(here)
        await another.furnish(there)

        # The first comparison tells of nothing: what it found before its webhook would not be told.
        jobs = TrackerJobs(site.app.database, site.app.connections, site.app.clock)
        for one in (site, other):
            await jobs.sync_tracker(one.workspace_id, one.connection_id)
        yield first, another, hook


@asynccontextmanager
async def _program() -> AsyncIterator[tuple[WebhookProgram, str]]:
    program = WebhookProgram()
    async with served(program.app) as url:
        yield program, url


async def test_an_issue_of_one_is_no_ticket_of_the_other_and_neither_answers_the_other(
    houses: tuple[House, House, Hook],
) -> None:
    ours, theirs, _ = houses
    site = ours.site
    await ours.says("导出以后表头是乱码")
    await ours.says("以上1条开工单")
    await ours.hears("工单草稿")
    await ours.says("确认")
    await ours.hears("/issues/1")
    entry = site.repo.entries[1]

    async def both_know() -> bool:
        known = [await one.site.count("select count(*) from issue") for one in (ours, theirs)]
        return known == [1, 1]

    await eventually(both_know)
    assert await theirs.site.count("select count(*) from ticket") == 0
    # A maintainer comments: both groups hear it, each as its own card, and quote it. Each says it for itself, once.
    site.github.comments(site.repo, entry, "chen", "哪个版本？")
    for one in (ours, theirs):
        await one.site.quiet()
    site.clock.ahead += timedelta(seconds=61)
    await TrackerJobs(site.app.database, site.app.connections, site.clock).tell_groups()
    for one, said in ((ours, "这边是 2.3"), (theirs, "我们是 2.4")):
        await one.hears("哪个版本？")
        card = next(each for each in one.program.replies("g-1") if "哪个版本？" in each.text)
        await one.says(said, reply_to=card.body["message"]["id"])
        await one.hears("已评论")
    for one in (ours, theirs):
        await one.site.quiet()
    site.clock.ahead += timedelta(seconds=61)
    await TrackerJobs(site.app.database, site.app.connections, site.clock).tell_groups()
    for one in (ours, theirs):
        await one.site.quiet()
    assert [(one.author.login, one.body.split("\n")[0]) for one in entry.comments] == [
        ("chen", "哪个版本？"),
        ("zhiban[bot]", "这边是 2.3"),
        ("other-desk[bot]", "我们是 2.4"),
    ]
    # What the other's program wrote is a bot's: no group hears it, and it is nobody's own.
    assert theirs.heard("这边是 2.3") == [] == ours.heard("我们是 2.4")
    for one in (ours, theirs):
        rows = await one.site.facts("issue_commented")
        assert sorted(each["ours"] for each in rows) == [False, False, True]


async def test_a_hook_of_one_proves_nothing_to_the_other(houses: tuple[House, House, Hook]) -> None:
    ours, theirs, hook = houses
    site, hooks = ours.site, ours.site.github.hooks
    mine = hooks.hooks[0]
    address, hook.url = hook.url, mine.url  # the other's genuine call, at our address
    site.github.opens(site.repo, "chen", "混进来")
    await hooks.settled()
    answered = {
        one.hook.secret: one.status for one in hooks.deliveries if b"\\u6df7" in one.body or "混".encode() in one.body
    }
    assert answered == {mine.secret: 202, OTHER_SECRET: 403}
    await site.told("issue_changed")
    hook.url = address
    assert await theirs.site.facts("issue_changed") == []
