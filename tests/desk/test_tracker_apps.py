"""An app of one's own at GitHub, registered from a manifest: by whoever began it, in that browser, once."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from playwright.async_api import expect
from yarl import URL

from tests.desk.conftest import NOWHERE, Answer, Client, Site, Visit
from tests.desk.seed import create_seed
from tests.desk.test_accessibility import faults
from tests.desk.test_connecting import enter, owned
from tests.desk.test_tracker_pages import at_address, connected, facts, secrets, states
from zhiban.channels import inboxes
from zhiban.container import App
from zhiban.desk import pending_apps
from zhiban.desk.pages import tracker_apps
from zhiban.desk.pending_apps import NoSuchApp
from zhiban.kit.settings import load
from zhiban.main import application
from zhiban.people.models import Role
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.github import GitHubSimulator
from zhiban.testing.github import application as github_application
from zhiban.testing.serving import served

APP = "/settings/trackers/app"
ACME = {"vendor": "github", "v.account": "acme", "owner": "organization"}


@dataclass
class Place:
    """The desk, and the GitHub at which chen owns the organisation acme with one repository."""

    site: Site
    github: GitHubSimulator
    url: str

    async def at_github(self, address: str, form: dict[str, str]) -> tuple[int, str, str]:
        """What a browser gets there: status, page, and where it is sent on."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(address, data=form, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.text(), answer.headers.get("location", "")

    async def registered(self, owner: Client, wish: dict[str, str] | None = None) -> str:
        """Up to where GitHub sends the browser back: that address, below ours."""
        page = await owner.post(f"{APP}/new", wish or ACME)
        assert page.status == 200, page.text[-500:]
        address, manifest = form_of(page)
        status, asked, _ = await self.at_github(address, {"manifest": manifest})
        assert status == 200, asked
        (action,) = re.findall(r'action="(/settings/apps/manifest/\w+)"', asked)
        name = json.loads(manifest)["name"]
        status, _, back = await self.at_github(self.url + action, {"name": name})
        assert (status, back.startswith(self.site.url)) == (302, True)
        return back.removeprefix(self.site.url)

    async def rows(self) -> int:
        async with self.site.seed.database.transaction(self.site.seed.workspace_id) as tx:
            return len(await inboxes.connections(tx, part="tracker"))


def form_of(page: Answer) -> tuple[str, str]:
    """Where the page's form goes, and the manifest in it."""
    (address,) = re.findall(r'action="(http[^"]+)"', page.text)
    (manifest,) = re.findall(r'name="manifest" value="([^"]+)"', page.text)
    return unescape(address), unescape(manifest)


@pytest.fixture
async def place(site: Site) -> AsyncIterator[Place]:
    async with GitHubSimulator() as github, served(github_application(github)) as url:
        github.base = url
        github.repository("acme/shop")
        github.owners["acme"] = {"chen"}
        at_address(site, url)
        yield Place(site, github, url)


async def test_an_app_is_registered_installed_and_proved(place: Place) -> None:
    owner = await place.site.signed_in()
    page = await owner.post(f"{APP}/new", ACME)
    address, manifest = form_of(page)
    assert address.startswith(f"{place.url}/organizations/acme/settings/apps/new?state=")
    assert f"form-action 'self' {place.url};" in page.headers["content-security-policy"]
    asked = json.loads(manifest)
    assert (asked["public"], "contents" in asked["default_permissions"]) == (False, False)

    back = await place.registered(owner)
    arrived = await owner.get(back)
    assert arrived.status == 303
    at = arrived.headers["location"]
    kept, (app,) = await secrets(place.site), place.github.apps.values()
    hook = place.github.hooks.hooks[0]
    assert (kept["webhook_secret"], kept["private_key"][:10]) == (hook.secret, "-----BEGIN")
    assert hook.url == re.findall(r'id="callback" value="([^"]+)"', (await owner.get(at)).text)[0]
    told = (await owner.get(at)).text + str(await facts(place.site, "connection_added"))
    assert kept["private_key"][60:100] not in told

    # It exists and is installed nowhere: the step says where that is done.
    failed = await owner.post(f"{at}/check", hx_request="true")
    assert states(failed.text)["credentials"] == "done"
    assert states(failed.text)["repositories"] == "failed"
    assert f'href="{place.url}/apps/{app.slug}/installations/new"' in failed.text
    status, _, home = await place.at_github(f"{place.url}/apps/{app.slug}/installations", {})
    assert status == 302
    assert (await owner.get(home.removeprefix(place.site.url))).headers["location"] == at
    proved = states((await owner.post(f"{at}/check", hx_request="true")).text)
    assert [key for key, state in proved.items() if state != "done"] == ["callback"]


async def test_an_answer_is_good_for_who_began_it_and_once(place: Place) -> None:
    site = place.site
    owner, other = await site.signed_in(), await site.signed_in("chenmo")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set role = 'admin' where email = 'chenmo@qinghe.example'")
    back = await place.registered(owner)
    code = parse_qs(urlsplit(back).query)["code"][0]
    kept = {one.key: one.value for one in owner.cookies if one.key == pending_apps.COOKIE}
    at = URL(site.url)

    foreign = site.client()
    await create_seed(site.seed.database, site.seed.clock, slug="other")
    login = {"email": "linxiao@other.example", "password": "correct horse battery"}
    assert (await foreign.post("/login", login)).status == 303
    second = await site.signed_in()  # the same person, in another browser
    for client in (other, foreign, second):
        client.cookies.update_cookies(kept, at)
        answer = await client.get(back)
        assert (answer.status, "重新开始" in answer.text) == (409, True)
    bare = await site.signed_in()
    assert (await bare.get(back)).status == 409
    for forged in ("", "x" * 43):
        assert (await owner.get(f"{APP}?code={code}&state={forged}")).status == 409
        owner.cookies.update_cookies(kept, at)  # a refusal ends it in that browser
    assert await place.rows() == 0

    assert (await owner.get(back)).status == 303
    owner.cookies.update_cookies(kept, at)
    assert (await owner.get(back)).status == 409  # replayed
    assert (await place.rows(), len(await facts(site, "connection_added"))) == (1, 1)
    sent = [one for one in place.github.calls if one[1].endswith("/conversions")]
    assert len(sent) == 1


async def test_who_has_not_the_right_or_comes_from_elsewhere_begins_nothing(place: Place) -> None:
    agent = await place.site.signed_in("chenmo")
    assert (await agent.post(f"{APP}/new", ACME)).status in (403, 409)
    owner = await place.site.signed_in()
    assert (await owner.post(f"{APP}/new", ACME, sec_fetch_site="cross-site")).status == 403
    back = await place.registered(owner)
    async with place.site.seed.database.transaction(place.site.seed.workspace_id) as tx:
        await tx.run("update agent set role = %(role)s where email = 'linxiao@qinghe.example'", role=Role.AGENT)
    assert (await owner.get(back)).status in (403, 409)
    assert await place.rows() == 0


@pytest.mark.parametrize("account", ["", "../../x", "acme/../evil", "a b", "-x", '"><script>'])
async def test_an_account_that_is_none_leads_nowhere(place: Place, account: str) -> None:
    owner = await place.site.signed_in()
    refused = await owner.post(f"{APP}/new", {**ACME, "v.account": account})
    assert (refused.status, 'id="e-app-account"' in refused.text, "<script>" in refused.text) == (422, True, False)


async def test_a_code_is_a_code(place: Place) -> None:
    """What comes back stands in an address that we call."""
    owner = await place.site.signed_in()
    state = parse_qs(urlsplit(await place.registered(owner)).query)["state"][0]
    refused = await owner.get(f"{APP}?state={state}&code=..%2F..%2Fapp")
    assert (refused.status, "GitHub不认识这个代码" in refused.text) == (409, True)
    assert not [one for one in place.github.calls if "app-manifests" in one[1]]


async def test_a_github_that_is_away_is_asked_again(place: Place) -> None:
    owner = await place.site.signed_in()
    back = await place.registered(owner)
    at_address(place.site, NOWHERE)
    away = await owner.get(back)
    assert (away.status, "再试一次" in away.text) == (409, True)
    state, code = (re.findall(rf'name="{name}" value="([^"]+)"', away.text)[0] for name in ("state", "code"))
    assert state not in back
    at_address(place.site, place.url)
    assert (await owner.post(APP, {"state": state, "code": code})).status == 303
    assert (await owner.post(APP, {"state": state, "code": code})).status == 409
    assert await place.rows() == 1


async def test_what_may_have_used_the_code_up_is_not_repeated(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await place.site.signed_in()
    place.github.fails("502_after", ending="/conversions")
    lost = await owner.get(await place.registered(owner))
    assert (lost.status, "再试一次" in lost.text, "重新开始" in lost.text) == (409, False, True)
    place.github.accounts.clear()
    place.github.account("acme", "Organization")
    place.github.apps.clear()
    back = await place.registered(owner)
    monkeypatch.setattr(tracker_apps, "SECONDS", 0.05)
    place.github.fails("slow", ending="/conversions")
    slow = await owner.get(back)
    assert (slow.status, "重新开始" in slow.text) == (409, True)
    assert await place.rows() == 0


async def test_an_app_of_somebody_else_is_not_taken(place: Place) -> None:
    owner = await place.site.signed_in()
    back = await place.registered(owner, {**ACME, "owner": "user"})  # chen's own, while acme was meant
    refused = await owner.get(back)
    assert (refused.status, "chen" in refused.text, "acme" in refused.text) == (409, True, True)
    assert await place.rows() == 0


async def test_an_account_with_a_token_becomes_one_with_an_app(place: Place) -> None:
    owner, at = await connected(place.site)
    before = re.findall(r'id="callback" value="([^"]+)"', (await owner.get(at)).text)
    arrived = await owner.get(await place.registered(owner))
    assert (arrived.status, arrived.headers["location"]) == (303, at)
    assert [hook.url for hook in place.github.hooks.hooks] == before
    assert (await secrets(place.site))["private_key"].startswith("-----BEGIN")


async def test_after_an_hour_it_is_over(site: Site) -> None:
    setup, now = site.app.state.channel_setup, site.seed.clock.now()
    way = pending_apps.begun(1, "session", "github", {"account": "acme"}, name="", public_id="x", now=now)
    asked: dict[str, Any] = {"workspace_id": 1, "session": "session", "state": way.state}
    cookie = way.sealed(setup.vault)
    for late in (timedelta(hours=1, seconds=1), timedelta(days=3)):
        with pytest.raises(NoSuchApp):
            await pending_apps.taken(setup.vault, setup.breakers, cookie=cookie, now=now + late, **asked)
    for broken in ("", "x", cookie[:-4]):
        with pytest.raises(NoSuchApp):
            await pending_apps.taken(setup.vault, setup.breakers, cookie=broken, now=now, **asked)


@pytest.mark.browser
async def test_github_is_connected_in_the_browser(urls: DatabaseUrls, tmp_path: Path, visit: Visit) -> None:
    async with GitHubSimulator() as github, served(github_application(github)) as github_url:
        github.base = github_url
        github.repository("acme/shop")
        github.owners["acme"] = {"chen"}
        known = {"zhiban_data": tmp_path, "zhiban_secret_key": "a key for tests only", "github_api_base": github_url}
        app = App.build(load(env_file=None, **known), urls)
        app.start_workers()
        async with served(application(app)) as url:
            page = await visit(f"{url}/login")
            await enter(page, url, await owned(app))
            await page.goto(f"{url}/settings/trackers")
            await page.locator(".calm").get_by_role("link", name="接入工单系统").click()
            await page.get_by_role("link", name="GitHub").click()
            assert await faults(page) == []
            await page.get_by_role("textbox", name="用户或组织").first.fill("acme")
            await page.get_by_role("button", name="创建应用").click()
            assert await faults(page) == []
            await page.get_by_role("button", name="去GitHub创建").click()
            await page.get_by_role("button", name="Create GitHub App").click()

            # Back at the desk: credentials are there, and it is not installed yet.
            await expect(page.locator("#step-credentials")).to_have_attribute("data-state", "done")
            await expect(page.locator("#step-repositories")).to_have_attribute("data-state", "failed")
            assert await faults(page) == []
            link = (
                await page.locator("#step-repositories").get_by_role("link", name="去GitHub那里").get_attribute("href")
            )
            await page.goto(link or "")
            await page.get_by_role("button", name="Install").click()
            for step in ("repositories", "permissions", "callback"):
                await expect(page.locator(f"#step-{step}")).to_have_attribute("data-state", "done")
            await expect(page.locator("#steps")).to_contain_text("全部接通")
            await page.goto(f"{url}/settings/repositories")
            assert await faults(page) == []
