"""Members of a WeCom corp scan to sign in, and are reached there when they are not at the desk."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.desk.conftest import Answer, Client, Fields, Site
from tests.desk.test_inboxes import NEW
from tests.desk.test_single_sign_on import inside
from zhiban.channels import inboxes
from zhiban.channels.connections import ensure_inbox
from zhiban.conversations import service as conversations
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.notifications.personal import PersonalJobs
from zhiban.people import agents
from zhiban.people import sign_in_providers as providers
from zhiban.people.models import Role
from zhiban.testing.notices import NoticeBoard
from zhiban.testing.serving import served
from zhiban.testing.wecom import asgi
from zhiban.testing.wecom.simulator import AGENT_ID, CORP_ID, WeComSimulator
from zhiban.testing.wecom.simulator import SECRET as APP_SECRET


@dataclass
class Scanning:
    """The desk with a WeCom app, whose members scan."""

    site: Site
    wecom: WeComSimulator
    owner: Client
    way: str

    async def asked(self, browser: Client, *, next: str = "/") -> str:  # noqa: A002 - the query parameter's name
        away = await browser.get(f"{self.way}?next={next}", sec_fetch_site="same-origin")
        assert away.status == 303
        return str(away.headers["location"])

    async def scans(self, who: str, browser: Client | None = None) -> Answer:
        browser = browser or self.site.client()
        back = self.wecom.scans(await self.asked(browser), who)
        return await browser.get(back.removeprefix(self.site.url))


@pytest.fixture
async def scanning(site: Site) -> AsyncIterator[Scanning]:
    wecom = WeComSimulator()
    wecom.trusted_domains.add(urlsplit(site.url).netloc)
    async with wecom, served(asgi.application(wecom)) as url:
        owner = await site.signed_in()
        given = {"corp_id": CORP_ID, "agent_id": str(AGENT_ID), "secret": APP_SECRET, "api_base": f"{url}/cgi-bin"}
        await site.operator_connects("wecom", **given)
        page = (await owner.get("/settings/sign-in")).text
        connection = page.split('name="connection" value="')[1].split('"')[0]
        assert (await owner.post("/settings/sign-in/members", {"connection": connection})).status == 303
        seed = site.seed
        async with seed.database.transaction(seed.workspace_id) as tx:
            (provider,) = await providers.providers(tx)
            by = {"by": seed.by("林晓"), "now": seed.clock.now()}
            await agents.change(tx, seed.agents["陈默"], accounts={"wecom": "Chen"}, **by)
        yield Scanning(site, wecom, owner, f"/login/sso/{seed.workspace_id}/{provider.id}")


async def test_a_member_signs_in_by_scanning_as_whoever_has_the_account(scanning: Scanning) -> None:
    browser = scanning.site.client()
    assert "用企业微信账号登录" in (await browser.get("/login")).text
    answer = await scanning.scans("chen", browser)  # vendors do not tell capital letters from small ones
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "陈默" in (await browser.get("/me")).text
    for who in ("lihua", "somebody"):  # nobody's account here, and no member
        stranger = scanning.site.client()
        assert ((await scanning.scans(who, stranger)).status, await inside(stranger)) == (401, False)
    seed = scanning.site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await agents.disable(tx, seed.agents["陈默"], by=seed.by("林晓"), now=seed.clock.now())
    assert (await scanning.scans("chen")).status == 401


async def test_a_scan_opens_one_browser_once(scanning: Scanning) -> None:
    site, wecom = scanning.site, scanning.wecom
    victim, thief = site.client(), site.client()
    back = wecom.scans(await scanning.asked(victim), "chen").removeprefix(site.url)
    assert (await thief.get(back)).status == 401
    state = parse_qs(urlsplit(await scanning.asked(thief)).query)["state"][0]
    assert (await victim.get(back)).status == 303
    code = parse_qs(urlsplit(back).query)["code"][0]
    assert (await thief.get(f"/login/sso/callback?state={state}&code={code}")).status == 401  # it was used
    forged = await scanning.asked(thief)
    state = parse_qs(urlsplit(forged).query)["state"][0]
    assert (await thief.get(f"/login/sso/callback?state={state}&code=made-up")).status == 401
    assert not await inside(thief)
    wecom.trusted_domains.clear()
    with pytest.raises(RuntimeError, match="trusted domains"):
        wecom.scans(forged, "chen")


async def test_with_two_corps_nobody_knows_whose_an_account_is(scanning: Scanning) -> None:
    seed = scanning.site.seed
    form: Fields = {
        "vendor": "wecom",
        "v.corp_id": "ww9999999999999999",
        "v.agent_id": "1000002",
        "v.secret": "another",
    }
    back = scanning.wecom.scans(await scanning.asked(browser := scanning.site.client()), "chen")
    assert (await scanning.owner.post("/settings/inboxes/new", form)).status in (200, 303)
    assert (await browser.get(back.removeprefix(scanning.site.url))).status == 401
    assert (await scanning.site.client().get(scanning.way, sec_fetch_site="same-origin")).status == 401
    async with seed.database.transaction(seed.workspace_id) as tx:
        (provider,) = await providers.providers(tx)
    twice = {"connection": str(provider.connection_id)}
    assert (await scanning.owner.post("/settings/sign-in/members", twice)).status == 409
    there = {"referer": f"{scanning.site.url}/me"}
    own = await scanning.owner.get(
        f"/me/logins/{provider.id}", **there
    )  # accounts of members are entered under the team
    assert own.status == 401


async def test_who_answers_for_the_corp_is_for_owners_and_the_operator_to_say(scanning: Scanning) -> None:
    """An admin who leads our calls elsewhere, or takes the connection away and makes it again, becomes nobody else."""
    site, seed = scanning.site, scanning.site.seed
    asked: list[str] = []

    async def evil(request: Request) -> Response:
        asked.append(request.url.path)
        return JSONResponse({"errcode": 0, "access_token": "x", "expires_in": 7200, "userid": "chen"})

    async with seed.database.transaction(seed.workspace_id) as tx:
        by = {"by": seed.by("林晓"), "now": seed.clock.now()}
        await agents.set_access(tx, seed.agents["苏禾"], role=Role.ADMIN, inbox_ids=None, **by)
        (before,) = [one for one in await inboxes.connections(tx) if one.vendor == "wecom"]
        inbox_id = await ensure_inbox(tx, before.id, "wecom_app", str(AGENT_ID), "应用", now=seed.clock.now())
    admin, at = await site.signed_in("suhe"), f"/settings/connections/{before.id}"
    new: Fields = {"vendor": "wecom", "v.corp_id": CORP_ID, "v.agent_id": str(AGENT_ID), "v.secret": "mine"}
    async with served(Starlette(routes=[Route("/{path:path}", evil, methods=["GET", "POST"])])) as url:
        led: Fields = {"v.api_base": f"{url}/cgi-bin"}
        for who in (admin, scanning.owner):
            page = (await who.get(at)).text
            assert ("api_base" in page, "只有负责人" in page, f"{at}/remove" in page) == (
                (False, True, False) if who is admin else (False, False, True)
            )
            assert (await who.post(at, led)).status == 303  # as if nothing had been typed
        assert (await admin.post(at, {**led, "v.secret": "mine"})).status == 409
        for there, form in ((f"{at}/remove", {}), (f"/settings/inboxes/{inbox_id}/remove", {}), (NEW, new)):
            assert (await admin.post(there, form)).status == 409, there
        assert (await scanning.scans("chen")).status == 303
        async with seed.database.transaction(seed.workspace_id) as tx:
            assert await inboxes.access_connection(tx, before.id) == before
        assert (await scanning.owner.post(f"{at}/remove")).status == 303
        for form in (new, {**new, "v.api_base": f"{url}/cgi-bin"}):
            assert (await admin.post(NEW, form)).status == 409
        assert (await scanning.owner.post(NEW, new)).status in (200, 303)  # an owner takes it back, as it was
    async with seed.database.transaction(seed.workspace_id) as tx:
        after = await inboxes.access_connection(tx, before.id)
    assert after.config["api_base"] == before.config["api_base"]
    assert asked == []


async def test_a_member_away_from_the_desk_gets_a_card(scanning: Scanning) -> None:
    """The same account that signs in is where they are reached; the card opens the conversation."""
    site, seed = scanning.site, scanning.site.seed
    clock, setup = seed.clock, site.app.state.channel_setup
    agent = await site.signed_in("chenmo")
    form: Fields = {"minutes": "10", "assigned.personal": "on", "assigned.page": "on", "by": "member:wecom"}
    assert (await agent.post("/me/notifications", form)).status == 303
    async with seed.database.transaction(seed.workspace_id) as tx:
        (connection,) = [one.id for one in await inboxes.connections(tx) if one.vendor == "wecom"]
        await ensure_inbox(tx, connection, "wecom_app", str(AGENT_ID), "值班应用", now=clock.now())
        by = {"by": seed.by("林晓"), "now": clock.now()}
        await agents.change(tx, seed.agents["陈默"], accounts={"wecom": "gone"}, **by)
        await conversations.assign(tx, seed.conversations["马骁"], to=seed.agents["陈默"], **by)
        id_ = await tx.value("select max(id) from notification where agent_id = %(a)s", a=seed.agents["陈默"])
    registry = NotifierRegistry((), {}, NoticeBoard(), site.url, ["wecom_app"])
    jobs = PersonalJobs(seed.database, setup.connections, registry, clock)
    await jobs.tell_agent(seed.workspace_id, id_)
    assert "个人渠道发不出去" in (await agent.get("/me/notifications")).text  # the platform knows nobody of this name
    async with seed.database.transaction(seed.workspace_id) as tx:
        await agents.change(tx, seed.agents["陈默"], accounts={"wecom": "chen"}, **by)
    await jobs.tell_agent(seed.workspace_id, id_)
    (card,) = scanning.wecom.office.messages
    assert card.members == ["chen"]
    assert "林晓把马骁的会话分给您" in json.dumps(card.body, ensure_ascii=False)
    assert f"/conversations/{seed.conversations['马骁']}" in json.dumps(card.body)
    assert "个人渠道发不出去" not in (await agent.get("/me/notifications")).text
