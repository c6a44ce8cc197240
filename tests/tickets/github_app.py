"""A whole installation that is connected to a simulated GitHub, which calls it over HTTP.

Run as a program (`python -m tests.tickets.github_app APP_DSN OWNER_DSN FOLDER`) it is a process to be killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET, app_keys
from tests.stories.conftest import AheadClock
from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.container import App
from zhiban.events import ASSISTANT
from zhiban.kit.settings import load
from zhiban.main import application
from zhiban.ports import Repository
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.github import GitHubSimulator
from zhiban.testing.github import application as github_application
from zhiban.testing.github.simulator import Repo
from zhiban.testing.serving import served
from zhiban.tickets import repositories
from zhiban.tickets import tracker_outbox as outbox


async def eventually(holds: Callable[[], Awaitable[bool]], *, within: float = 60, every: float = 0.02) -> None:
    """Wait until this holds."""
    async with asyncio.timeout(within):
        while not await holds():  # noqa: ASYNC110 - what is waited for happens in the database
            await asyncio.sleep(every)


def build_app(urls: DatabaseUrls, folder: Path, clock: AheadClock | None = None, **settings_: str) -> App:
    settings = load(env_file=None, zhiban_data=folder, zhiban_secret_key="a key for tests only", **settings_)
    return App.build(settings, urls, clock=clock or AheadClock())


@dataclass
class GitHubApp:
    """The installation, its GitHub, and the repository acme/shop."""

    app: App
    clock: AheadClock
    github: GitHubSimulator
    repo: Repo
    url: str
    workspace_id: int
    connection_id: int
    repository_id: int

    async def opens(self, key: str = "draft-1", *, title: str = "支付页白屏", **more: Any) -> int:
        async with self.app.database.transaction(self.workspace_id) as tx:
            return await outbox.enqueue_issue(
                tx,
                self.repository_id,
                title=title,
                bodies=["五句话"],
                client_key=key,
                by=ASSISTANT,
                now=self.clock.now(),
                **more,
            )

    async def facts(self, *kinds: str) -> list[dict[str, Any]]:
        async with self.app.database.transaction(self.workspace_id) as tx:
            rows = await tx.rows(
                "select kind, data from event where kind = any(%(kinds)s) order by id", kinds=list(kinds)
            )
        return [{"kind": kind, **data} for kind, data in rows]

    async def told(self, kind: str, count: int = 1, *, within: float = 30) -> list[dict[str, Any]]:
        """Wait until there are so many facts of this kind."""

        async def enough() -> bool:
            return len(await self.facts(kind)) >= count

        await eventually(enough, within=within)
        return await self.facts(kind)

    async def quiet(self, *, within: float = 30) -> None:
        """Wait until everything that was delivered is read and nothing waits to be written."""
        await self.github.hooks.settled()

        async def nothing_waits() -> bool:
            sql = (
                "select (select count(*) from delivery where state = 'pending') "
                "+ (select count(*) from tracker_call where state = 'queued')"
            )
            return await self.count(sql) == 0

        await eventually(nothing_waits, within=within)

    async def count(self, sql: str) -> int:
        async with self.app.database.transaction(self.workspace_id) as tx:
            return int(await tx.value(sql))


@asynccontextmanager
async def github_app(
    urls: DatabaseUrls, folder: Path, *, work: bool = True, **settings: str
) -> AsyncIterator[GitHubApp]:
    """Without `work` another process has to do it."""
    clock = AheadClock()
    github = GitHubSimulator(now=lambda: clock.now().replace(microsecond=0))
    async with github, served(github_application(github)) as github_url:
        repo = github.repository(NAME, pushers={"chen"})
        identity = github.app(app_keys()[1])
        github.install(identity, repo)
        app = build_app(urls, folder, clock, **settings)
        if work:
            app.start_workers()
        async with served(application(app)) as url:
            (workspace_id,) = await app.database.workspaces()
            values = {"account": "acme", "app_id": str(identity.id), "private_key": app_keys()[0]}
            values |= {"webhook_secret": WEBHOOK_SECRET, "api_base": github_url}
            async with app.database.transaction(workspace_id) as tx:
                done = await connect(tx, app.vault, bootstrap.TRACKERS["github"], values, now=clock.now())
                known = Repository(str(repo.id), NAME)
                repository_id = await repositories.keep(tx, done.id, known, now=clock.now())
                public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
            github.hooks.add(f"{url}/hooks/{public_id}", WEBHOOK_SECRET, app_id=identity.id)
            yield GitHubApp(app, clock, github, repo, url, workspace_id, done.id, repository_id)


async def main(app_dsn: str, owner_dsn: str, folder: str) -> None:
    app = build_app(DatabaseUrls(app=app_dsn, owner=owner_dsn), Path(folder))
    app.start_workers()
    async with app:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
