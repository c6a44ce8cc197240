"""One person in several workspaces: whoever has signed in there goes there, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from yarl import URL

from tests.desk.conftest import Client, Site
from tests.desk.seed import PASSWORD, Seed, create_seed
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.people.other_sessions import OTHERS
from zhiban.people.service import add_agent, workspace_of

LIN = "linxiao@qinghe.example"


@dataclass
class Two:
    """林晓 in two workspaces, with one address and one password."""

    site: Site
    other: Seed

    async def signed_in_to_both(self) -> Client:
        browser = self.site.client()
        for place in (self.other.workspace_id, self.site.seed.workspace_id):
            await self.sign_in(browser, place)
        return browser

    async def sign_in(self, browser: Client, workspace_id: int, email: str = LIN) -> None:
        form = {"email": email, "password": PASSWORD, "workspace": str(workspace_id)}
        assert (await browser.post("/login", form)).status == 303

    def cookie(self, browser: Client, name: str) -> str:
        found = browser.cookies.filter_cookies(URL(self.site.url)).get(name)
        return found.value if found else ""


@pytest.fixture
async def two(site: Site) -> Two:
    seed = site.seed
    other = await create_seed(seed.database, seed.clock, slug="other")
    async with seed.database.transaction(seed.workspace_id) as tx:
        password = await tx.value("select password_hash from agent where email = %(email)s", email=LIN)
    async with seed.database.transaction(other.workspace_id) as tx:
        await add_agent(tx, email=LIN, name="林晓在别处", role=Role.AGENT, password_hash=password)
        await tx.run("update workspace set name = '别处' where workspace_id = %(id)s", id=other.workspace_id)
    return Two(site, other)


async def test_a_person_goes_from_one_workspace_to_another_and_back(two: Two) -> None:
    here, there = two.site.seed.workspace_id, two.other.workspace_id
    browser = two.site.client()
    await two.sign_in(browser, there)
    assert "/workspaces" not in (await browser.get("/")).text  # they have nowhere to go yet
    form = await browser.get("/login?another=true")
    assert (form.status, f'value="{LIN}"' in form.text) == (200, True)
    await two.sign_in(browser, here)
    assert 'href="/workspaces"' in (await browser.get("/")).text
    page = (await browser.get("/workspaces")).text
    assert ("别处" in page, f'action="/workspaces/{there}"' in page) == (True, True)
    for place, name in ((there, "林晓在别处"), (here, "林晓"), (there, "林晓在别处")):
        answer = await browser.post(f"/workspaces/{place}")
        assert (answer.status, answer.headers["location"]) == (303, "/")
        assert name in (await browser.get("/me")).text
        assert workspace_of(two.cookie(browser, COOKIE)) == place
    assert (await browser.post(f"/workspaces/{there}")).status == 404  # where they are already
    assert (await browser.post("/workspaces/999999")).status == 404


async def test_the_same_address_alone_opens_nothing(two: Two) -> None:
    """Whoever runs another workspace may enter anybody's address there."""
    browser = two.site.client()
    await two.sign_in(browser, two.other.workspace_id)
    assert (await browser.post(f"/workspaces/{two.site.seed.workspace_id}")).status == 404
    made_up = f"{two.site.seed.workspace_id}.made-up-token~nonsense~~0.x"
    browser.cookies.update_cookies({OTHERS: made_up}, URL(two.site.url))
    assert (await browser.post(f"/workspaces/{two.site.seed.workspace_id}")).status == 404
    assert (await browser.get("/workspaces")).status == 200


async def test_whoever_signs_in_does_not_get_the_sessions_of_somebody_else(two: Two) -> None:
    """Two people at one browser: what the first left open elsewhere is not the second's."""
    browser = await two.signed_in_to_both()
    left = two.cookie(browser, OTHERS)
    assert workspace_of(left) == two.other.workspace_id
    await two.sign_in(browser, two.site.seed.workspace_id, "chenmo@qinghe.example")
    assert two.cookie(browser, OTHERS) == ""
    browser.cookies.update_cookies({OTHERS: left}, URL(two.site.url))  # even if they kept it
    assert (await browser.post(f"/workspaces/{two.other.workspace_id}")).status == 404


async def test_signing_out_ends_all_of_them(two: Two) -> None:
    browser = await two.signed_in_to_both()
    tokens = [two.cookie(browser, COOKIE), two.cookie(browser, OTHERS)]
    await browser.post("/logout")
    for token in tokens:
        stolen = two.site.client()
        stolen.cookies.update_cookies({COOKIE: token}, URL(two.site.url))
        assert (await stolen.get("/me")).status == 303


async def test_a_session_that_ended_leads_nowhere(two: Two) -> None:
    browser = await two.signed_in_to_both()
    async with two.other.database.transaction(two.other.workspace_id) as tx:
        await tx.run("update agent set disabled_at = now() where email = %(email)s", email=LIN)
    assert "别处" not in (await browser.get("/workspaces")).text
    assert (await browser.post(f"/workspaces/{two.other.workspace_id}")).status == 404
    assert (await browser.post(f"/workspaces/{two.other.workspace_id}", origin="https://evil.example")).status == 403
