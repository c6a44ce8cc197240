"""The demonstration's GitHub: one repository of the shop, connected as a tracker and linked with the demo's group."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp

from zhiban.channels import inboxes
from zhiban.channels.connecting import callback_path
from zhiban.channels.connections import Connections
from zhiban.channels.service import connect
from zhiban.conversations.groups import group_called
from zhiban.events import SYSTEM
from zhiban.kit.clock import Clock
from zhiban.kit.errors import NotFound
from zhiban.kit.vault import Vault
from zhiban.ports import TrackerIntegration
from zhiban.testing.demo_folder import SimulatedKeys
from zhiban.testing.github import GitHubSimulator, application
from zhiban.testing.github.kept import find_again, keep
from zhiban.testing.github.pages import HERE, GitHubPages
from zhiban.testing.github.simulator import GitHubGrant
from zhiban.testing.group_phone import GROUP
from zhiban.testing.phone import PhoneDemo
from zhiban.tickets import repositories
from zhiban.tickets.tracker_jobs import TrackerJobs

ACCOUNT, REPOSITORY = "qinghe", "qinghe/shop"
ROBOT, MAINTAINER = "qinghe-desk", "chen-weilan"
# What stood there before anybody looks: by whom, how many days ago, its label, and what was answered.
STOOD = (
    ("zhou-backend", 6, "enhancement", "补货后通知收藏过的人", "补货以后，给收藏过这件商品的人发一条消息。", ""),
    ("han-mobile", 3, "bug", "订单页在窄屏上看不到物流", "宽度小于360px时，物流一行被挤出去了。", "能重现，这周改。"),
)


class DemoGitHub:
    """Mount `app`, install its pages, and call `connect` once we answer at our address."""

    def __init__(self, keys: SimulatedKeys, folder: Path, url: str) -> None:
        self._keys = keys
        self._file = folder / "github.json"
        self._url = url
        self.simulator = GitHubSimulator(base=f"{url}{HERE}")
        self.app: ASGIApp = application(self.simulator)
        self._furnish()

    def _furnish(self) -> None:
        """The repository with its first issues, or what an earlier start has left."""
        github = self.simulator
        if not find_again(github, self._file):
            repo = github.repository(REPOSITORY)
            repo.pushers |= {ROBOT, MAINTAINER}
            repo.labels |= {"enhancement"}
            for login, days, label, title, body, answer in STOOD:
                entry = github.opens(repo, login, title, body)
                entry.labels.append(label)
                if answer:
                    said = github.comments(repo, entry, MAINTAINER, answer)
                    said.created_at = said.updated_at = said.created_at - timedelta(days=days - 1)
                entry.created_at -= timedelta(days=days)
                entry.updated_at -= timedelta(days=days - 1)
            keep(github, self._file)
        reached = {repo.id for repo in github.repos.values()}
        github.grants[self._keys.of_tracker("token")] = GitHubGrant(github.account(ROBOT), repositories=reached)
        github.written_hook = self._keep

    async def _keep(self) -> None:
        keep(self.simulator, self._file)

    def install(self, app: FastAPI) -> None:
        """Let its pages be looked at."""
        GitHubPages(self.simulator, REPOSITORY, MAINTAINER, changed=self._keep).install(app)

    async def connect(
        self,
        phone: PhoneDemo,
        integration: TrackerIntegration,
        *,
        api_base: str,
        connections: Connections,
        vault: Vault,
        clock: Clock,
    ) -> None:
        """Connect it as an operator would. At the first start its repository is linked with the group, which has to
        have been heard of by then."""
        database, workspace_id = phone.database, phone.workspace_id
        secret = self._keys.of_tracker("webhooks")
        values = {
            "account": ACCOUNT,
            "token": self._keys.of_tracker("token"),
            "webhook_secret": secret,
            "api_base": api_base,
        }
        async with database.transaction(workspace_id) as tx:
            known = await repositories.repository_called(tx, REPOSITORY) is not None
            done = await connect(tx, vault, integration, values, now=clock.now())
            row = await inboxes.access_connection(tx, done.id, part="tracker")
        self.simulator.hooks.add(self._url + callback_path(integration, row.public_id), secret)
        await TrackerJobs(database, connections, clock).sync_tracker(workspace_id, done.id)
        if not known:
            await self._link(phone, clock)

    async def _link(self, phone: PhoneDemo, clock: Clock) -> None:
        while True:
            change = phone.next_change()
            try:
                async with phone.database.transaction(phone.workspace_id) as tx:
                    group = await group_called(tx, GROUP["name"])
                    await repositories.link(tx, group, REPOSITORY, by=SYSTEM, now=clock.now())
            except NotFound:  # what the group said is under way
                await phone.wait(change)
            else:
                return
