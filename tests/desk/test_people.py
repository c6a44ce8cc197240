"""Signing in, set-up, and what is kept from strangers."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.desk.conftest import Site
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.people import first_owner, service
from zhiban.people.first_owner import SetupLinkSpent
from zhiban.people.models import Role


async def test_somebody_who_is_not_signed_in_is_led_to_the_door_and_back(site: Site) -> None:
    stranger = site.client()
    away = await stranger.get("/conversations/1?queue=all")
    assert (away.status, away.headers["location"]) == (303, "/login?next=/conversations/1%3Fqueue%3Dall")
    part = await stranger.get("/desk/list", hx_request="true")
    assert (part.status, part.headers["hx-redirect"]) == (204, "/login")
    answer = await stranger.post(
        "/login", {"email": "LinXiao@qinghe.example ", "password": "correct horse battery", "next": "/conversations/1"}
    )
    assert (answer.status, answer.headers["location"]) == (303, "/conversations/1")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert (await stranger.get("/conversations/1")).status == 200


async def test_another_site_is_never_the_place_to_go_on(site: Site) -> None:
    for target in ("//evil.example", "https://evil.example", "/\\evil.example"):
        answer = await site.client().post(
            "/login", {"email": "linxiao@qinghe.example", "password": "correct horse battery", "next": target}
        )
        assert answer.headers["location"] == "/"


async def test_a_wrong_password_and_an_unknown_address_look_the_same(site: Site) -> None:
    wrong = await site.client().sign_in("linxiao", "wrong password")
    unknown = await site.client().sign_in("nobody", "wrong password")
    assert wrong.status == unknown.status == 401
    assert "邮箱和密码不匹配" in wrong.text
    assert "邮箱和密码不匹配" in unknown.text


async def test_a_form_from_another_site_does_nothing(site: Site) -> None:
    agent = await site.signed_in()
    for headers in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}):
        refused = await agent.post("/conversations/1/resolve", **headers)
        assert refused.status == 403
    assert (await agent.get("/conversations/1")).text.count("重新打开</button>") == 0


async def test_signing_out_ends_the_session(site: Site) -> None:
    agent = await site.signed_in()
    token = next(iter(agent.cookies)).value
    assert (await agent.post("/logout")).headers["location"] == "/login"
    again = site.client()
    assert (await again.get("/", cookie=f"zhiban_session={token}")).status == 303


async def test_a_session_ends_by_itself_and_lives_longer_by_use(db: Database, workspace: int, clock: SetClock) -> None:
    async with db.page_transaction(workspace) as tx:
        agent = await service.add_agent(tx, email="a@b.example", name="阿宁", role=Role.AGENT, password_hash=None)
        token = await service.open_session(tx, agent_id=agent, now=clock.now())
    clock.advance(timedelta(days=29))
    assert (await service.signed_in_agent(db, token, now=clock.now())) is not None
    clock.advance(timedelta(days=29))
    assert (await service.signed_in_agent(db, token, now=clock.now())) is not None
    clock.advance(timedelta(days=31))
    assert (await service.signed_in_agent(db, token, now=clock.now())) is None
    for nonsense in ("", "x", f"{workspace}.", f"{workspace + 1}.abc", "9" * 40 + ".x"):
        assert (await service.signed_in_agent(db, nonsense, now=clock.now())) is None


async def test_the_set_up_link_creates_one_owner_and_signs_them_in(site: Site) -> None:
    seed = site.seed
    async with seed.database.page_transaction(seed.workspace_id) as tx:
        link = await first_owner.new_setup_link(tx, now=seed.clock.now())
    newcomer = site.client()
    assert "初次设置" in (await newcomer.get(f"/setup/{link}")).text
    form = {"workspace": "青禾商店", "name": "周岚", "email": "zhoulan@qinghe.example", "password": "short"}
    refused = await newcomer.post(f"/setup/{link}", form)
    assert refused.status == 422
    assert "密码至少要10个字符" in refused.text
    done = await newcomer.post(f"/setup/{link}", {**form, "password": "a long sentence"})
    assert (done.status, done.headers["location"]) == (303, "/")
    assert "周岚" in (await newcomer.get("/me")).text
    used = await newcomer.get(f"/setup/{link}")
    assert (used.status, "链接不能用了" in used.text) == (410, True)
    assert (await newcomer.post(f"/setup/{link}", {**form, "password": "a long sentence"})).status == 410


async def test_a_set_up_link_grows_old(db: Database, workspace: int, clock: SetClock) -> None:
    async with db.page_transaction(workspace) as tx:
        link = await first_owner.new_setup_link(tx, now=clock.now())
    clock.advance(timedelta(days=3))
    async with db.page_transaction(workspace) as tx:
        with pytest.raises(SetupLinkSpent):
            await first_owner.check_setup_link(tx, link, now=clock.now())


async def test_language_and_look_are_kept_with_the_agent(site: Site) -> None:
    agent = await site.signed_in()
    answer = await agent.post("/preferences", {"locale": "en", "theme": "dark", "back": "/me"})
    assert answer.headers["location"] == "/me"
    elsewhere = await site.signed_in()
    page = (await elsewhere.get("/me", accept_language="zh-CN")).text
    assert '<html lang="en" data-theme="dark"' in page
    assert "Sign out" in page
    assert (await agent.post("/preferences", {"theme": "purple"})).status == 422


async def test_pages_carry_a_strict_policy_and_are_never_cached(site: Site) -> None:
    agent = await site.signed_in()
    page = await agent.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_static_files_live_for_ever_under_their_own_version(site: Site) -> None:
    page = (await site.client().get("/login")).text
    style = page.split('rel="stylesheet" href="')[1].split('"')[0]
    current = await site.client().get(style)
    assert (current.status, "immutable" in current.headers["cache-control"]) == (200, True)
    version = style.split("/")[2]
    old = await site.client().get(style.replace(version, "0" * len(version)))
    assert (old.status, old.headers["cache-control"]) == (200, "no-cache")
    assert (await site.client().get(f"/static/{version}/../../pages.py")).status in (404, 400)


async def test_what_does_not_exist_says_so_in_the_readers_language(site: Site) -> None:
    agent = await site.signed_in()
    missing = await agent.get("/conversations/999999")
    assert missing.status == 404
    assert "没有这一页" in missing.text
    assert (await agent.get("/conversations/999999", hx_request="true")).text.startswith("也许已经删除")
    assert "No such page" in (await site.client().get("/nowhere", accept_language="en")).text
    assert (await agent.get("/conversations/abc")).status == 404
