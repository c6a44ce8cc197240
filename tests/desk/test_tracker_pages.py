"""Trackers in the settings: connected and proved step by step, changed, paused, removed; groups linked and unlinked."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.desk.conftest import Client, Site
from zhiban.channels import inboxes
from zhiban.channels.credentials import opened
from zhiban.channels.service import connect
from zhiban.conversations.ingest import ingest
from zhiban.desk.settings_page import ChannelSetup
from zhiban.events import SYSTEM
from zhiban.integrations.github.integration import GITHUB
from zhiban.kit.errors import NotFound
from zhiban.kit.settings import load
from zhiban.ports import IncomingMessage, Kind, Repository, SenderRole
from zhiban.testing.github import GitHubSimulator, application
from zhiban.testing.serving import served
from zhiban.tickets import filing, repositories
from zhiban.tickets.command import parse

NEW = "/settings/trackers/new"
LINKS = "/settings/repositories"


def at_address(site: Site, url: str) -> None:
    """Our server calls GitHub there, as the operator's settings say."""
    setup: ChannelSetup = site.app.state.channel_setup
    known = {one.name: getattr(setup, one.name) for one in fields(setup)}  # type: ignore[arg-type]
    site.app.state.channel_setup = ChannelSetup(**{**known, "settings": load(env_file=None, github_api_base=url)})


@asynccontextmanager
async def simulated(site: Site) -> AsyncIterator[GitHubSimulator]:
    """A GitHub with acme/shop, called by our server."""
    async with GitHubSimulator() as github, served(application(github)) as url:
        github.repository("acme/shop")
        at_address(site, url)
        yield github


async def facts(site: Site, *kinds: str) -> list[dict[str, Any]]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        rows = await tx.rows("select kind, data from event where kind = any(%(kinds)s) order by id", kinds=list(kinds))
    return [{"kind": kind, **data} for kind, data in rows]


async def secrets(site: Site) -> dict[str, Any]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        (row,) = [one for one in await inboxes.connections(tx, part="tracker") if one.removed_at is None]
        return next(found for name, found in await opened(tx, site.app.state.channel_setup.vault) if name == row.name)


async def connected(site: Site, token: str = "github_pat_1") -> tuple[Client, str]:
    owner = await site.signed_in()
    page = await owner.post(NEW, {"vendor": "github", "v.account": "acme", "v.token": token})
    assert page.status == 200, page.text[-500:]
    (added,) = await facts(site, "connection_added")
    return owner, f"/settings/trackers/{added['connection_id']}"


def states(html: str) -> dict[str, str]:
    """How each step stands."""
    return {key: state for state, key in re.findall(r'<li data-state="(\w+)" id="step-([\w-]+)"', html)}


async def test_each_step_is_proved_by_github(site: Site) -> None:
    async with simulated(site) as github:
        owner = await site.signed_in()
        assert "GitHub" in (await owner.get(NEW)).text
        empty = await owner.post(NEW, {"vendor": "github"})
        assert (empty.status, empty.text.count("这一项要填")) == (422, 1)
        neither = await owner.post(NEW, {"vendor": "github", "v.account": "acme"})
        assert (neither.status, 'id="e-token"' in neither.text) == (422, True)
        assert (await owner.get(f"{NEW}?vendor=jira")).status == 404
        owner, at = await connected(site, "github_pat_wrong")
        refused = await owner.post(f"{at}/check", hx_request="true")
        assert states(refused.text) == {
            "values": "done",
            "credentials": "failed",
            "repositories": "todo",
            "permissions": "todo",
            "callback": "doing",
        }
        assert "凭据" in refused.text
        # A right token that reaches nothing, and then one that reaches a repository.
        assert (await owner.post(at, {"v.token": github.token("chen")})).status == 303
        assert states((await owner.post(f"{at}/check", hx_request="true")).text)["repositories"] == "failed"
        reading = github.token("chen", *github.repos.values(), issues="read")
        assert (await owner.post(at, {"v.token": reading})).status == 303
        assert states((await owner.post(f"{at}/check", hx_request="true")).text)["permissions"] == "failed"
        token = github.token("chen", *github.repos.values())
        assert (await owner.post(at, {"v.token": token})).status == 303
        passed = states((await owner.post(f"{at}/check", hx_request="true")).text)
        assert [key for key, state in passed.items() if state == "done"] == [
            *("values", "credentials", "repositories", "permissions"),
        ]
        assert not [one for repo in github.repos.values() for one in repo.entries]  # asking has made nothing
        shown = (await owner.get(at)).text
        assert (token in shown, 'value="acme" readonly' in shown) == (False, True)


async def test_a_github_that_is_down_is_told_in_a_sentence(site: Site) -> None:
    owner, at = await connected(site)
    failed = await owner.post(f"{at}/check", hx_request="true")
    assert states(failed.text)["credentials"] == "failed"
    assert "GitHub" in re.sub(r"<[^>]+>", "", failed.text)
    assert "Traceback" not in failed.text


async def test_the_webhook_secret_is_shown_once_and_renewed(site: Site) -> None:
    owner = await site.signed_in()
    page = await owner.post(NEW, {"vendor": "github", "v.account": "acme", "v.token": "github_pat_1"})
    (first,) = re.findall(r'id="made-webhook_secret" value="([^"]+)"', page.text)
    (added,) = await facts(site, "connection_added")
    at = f"/settings/trackers/{added['connection_id']}"
    assert first not in (await owner.get(at)).text
    renewed = await owner.post(f"{at}/rotate")
    (second,) = re.findall(r'id="made-webhook_secret" value="([^"]+)"', renewed.text)
    kept = await secrets(site)
    assert (kept["webhook_secret"], kept["previous_webhook_secret"]) == (second, first)
    assert kept["token"] == "github_pat_1"
    assert [one["changed"] for one in await facts(site, "connection_changed")] == [["webhook_secret"]]
    assert not {first, second} & set(re.findall(r"[\w-]{20,}", (await owner.get(at)).text))


async def test_what_the_operator_opened_alone_stays_the_operators(site: Site) -> None:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        values = {"account": "acme", "token": "github_pat_1", "api_base": "http://10.0.0.7/api/v3"}
        vault = site.app.state.channel_setup.vault
        done = await connect(tx, vault, GITHUB, values, now=site.seed.clock.now())
    owner, at = await site.signed_in(), f"/settings/trackers/{done.id}"
    shown = (await owner.get(at)).text
    assert ("zhiban tracker add github" in shown, "/rotate" in shown) == (True, False)
    for path, form in ((at, {"v.token": "github_pat_2"}), (f"{at}/rotate", {})):
        refused = await owner.post(path, form)
        assert (refused.status, "内网" in refused.text) == (422, True), path
    mine = {"vendor": "github", "v.account": "acme", "v.token": "x", "v.api_base": "http://127.0.0.1:1"}
    assert (await owner.post(NEW, mine)).status == 422
    assert (await owner.post("/settings/trackers/app/new", {"vendor": "github", "v.account": "acme"})).status == 422
    assert (await secrets(site))["token"] == "github_pat_1"


async def test_a_tracker_is_paused_resumed_and_removed(site: Site) -> None:
    owner, at = await connected(site)
    connection_id = int(at.rsplit("/", 1)[1])
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await repositories.keep(tx, connection_id, Repository("1", "acme/shop"), now=site.seed.clock.now())
    for verb, word in (("pause", "起暂停"), ("resume", "acme/shop")):
        assert (await owner.post(f"{at}/{verb}")).status == 303
        assert (await owner.post(f"{at}/{verb}")).status == 303  # pressed twice
        assert word in (await owner.get(at)).text
    assert [one["kind"] for one in await facts(site, "connection_paused", "connection_resumed")] == [
        *("connection_paused", "connection_resumed"),
    ]
    assert (await owner.post(f"{at}/remove")).status == 303
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert await repositories.repositories(tx) == []
    for path in (at, f"{at}/steps"):
        assert (await owner.get(path)).status == 404
    assert "还没有接入工单系统" in (await owner.get("/settings/trackers")).text
    # Connected again it is the same connection, called at the same address.
    assert (await owner.post(NEW, {"vendor": "github", "v.account": "acme", "v.token": "x"})).status == 200
    assert [one["connection_id"] for one in await facts(site, "connection_added")] == [connection_id] * 2


# ------------------------------------------------------------------------------------------------------------- groups


async def with_groups(site: Site) -> list[int]:
    """Two groups, and the repositories acme/shop and acme/docs."""
    seed = site.seed
    now = datetime.now(UTC)
    said = [
        IncomingMessage(f"g{n}", f"g-{n}", "zhou", SenderRole.CONTACT, Kind.TEXT, "大家好", now, group=True)
        for n in (1, 2)
    ]
    async with seed.database.transaction(seed.workspace_id) as tx:
        await ingest(tx, seed.inbox, said, now=now, process_id=1)
        done = await connect(
            tx, site.app.state.channel_setup.vault, GITHUB, {"account": "acme", "token": "x"}, by=SYSTEM, now=now
        )
        for n, name in enumerate(("acme/shop", "acme/docs")):
            await repositories.keep(tx, done.id, Repository(str(n), name), now=now)
        return await tx.values("select id from conversation where kind = 'group' order by id")


async def links(site: Site) -> list[tuple[int, str, dict[str, Any]]]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return [(one.conversation_id, one.pattern, one.settings) for one in await repositories.all_links(tx)]


async def test_groups_are_linked_with_repositories_and_unlinked(site: Site) -> None:
    first, second = await with_groups(site)
    owner = await site.signed_in()
    wishes = {"mode": "list", "labels": "bug，文档", "event": "opened", "quiet_from": "22:00", "quiet_to": "08:00"}
    assert (await owner.post(LINKS, {"group": str(first), "pattern": "acme/*", **wishes})).status == 303
    kept = {"mode": "list", "labels": ["bug", "文档"], "events": ["opened"], "quiet": {"start": 1320, "end": 480}}
    assert await links(site) == [(first, "acme/*", kept)]
    # Several repositories for a group, and several groups for a repository.
    assert (await owner.post(LINKS, {"group": str(first), "pattern": "ACME/shop"})).status == 303
    assert (await owner.post(LINKS, {"group": str(second), "pattern": "https://acme/shop/"})).status == 303
    assert [one[:2] for one in await links(site)] == [(first, "acme/*"), (first, "acme/shop"), (second, "acme/shop")]
    page = (await owner.get(LINKS)).text
    assert ("22:00-08:00攒着" in page, "2个仓库" in page, page.count('value="22:00"')) == (True, True, 1)
    # Said again in the terminal or in the group, everything stays as it was chosen.
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await repositories.link(tx, first, "acme/*", by=SYSTEM, now=site.seed.clock.now())
        (row, *_) = await repositories.all_links(tx)
    assert (await links(site))[0] == (first, "acme/*", kept)
    assert (await owner.post(f"{LINKS}/{row.id}", {"mode": "first", "bots": "on", "budget": "2"})).status == 303
    assert (await links(site))[0][2] == {"mode": "first", "bots": True, "budget": 2}
    assert (await owner.post(f"{LINKS}/{row.id}/remove")).status == 303
    assert (await owner.post(f"{LINKS}/{row.id}/remove")).status == 404
    assert len(await links(site)) == 2
    log = (await owner.get("/settings/audit")).text
    assert ("不再让群听仓库的消息" in log, "仓库：acme/*" in log) == (True, True)


async def test_links_that_make_no_sense_are_refused_in_words(site: Site) -> None:
    first, _second = await with_groups(site)
    owner = await site.signed_in()
    good = {"group": str(first), "pattern": "acme/shop"}
    for wrong in (
        {"pattern": "acme/unknown"},
        {"pattern": "*"},
        {"pattern": ""},
        {"group": str(site.seed.conversations["马骁"])},  # no group
        {"group": "0"},
        {"mode": "loud"},
        {"event": "exploded"},
        {"budget": "7"},
        {"budget": "many"},
        {"quiet_from": "22:00"},
        {"quiet_from": "22:00", "quiet_to": "99:00"},
        {"labels": ",".join(map(str, range(21)))},
    ):
        refused = await owner.post(LINKS, {**good, **wrong})
        assert (refused.status, 'role="alert"' in refused.text) == (422, True), wrong
    assert await links(site) == []
    hostile = '<script>x</script>/"><img>'
    answer = await owner.post(LINKS, {**good, "pattern": hostile})
    assert (answer.status, "<script>x" in answer.text, "<img>" in answer.text) == (422, False, False)


async def test_a_group_may_call_a_repository_by_another_word(site: Site) -> None:
    first, second = await with_groups(site)
    owner, alias = await site.signed_in(), f"{LINKS}/alias"
    assert (await owner.post(LINKS, {"group": str(first), "pattern": "acme/*"})).status == 303
    assert (await owner.post(alias, {"repository": "ACME/docs", "alias": " 文档 "})).status == 303
    assert (await owner.post(alias, {"repository": "acme/docs", "alias": "文档"})).status == 303  # said twice
    for wrong in (
        {"repository": "acme/shop", "alias": "文档"},  # another one is called so
        {"repository": "acme/shop", "alias": "acme/docs"},
        {"repository": "acme/shop", "alias": "文档仓库"},
        {"repository": "acme/shop", "alias": "一 二"},
        {"repository": "acme/nothing", "alias": "店"},
        {"repository": "", "alias": "店"},
    ):
        refused = await owner.post(alias, wrong)
        assert (refused.status, 'role="alert"' in refused.text) == (422, True), wrong
    page = (await owner.get(LINKS)).text
    assert ("<b>文档</b>" in page, "acme/docs" in page) == (True, True)

    async def meant(conversation: int, text: str) -> str:
        command = parse(text, addressed=False)
        assert command is not None
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            found = await filing.repository_wanted(tx, conversation, command.options.repository)
        assert found is not None
        return found.name

    assert await meant(first, "以上5条开工单，到文档仓库") == "acme/docs"
    assert await meant(first, "以上5条开工单，到文档") == "acme/docs"
    assert await meant(first, "以上5条开工单，到shop仓库") == "acme/shop"
    with pytest.raises(NotFound):  # a group that is not linked with it reaches it by no word
        await meant(second, "以上5条开工单，到文档仓库")
    assert (await owner.post(alias, {"repository": "acme/docs"})).status == 303
    with pytest.raises(NotFound):
        await meant(first, "以上5条开工单，到文档仓库")
    told = [(one["name"], one["previous"], one["alias"]) for one in await facts(site, "repository_aliased")]
    assert told == [("acme/docs", "", "文档"), ("acme/docs", "文档", "")]
    assert "改了仓库的别名" in (await owner.get("/settings/audit")).text
