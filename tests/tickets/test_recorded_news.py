"""Every webhook that was recorded of GitHub, through the door, with a group that wants to hear everything: it is told,
or is not for a reason."""

from __future__ import annotations

import hmac
import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import aiohttp

from tests.integrations.test_github_payloads import SILENT, packages, recorded
from tests.ports.tracker_stands import WEBHOOK_SECRET
from tests.tickets.github_app import GitHubApp, eventually, github_app
from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.events import SYSTEM
from zhiban.integrations.github.news import IGNORED, IGNORED_ACTIONS
from zhiban.ports import Repository
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.forge import stamp
from zhiban.testing.serving import served
from zhiban.testing.webhook import SECRET, WebhookProgram
from zhiban.tickets import repositories
from zhiban.tickets.group_news import RareEvent, UsualEvent

__all__ = ["packages", "recorded"]

_REACH = "which repositories we reach stands on the tracker's page"
_FOLLOWED = "what a repository is called and who sees it is followed, and told by the news that come next"
_EARLIER = "the issue was there before we were: what is different about it nobody can say"
# What is read and kept, and told in no group, by event and action.
UNTOLD = {
    ("installation", "created"): _REACH,
    ("installation", "deleted"): _REACH,
    ("installation_repositories", "added"): _REACH,
    ("installation_repositories", "removed"): _REACH,
    ("issues", "deleted"): "a line that something was deleted would only draw eyes to it",
    ("issues", "transferred"): "it is opened where it went to, and told there",
    ("issue_comment", "deleted"): _EARLIER,
    ("issue_comment", "edited"): "what was told stays, and what waits to be told is changed",
    **{
        ("issues", action): _EARLIER
        for action in (
            *("assigned", "demilestoned", "edited", "labeled", "locked", "milestoned", "pinned", "unassigned"),
            *("unlabeled", "unlocked", "unpinned"),
        )
    },
    **{
        ("pull_request", action): _EARLIER
        for action in ("assigned", "converted_to_draft", "labeled", "locked", "unassigned", "unlabeled", "unlocked")
    },
    **{("repository", action): _FOLLOWED for action in ("created", "privatized", "publicized", "renamed")},
    ("repository", "transferred"): _FOLLOWED,
    ("star", "created"): "a group celebrates 10, 20, 50 and so on, and these are none of them",
}


async def test_every_recorded_webhook_is_told_in_a_linked_group_or_is_not_for_a_reason(
    urls: DatabaseUrls, tmp_path: Path, recorded: list[tuple[str, Any]]
) -> None:
    program = WebhookProgram()
    async with github_app(urls, tmp_path) as site, served(program.app) as there:
        await _group_that_hears_all(site, program, there)
        # What takes repositories away comes last. Each payload has a repository of its own, so that none answers
        # for another.
        calls = sorted(enumerate(recorded), key=lambda one: one[1][0].startswith("installation"))
        async with site.app.database.transaction(site.workspace_id) as tx:
            for n, (_, payload) in calls:
                if payload.get("repository"):
                    payload["repository"] |= {"id": 10_000 + n, "full_name": f"acme/r{n}"}
                    known = Repository(str(10_000 + n), f"acme/r{n}")
                    await repositories.keep(tx, site.connection_id, known, now=site.clock.now())
                if payload.get("action") == "opened":  # just now; all others were there before we were
                    payload.get("issue", payload.get("pull_request", {}))["created_at"] = stamp(site.clock.now())
        async with aiohttp.ClientSession() as http:
            for n, (event, payload) in calls:
                body = json.dumps(payload).encode()
                headers = {
                    "X-Hub-Signature-256": "sha256=" + hmac.new(WEBHOOK_SECRET.encode(), body, "sha256").hexdigest(),
                    "X-GitHub-Event": event,
                    "X-GitHub-Delivery": f"recorded-{n}",
                    "Content-Type": "application/json",
                }
                async with http.post(site.github.hooks.hooks[0].url, data=body, headers=headers) as answer:
                    assert answer.status < 300, (event, payload.get("action"))

        async def read() -> bool:
            return await site.count("select count(*) from delivery where state = 'pending'") == 0

        await eventually(read, within=120)
        assert await site.count("select count(*) from delivery where state <> 'done'") == 0
        async with site.app.database.transaction(site.workspace_id) as tx:
            rows = await tx.rows(
                "select r.external_id::int - 10000, g.kind from group_news g join repository r "
                "on r.id = g.repository_id"
            )
        told = {n for n, _ in rows}
        opened = {recorded[n][1]["action"] for n, kind in rows if kind == "opened"}
        assert opened == {"opened"}
    silent: Counter[tuple[str, str]] = Counter()
    for n, (event, payload) in calls:
        action = str(payload.get("action", ""))
        ignored = event in IGNORED or action in IGNORED_ACTIONS.get(event, ()) or (event, action) in SILENT
        if n in told:
            assert not ignored, (event, action)
        elif not ignored:
            silent[event, action] += 1
    assert set(silent) == set(UNTOLD)
    assert len(told) >= 30


async def _group_that_hears_all(site: GitHubApp, program: WebhookProgram, there: str) -> None:
    values = {"source": "crm", "url": f"{there}/inbox", "secret": SECRET, "allow_private": "true"}
    app = site.app
    async with app.database.transaction(site.workspace_id) as tx:
        done = await connect(tx, app.vault, bootstrap.CHANNELS["webhook"], values, now=site.clock.now())
        public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
    program.hooks = f"{site.url}/hooks/{public_id}"
    said = {"id": "m1", "text": "大家早"}
    event = {"type": "message", "group": {"id": "g-1"}, "contact": {"id": "lu", "name": "陆知行"}, "message": said}
    await program.call(event)

    async def there_is_one() -> bool:
        return await site.count("select count(*) from conversation where kind = 'group'") == 1

    await eventually(there_is_one)
    events = [*get_args(UsualEvent), *get_args(RareEvent)]
    async with app.database.transaction(site.workspace_id) as tx:
        group = await tx.value("select id from conversation where kind = 'group'")
        settings = {"mode": "all", "bots": True, "events": events}
        await repositories.link(tx, group, "acme/*", settings=settings, by=SYSTEM, now=site.clock.now())
