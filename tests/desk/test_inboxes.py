"""Inboxes in the settings: made, changed, paused, removed; secrets go in and never come out."""

from __future__ import annotations

import re
from typing import Any

from tests.desk.conftest import Client, Site
from zhiban.channels import inboxes
from zhiban.channels.credentials import opened
from zhiban.channels.service import connect
from zhiban.integrations.webhook import WEBHOOK
from zhiban.testing.serving import served
from zhiban.testing.webhook import OTHER_SECRET, SECRET, WebhookProgram

NEW = "/settings/inboxes/new"


def values(**given: str) -> dict[str, str]:
    return {"vendor": "webhook", **{f"v.{name}": value for name, value in given.items()}}


async def facts(site: Site, kind: str) -> list[Any]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return await tx.values("select data from event where kind = %(kind)s order by id", kind=kind)


async def secrets(site: Site) -> dict[str, Any]:
    """What is sealed for the program."""
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        (row,) = [one for one in await inboxes.connections(tx) if one.vendor == "webhook"]
        return next(found for name, found in await opened(tx, site.app.state.channel_setup.vault) if name == row.name)


async def connected(site: Site, url: str = "http://127.0.0.1:9/", **more: str) -> tuple[Client, str]:
    """The owner with a program connected. Returns the address of the connection's page."""
    owner = await site.signed_in()
    given = {"source": "crm", "url": url, "secret": SECRET, **more}
    answer = await owner.post(NEW, values(**given))
    assert answer.status == 303
    return owner, answer.headers["location"]


async def test_what_is_missing_or_wrong_is_said_beside_its_field(site: Site) -> None:
    owner = await site.signed_in()
    page = await owner.post(NEW, values(source="crm"))
    assert (page.status, page.text.count("这一项要填"), 'value="crm"' in page.text) == (422, 1, True)
    wrong = await owner.post(NEW, values(source="crm", url="ftp://x", secret="whsec_x"))
    assert (wrong.status, 'id="e-url"' in wrong.text, "whsec_x" in wrong.text) == (422, True, False)
    short = await owner.post(NEW, values(source="crm", url="https://crm.example/", secret="whsec_x"))
    assert (short.status, 'id="e-secret"' in short.text) == (422, True)
    assert await facts(site, "connection_added") == []
    assert (await owner.get(f"{NEW}?vendor=fax")).status == 404
    assert (await owner.post(NEW, {"vendor": "fax"})).status == 404


async def test_a_secret_that_was_made_up_is_shown_once(site: Site) -> None:
    owner = await site.signed_in()
    page = await owner.post(NEW, values(source="crm", url="http://127.0.0.1:9/"))
    found = re.search(r'id="made-secret" value="(whsec_[^"]+)"', page.text)
    assert (page.status, found is not None) == (200, True)
    assert found is not None
    made = found[1]
    assert (await secrets(site))["secret"] == made
    (added,) = await facts(site, "connection_added")
    again = await owner.get(f"/settings/connections/{added['connection_id']}")
    assert (again.status, made in again.text) == (200, False)
    assert made not in str(await facts(site, "connection_changed"))


async def test_secrets_are_replaced_and_what_is_left_empty_stays(site: Site) -> None:
    owner, at = await connected(site)
    page = (await owner.get(at)).text
    assert SECRET not in page
    assert "已保存，不再显示" in page
    assert (await owner.post(at, {"v.url": "http://127.0.0.1:9/other"})).status == 303
    assert (await secrets(site))["secret"] == SECRET
    assert (await owner.post(at, {"v.secret": OTHER_SECRET, "v.source": "another"})).status == 303
    kept = await secrets(site)
    assert (kept["secret"], kept["previous_secret"]) == (OTHER_SECRET, SECRET)  # the former one for a day
    assert [one["changed"] for one in await facts(site, "connection_changed")] == [["url"], ["secret"]]
    assert OTHER_SECRET not in str(await facts(site, "connection_changed"))
    refused = await owner.post(at, {"v.secret": "whsec_short"})
    assert (refused.status, "whsec_short" in refused.text) == (422, False)
    assert (await secrets(site))["secret"] == OTHER_SECRET


async def test_the_operator_alone_opens_private_networks(site: Site) -> None:
    program = WebhookProgram()
    async with served(program.app) as url:
        given = {"source": "crm", "url": f"{url}/inbox", "secret": SECRET, "allow_private": "true"}
        owner, at = await connected(site, given["url"], allow_private="true")
        assert "allow_private" not in (await owner.get(f"{NEW}?vendor=webhook")).text
        assert (await owner.post(at, {"v.url": f"{url}/other", "v.allow_private": "true"})).status == 303
        refused = await owner.post(f"{at}/check", hx_request="true")
        assert re.search(r'data-state="failed" id="step-signature"', refused.text)
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:  # whatever page or program asks
            vault, by = site.app.state.channel_setup.vault, site.seed.by("林晓")
            done = await connect(tx, vault, WEBHOOK, given, by=by, now=site.seed.clock.now())
            row = await inboxes.access_connection(tx, done.id)
        assert row.config["allow_private"] is False
        assert program.heard == []
        assert await site.operator_connects("webhook", **given) == at
        passed = await owner.post(f"{at}/check", hx_request="true")
        assert re.search(r'data-state="done" id="step-signature"', passed.text)
        shown = (await owner.get(at)).text
        assert ("zhiban inbox add webhook" in shown, 'name="v.' in shown) == (True, False)
        assert (await owner.post(at, {"accounts": ""})).status == 303  # what was not typed stays
        for mine in ({"v.url": f"{url}/admin"}, {"v.secret": OTHER_SECRET}):
            assert (await owner.post(at, mine)).status == 422, mine
            again = await owner.post(NEW, {**values(**given), **mine})
            assert (again.status, "内网" in again.text) == (422, True), mine
        assert (await secrets(site))["secret"] == SECRET
        assert (await owner.post(f"{at}/remove")).status == 303
        assert (await owner.post(NEW, values(**given))).headers["location"] == at
        calls = len(program.heard)
        closed = await owner.post(f"{at}/check", hx_request="true")
        assert re.search(r'data-state="failed" id="step-signature"', closed.text)
        assert len(program.heard) == calls  # what was opened is not there for whoever comes after


async def test_each_step_is_really_checked(site: Site) -> None:
    program = WebhookProgram()
    async with served(program.app) as url:
        owner = await site.signed_in()
        near = {"source": "crm", "url": f"{url}/inbox", "secret": SECRET, "allow_private": "true"}
        at = await site.operator_connects("webhook", **near)
        assert 'hx-trigger="load"' in (await owner.get(at)).text  # nobody has asked the vendor yet
        program.secret = OTHER_SECRET
        failed = await owner.post(f"{at}/check", hx_request="true")
        assert re.search(r'data-state="failed" id="step-signature"', failed.text)
        program.secret = SECRET
        passed = await owner.post(f"{at}/check", hx_request="true")
        assert re.search(r'data-state="done" id="step-signature"', passed.text)
        assert re.search(r'data-state="doing" id="step-callback"', passed.text)
        assert (await owner.post(f"{at}/check")).headers["location"] == at  # without scripts
        assert SECRET not in passed.text
    shown = (await owner.get("/settings/inboxes")).text
    assert "还没收到过回调" in shown


async def test_an_inbox_is_named_and_given_a_base_of_its_own(site: Site) -> None:
    owner = await site.signed_in()
    at = f"/settings/inboxes/{site.seed.inbox.inbox_id}"
    page = await owner.get(at)
    assert "青禾官方客服" in page.text
    assert (await owner.post(at, {"name": " 售后 ", "base": "new", "new_base": "售后资料"})).status == 303
    assert (await owner.post(at, {"name": "售后", "base": "售后资料"})).status == 303  # twice is once
    assert "用售后资料回答" in (await owner.get("/settings/inboxes")).text
    changed = await facts(site, "inbox_configured")
    assert [sorted(one["after"]) for one in changed] == [["name"], ["base_id"]]
    assert (changed[0]["before"], changed[0]["after"]) == ({"name": "青禾官方客服"}, {"name": "售后"})
    for wrong in ({"name": " "}, {"name": "x" * 61}, {"name": "售后", "base": "new", "new_base": "售后资料"}):
        assert (await owner.post(at, wrong)).status == 422, wrong
    assert (await owner.post(at, {"name": "售后", "base": "nowhere"})).status == 404
    assert (await owner.post(at, {"name": "售后"})).status == 303  # the main base again
    assert len(await facts(site, "inbox_configured")) == 3


async def test_an_inbox_pauses_ends_and_comes_back(site: Site) -> None:
    owner, at = await connected(site)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        inbox_id = await tx.value("select id from inbox where kind = 'webhook'")
    here = f"/settings/inboxes/{inbox_id}"
    assert (await owner.post(f"{here}/pause")).status == 303
    assert "已暂停" in (await owner.get(here)).text
    assert (await owner.post(f"{here}/resume")).status == 303
    assert "凭据一并删除" in (await owner.get(here)).text  # said before it is done
    assert (await owner.post(f"{here}/remove")).status == 303
    for gone in (here, at, f"{at}/steps"):
        assert (await owner.get(gone)).status == 404
    for verb in ("pause", "resume", "remove"):
        assert (await owner.post(f"{here}/{verb}")).status == 404
    assert (await owner.post(f"{here}/restore")).status == 409  # its connection went with it
    _, again = await connected(site)
    assert again == at
    assert (await owner.get(here)).status == 200


async def test_a_connection_goes_with_all_its_inboxes(site: Site) -> None:
    owner, at = await connected(site)
    assert (await owner.post(f"{at}/remove")).status == 303
    assert (await owner.get(at)).status == 404
    assert (await owner.post(f"{at}/remove")).status == 404
    assert len(await facts(site, "connection_removed")) == 1
    assert await secrets(site) == {}
    assert "已移除" in (await owner.get("/settings/inboxes")).text


async def test_what_this_version_does_not_know_can_still_be_removed(site: Site) -> None:
    owner = await site.signed_in()  # the inbox of the seed has a vendor of the tests
    assert "这个版本不认识渠道memory" in (await owner.get("/settings/inboxes")).text
    assert (await owner.post(f"/settings/inboxes/{site.seed.inbox.inbox_id}/remove")).status == 303


async def test_each_is_sent_to_the_settings_that_are_theirs(site: Site) -> None:
    owner, agent = await site.signed_in(), await site.signed_in("chenmo")
    assert (await owner.get("/settings")).headers["location"] == "/settings/inboxes"
    assert (await agent.get("/settings")).headers["location"] == "/settings/people"
    assert "/settings/inboxes" not in (await agent.get("/settings/people")).text
    rail = (await owner.get("/settings/inboxes")).text.partition('id="rail"')[2].partition("</aside>")[0]
    addresses = re.findall('href="(/settings/[^"]+)"', rail)
    assert len(addresses) == 18
    for address in addresses:
        assert '<a class="dock__a" href="/settings" aria-current="page">' in (await owner.get(address)).text, address
