"""One's own password and sessions: changing it, seeing where one is signed in, ending what one does not know."""

from __future__ import annotations

import re
from datetime import timedelta

from tests.desk.conftest import Client, Site
from tests.desk.seed import PASSWORD
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.people import service, throttle
from zhiban.people.models import Role

NEW = "another long sentence"


async def _signed_in(client: Client) -> bool:
    return (await client.get("/me")).status == 200


async def test_a_changed_password_ends_every_other_session(site: Site) -> None:
    here, elsewhere, colleague = await site.signed_in(), await site.signed_in(), await site.signed_in("chenmo")
    old = next(cookie.value for cookie in here.cookies if cookie.key == "zhiban_session")
    changed = await here.post("/me/password", {"current": PASSWORD, "new": NEW})
    assert (changed.status, changed.headers["location"]) == (303, "/me")
    assert await _signed_in(here)
    assert not await _signed_in(elsewhere)
    assert await _signed_in(colleague)
    assert (await site.client().get("/me", cookie=f"zhiban_session={old}")).status == 303
    assert (await site.client().sign_in()).status == 401
    assert (await site.client().sign_in(password=NEW)).status == 303


async def test_a_link_that_was_under_way_dies_with_the_old_password(site: Site) -> None:
    owner, agent = await site.signed_in(), await site.signed_in("chenmo")
    page = (await owner.post(f"/settings/people/{site.seed.agents['陈默']}/link")).text
    link = re.search(r"/join/[^\"<]+", page)
    assert link is not None
    assert (await agent.post("/me/password", {"current": PASSWORD, "new": NEW})).status == 303
    assert (await site.client().get(link.group())).status == 410


async def test_an_open_browser_is_not_enough_to_change_a_password(site: Site) -> None:
    agent = await site.signed_in()
    for n in range(throttle.PER_ACCOUNT):
        wrong = await agent.post("/me/password", {"current": f"guess number {n}", "new": NEW})
        assert (wrong.status, "现在的密码不对" in wrong.text) == (422, True)
    refused = await agent.post("/me/password", {"current": PASSWORD, "new": NEW})
    assert (refused.status, "十分钟" in refused.text) == (422, True)


async def test_an_easy_password_is_not_taken(site: Site) -> None:
    agent = await site.signed_in()
    for easy in ("1111111111", "linxiao2026", "short"):
        refused = await agent.post("/me/password", {"current": PASSWORD, "new": easy})
        assert refused.status == 422
        assert "没有改动" in refused.text
    assert (await site.client().sign_in()).status == 303


async def test_sessions_are_listed_and_ended_one_by_one_or_all(site: Site) -> None:
    here, other = await site.signed_in(), site.client()
    await other.post(
        "/login", {"email": "linxiao@qinghe.example", "password": PASSWORD}, user_agent="<b>Firefox</b> on a train"
    )
    third, colleague = await site.signed_in(), await site.signed_in("chenmo")
    page = (await here.get("/me")).text
    assert "&lt;b&gt;Firefox&lt;/b&gt; on a train" in page
    links = re.findall(r"/me/sessions/[0-9a-f]{64}/end", page)
    assert len(links) == 2
    train = re.search(r"on a train.*?(/me/sessions/[0-9a-f]{64}/end)", page, re.DOTALL)
    assert train is not None
    assert (await colleague.post(train[1])).status == 404
    assert (await here.post(train[1])).status == 303
    assert not await _signed_in(other)
    assert await _signed_in(third)
    assert (await here.post(train[1])).status == 404
    assert (await here.post("/me/sessions/end")).status == 303
    assert not await _signed_in(third)
    assert await _signed_in(here)
    assert await _signed_in(colleague)


async def test_a_session_ends_for_good_however_much_it_is_used(db: Database, workspace: int, clock: SetClock) -> None:
    async with db.page_transaction(workspace) as tx:
        agent = await service.add_agent(tx, email="a@b.example", name="阿宁", role=Role.AGENT, password_hash=None)
        token = await service.open_session(tx, agent_id=agent, now=clock.now())
    began = clock.now()
    while clock.now() - began < service.SESSION_END - timedelta(days=1):
        assert await service.signed_in_agent(db, token, now=clock.now()) is not None
        clock.advance(timedelta(days=1))
    clock.advance(timedelta(days=1, seconds=1))
    assert await service.signed_in_agent(db, token, now=clock.now()) is None
