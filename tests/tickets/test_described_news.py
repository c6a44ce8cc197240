"""Every webhook that GitLab, Gitea and Gitee describe, through the door, with a group that wants to hear everything:
it is told, or is not for a reason. Nobody publishes recordings of these; the payloads have every field described."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import aiohttp

from tests.ports.tracker_stands import WEBHOOK_SECRET
from tests.stories.conftest import AheadClock
from tests.tickets.github_app import build_app, eventually
from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.events import SYSTEM
from zhiban.main import application
from zhiban.ports import Repository
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing import gitea, gitee, gitlab
from zhiban.testing.described_hooks import DescribedHook, DescribedPlace, Places
from zhiban.testing.forge import Forge
from zhiban.testing.forge_hooks import Hook, HookDelivery
from zhiban.testing.gitea import described as of_gitea
from zhiban.testing.gitee import described as of_gitee
from zhiban.testing.gitlab import described as of_gitlab
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET, WebhookProgram
from zhiban.tickets import repositories
from zhiban.tickets.group_news import RareEvent, UsualEvent
from zhiban.tickets.tracker_jobs import TrackerJobs

_CODE = "code itself is not our subject"
_MACHINE = "machines report to machines"
_EARLIER = "the issue was there before we were: what is different about it nobody can say"
_HIDDEN = "groups may not see what is there"
_REACH = "which repositories we reach, and what they are called, stands on the tracker's page"
_STAYS = "what was told stays, and what waits to be told is changed"
_NOT_OVER = "nothing was decided yet, or a decision was taken back"

# What is told in no group, by forge and what it is about.
UNTOLD: dict[str, dict[str, str]] = {
    "gitlab": {
        **dict.fromkeys(("issue update of labels", "issue update of its title", "issue update of nobody"), _EARLIER),
        **dict.fromkeys(("merge request update", "merge request unapproved", "merge request unapproval"), _NOT_OVER),
        "issue that is only tried out": "nothing has happened",
        **dict.fromkeys(("confidential issue", "internal note", "comment on a confidential issue"), _HIDDEN),
        "comment on an issue, edited": _STAYS,
        "note that GitLab wrote": "it says again what an event of its own says",
        **dict.fromkeys(("comment on a commit", "comment on a snippet"), _CODE),
        **dict.fromkeys(("release update", "release delete"), "it was told when it came"),
        **dict.fromkeys(("project_create", "project_rename", "project_transfer", "project_destroy"), _REACH),
        **dict.fromkeys(("member", "subgroup", "access_token"), "who may do what there is not our subject"),
        **dict.fromkeys(("push", "tag_push", "wiki_page"), _CODE),
        **dict.fromkeys(("pipeline", "build", "deployment", "feature_flag"), _MACHINE),
        "milestone": "boards arrange issues and change none",
        "emoji": "a reaction says nothing in words",
        "vulnerability": "what is not public yet must not reach a group",
    },
    "gitea": {
        **{
            f"issue {action}": _EARLIER
            for action in (
                "edited", "assigned", "unassigned", "label_updated", "label_cleared", "milestoned", "demilestoned",
            )
        },
        "issue deleted": "a line that something was deleted would only draw eyes to it",
        "comment edited": _STAYS,
        "comment deleted": _EARLIER,
        **{
            f"pull request {action}": _EARLIER
            for action in (
                "edited", "assigned", "unassigned", "label_updated", "synchronized", "review_requested",
                "review_request_removed", "milestoned",
            )
        },
        **dict.fromkeys(("release updated", "release deleted"), "it was told when it came"),
        "release of a draft": "nobody sees it yet",
        **dict.fromkeys(("repository created", "repository deleted"), _REACH),
        **dict.fromkeys(("create", "delete", "fork", "push", "wiki"), _CODE),
        **dict.fromkeys(("package", "status", "workflow_job", "workflow_run"), _MACHINE),
    },
    "gitee": {
        **dict.fromkeys(("issue that is private", "comment on what is private"), _HIDDEN),
        "issue assign": _EARLIER,
        "issue in progress": "to do and in progress are one to us",
        "issue delete": "a line that something was deleted would only draw eyes to it",
        **{
            f"pull request {action}": _EARLIER for action in ("update", "assign", "test", "tested", "with new code")
        },
        **dict.fromkeys(("push", "tag", "comment on a commit"), _CODE),
        "comment, edit": _STAYS,
        "comment, delete": _EARLIER,
    },
}  # fmt: skip


@dataclass
class Tracker:
    """A connection to one simulated forge, and the calls that the forge makes to it."""

    name: str
    forge: Forge
    hook: Hook
    calls: list[tuple[int, DescribedHook]]  # by the repository that each is about


def _forge(name: str, clock: AheadClock) -> tuple[Forge, Any, str, Callable[[Places], list[DescribedHook]]]:
    """The simulator, its application, where its API begins, and what it may call with."""

    def now() -> Any:
        return clock.now().replace(microsecond=0)

    match name:
        case "gitlab":
            one = gitlab.GitLabSimulator(now=now)
            return one, gitlab.application(one), "/api/v4", of_gitlab.hooks
        case "gitea":
            two = gitea.GiteaSimulator(now=now)
            return two, gitea.application(two), "/api/v1", of_gitea.hooks
        case _:
            three = gitee.GiteeSimulator(now=now)
            return three, gitee.application(three), "/api/v5", of_gitee.hooks


async def test_every_described_webhook_is_told_in_a_linked_group_or_is_not_for_a_reason(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    async with _connected(urls, tmp_path) as (app, workspace_id, trackers):

        async def rows(sql: str) -> list[tuple[Any, ...]]:
            async with app.database.transaction(workspace_id) as tx:
                return await tx.rows(sql)

        async with aiohttp.ClientSession() as http:
            for tracker in trackers:
                for n, (_, one) in enumerate(tracker.calls):
                    body = json.dumps(one.payload, ensure_ascii=False).encode()
                    delivery = HookDelivery(n, f"{tracker.name}-{n}", one.event, "", body, tracker.hook, "")
                    headers = tracker.forge.hooks.headers(delivery)
                    async with http.post(tracker.hook.url, data=body, headers=headers) as answer:
                        assert answer.status < 300, (tracker.name, one.name, await answer.text())

        async def read() -> bool:
            return await rows("select 1 from delivery where state = 'pending' limit 1") == []

        await eventually(read, within=60)
        assert await rows("select error from delivery where state <> 'done'") == []
        found = await rows(
            "select c.vendor, r.external_id::bigint, g.kind from group_news g "
            "join repository r on r.id = g.repository_id join connection c on c.id = r.connection_id"
        )
        unsaid = {}
        for tracker in trackers:
            told = {place for vendor, place, _ in found if vendor == tracker.name}
            silent = {one.name for place, one in tracker.calls if place not in told}
            reasoned = set(UNTOLD[tracker.name])
            unsaid[tracker.name] = (sorted(silent - reasoned), sorted(reasoned - silent))
        assert unsaid == dict.fromkeys(UNTOLD, ([], [])), "not told without a reason, and told in spite of one"


@asynccontextmanager
async def _connected(urls: DatabaseUrls, folder: Path) -> AsyncIterator[tuple[Any, int, list[Tracker]]]:
    clock, program = AheadClock(), WebhookProgram()
    app = build_app(urls, folder, clock)
    app.start_workers()
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(served(program.app))
        url = await stack.enter_async_context(served(application(app)))
        (workspace_id,) = await app.database.workspaces()
        await _group_that_hears_all(app, workspace_id, program, url, there, clock)
        trackers = []
        for name in UNTOLD:
            forge, api, prefix, described = _forge(name, clock)
            await stack.enter_async_context(forge)
            base = await stack.enter_async_context(served(api))
            trackers.append(await _tracker(app, workspace_id, name, forge, base + prefix, url, described, clock))
        yield app, workspace_id, trackers


async def _tracker(
    app: Any,
    workspace_id: int,
    name: str,
    forge: Any,
    base: str,
    url: str,
    described: Callable[[Places], list[DescribedHook]],
    clock: AheadClock,
) -> Tracker:
    made: list[Any] = []

    def places(state: str, private: bool) -> DescribedPlace:
        repo = forge.repository(f"acme/{name}-{len(made)}", pushers={"chen"})
        made.append(repo)
        entry = forge.opens(repo, "chen", "新接口", "切换后丢数据")
        comment, now = forge.comments(repo, entry, "chen", "我也是"), forge.now()
        if state != "new":
            entry.created_at, entry.state = now - timedelta(days=30), state
        entry.confidential = private
        return DescribedPlace(repo.id, repo.full_name, entry.number, comment.id, entry.created_at, now)

    calls = []
    for one in described(places):
        place = one.payload.get("project") or one.payload.get("repository") or {}
        calls.append((int(place.get("id") or one.payload.get("project_id") or 0), one))
    values = {
        "account": "acme",
        "webhook_secret": WEBHOOK_SECRET,
        "api_base": base,
        "token": forge.token("desk", *made),
    }
    async with app.database.transaction(workspace_id) as tx:
        done = await connect(tx, app.vault, bootstrap.TRACKERS[name], values, now=app.clock.now())
        for repo in made:
            known = Repository(str(repo.id), repo.full_name)
            await repositories.keep(tx, done.id, known, now=app.clock.now())
        public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
    # We are told of all this: nobody finds it by looking before that.
    there = [repo.entries for repo in made]
    for repo in made:
        repo.entries = {}
    await TrackerJobs(app.database, app.connections, clock).sync_tracker(workspace_id, done.id)
    looking = (
        "select count(*) from jobs.procrastinate_jobs where task_name like 'sync_tracker%%' and status = any(%(s)s)"
    )

    async def looked() -> bool:
        async with app.database.transaction(workspace_id) as tx:
            return await tx.value(looking, s=["todo", "doing"]) == 0

    await eventually(looked)
    for repo, entries in zip(made, there, strict=True):
        repo.entries = entries if name == "gitee" else {}  # which alone is asked what an issue says
    return Tracker(name, forge, Hook(f"{url}/hooks/{public_id}", WEBHOOK_SECRET), calls)


async def _group_that_hears_all(
    app: Any, workspace_id: int, program: WebhookProgram, url: str, there: str, clock: AheadClock
) -> None:
    values = {"source": "crm", "url": f"{there}/inbox", "secret": SECRET, "allow_private": "true"}
    async with app.database.transaction(workspace_id) as tx:
        done = await connect(tx, app.vault, bootstrap.CHANNELS["webhook"], values, now=clock.now())
        public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
    program.hooks = f"{url}/hooks/{public_id}"
    said = {"id": "m1", "text": "大家早"}
    event = {"type": "message", "group": {"id": "g-1"}, "contact": {"id": "lu", "name": "陆知行"}, "message": said}
    await program.call(event)

    async def linked() -> bool:
        async with app.database.transaction(workspace_id) as tx:
            group = await tx.value("select id from conversation where kind = 'group'")
            if group is not None:
                settings = {"mode": "all", "bots": True, "events": [*get_args(UsualEvent), *get_args(RareEvent)]}
                await repositories.link(tx, group, "acme/*", settings=settings, by=SYSTEM, now=clock.now())
            return group is not None

    await eventually(linked)
