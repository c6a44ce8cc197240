"""The second factor through the pages: set up, asked for, lost, reset, and asked of everybody."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser import Visit
from tests.desk.conftest import Client, Site
from tests.desk.seed import PASSWORD
from tests.desk.test_accessibility import faults
from tests.desk.test_browser import CONTRAST
from zhiban.people import throttle, totp

HERE = "/me/second-factor"


def secret_in(page: str) -> str:
    found = re.search(r'<code class="block">([A-Z2-7 ]+)</code>', page)
    assert found, page
    return found[1].replace(" ", "")


def step_now(site: Site, *, after: int = 0) -> int:
    """The step of now, or the next one where that was used."""
    return max(totp.step_at(site.seed.clock.now()), after + 1)


async def enrolled(site: Site, client: Client) -> tuple[str, int, list[str]]:
    """Set up; the secret, the step of its first code, and the recovery codes."""
    assert (await client.post(f"{HERE}/begin", {"password": PASSWORD})).status == 303
    page = (await client.get(HERE)).text
    secret = secret_in(page)
    assert "<svg" in page
    step = step_now(site)
    done = await client.post(HERE, {"code": totp.code_of(secret, step)})
    return secret, step, re.findall(r"<li>((?:\w{4}-){3}\w{4})</li>", done.text)


async def test_after_the_password_comes_the_code(site: Site) -> None:
    chen, elsewhere = await site.signed_in("chenmo"), await site.signed_in("chenmo")
    assert (await chen.post(f"{HERE}/begin", {"password": "wrong"})).status == 422
    secret, used, codes = await enrolled(site, chen)
    assert len(codes) == 10
    page = (await chen.get(HERE)).text
    assert (secret in page.replace(" ", ""), codes[0] in page) == (False, False)
    assert (await elsewhere.get("/me")).status == 303
    assert (await chen.get("/me")).status == 200

    newcomer = site.client()
    asked = await newcomer.post("/login", {"email": "chenmo@qinghe.example", "password": PASSWORD, "next": "/rules"})
    assert (asked.status, asked.headers["location"]) == (303, "/login/code?next=/rules")
    for path in ("/", "/me", HERE, "/stream"):
        assert (await newcomer.get(path)).headers["location"].startswith("/login"), path
    assert (await newcomer.post("/presence/beat")).status == 401
    assert (await newcomer.post("/login/code", {"code": totp.code_of(secret, used)})).status == 401
    fresh = totp.code_of(secret, step_now(site, after=used))
    done = await newcomer.post("/login/code", {"code": fresh, "next": "//evil.example"})
    assert (done.status, done.headers["location"]) == (303, "/")
    assert (await newcomer.get("/me")).status == 200
    # A link for a new password is no way around it.
    owner = await site.signed_in()
    made = await owner.post(f"/settings/people/{site.seed.agents['陈默']}/link")
    link = re.search(r"/join/[^\"<]+", made.text)
    assert link
    thief = site.client()
    joined = await thief.post(link[0], {"password": "a long new sentence"})
    assert joined.headers["location"] == "/login/code"
    assert (await thief.get("/me")).status == 303
    assert (await thief.post("/login/code", {"code": codes[0]})).status == 303
    assert (await thief.get("/me")).status == 200
    # The phone is gone: whoever manages people resets it, an equal does not.
    path = f"/settings/people/{site.seed.agents['陈默']}/second-factor/remove"
    assert (await (await site.signed_in("suhe")).post(path)).status == 409
    assert (await owner.post(path)).status == 303
    assert (await site.client().sign_in("chenmo", "a long new sentence")).headers["location"] == "/"


async def test_codes_are_guessed_no_faster_than_passwords(site: Site) -> None:
    _, _, codes = await enrolled(site, await site.signed_in("chenmo"))
    refused = []
    for _ in range(throttle.PER_ACCOUNT // 4):
        guesser = site.client()
        await guesser.sign_in("chenmo")
        refused += [(await guesser.post("/login/code", {"code": f"{n:06d}"})).status for n in range(4)]
    assert refused == [401] * throttle.PER_ACCOUNT
    assert (await guesser.post("/login/code", {"code": codes[0]})).status == 429


async def test_whoever_has_none_sets_it_up_before_anything_else(site: Site) -> None:
    owner, chen = await site.signed_in(), await site.signed_in("chenmo")
    await enrolled(site, owner)
    assert (await owner.post("/settings/second-factor", {"required": "true"})).status == 303
    for path in ("/", "/me", "/rules", "/stream", "/settings/people"):
        assert (await chen.get(path)).headers["location"] == HERE, path
    assert (await chen.post("/conversations/1/resolve")).status == 303
    part = await chen.get("/desk/list", hx_request="true")
    assert (part.status, part.headers["hx-redirect"]) == (204, HERE)
    secret, _, codes = await enrolled(site, chen)
    assert (await chen.get("/")).status == 200
    gone = await chen.post(f"{HERE}/remove", {"password": PASSWORD, "code": "000000"})
    assert (gone.status, secret in gone.text) == (422, False)
    assert (await chen.post(f"{HERE}/remove", {"password": PASSWORD, "code": codes[1]})).status == 303
    assert (await chen.get("/")).headers["location"] == HERE
    assert (await owner.post("/settings/second-factor", {"required": "false"})).status == 303
    assert (await chen.get("/")).status == 200


@pytest.mark.browser
async def test_a_phone_is_added_in_the_browser(site: Site, enter: Visit, visit: Visit) -> None:
    page = await enter()
    await page.goto(site.url + "/me")
    await page.get_by_role("link", name="设置两步验证").click()
    await page.get_by_label("现在的密码").fill(PASSWORD)
    await page.get_by_role("button", name="开始").click()
    await expect(page.locator("svg rect, svg path").first).to_be_attached()
    secret = secret_in(await page.content())
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert await faults(page) == []
        assert await page.evaluate(CONTRAST) == []
    used = step_now(site)
    await page.get_by_label("手机上显示的6位数字").fill(totp.code_of(secret, used))
    await page.keyboard.press("Enter")
    await expect(page.locator(".codes li")).to_have_count(10)
    assert await faults(page) == []
    entering = await visit(site.url + "/login", dark=True)
    await entering.fill("[name=email]", "linxiao@qinghe.example")
    await entering.fill("[name=password]", PASSWORD)
    await entering.press("[name=password]", "Enter")
    await entering.wait_for_url("**/login/code")
    assert await faults(entering) == []
    await entering.fill("[name=code]", totp.code_of(secret, step_now(site, after=used)))
    await entering.press("[name=code]", "Enter")
    await entering.wait_for_selector("html[data-ready]")
