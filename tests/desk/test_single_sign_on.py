"""Signing in by an identity provider: what a genuine answer opens, and what every other answer does not."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from yarl import URL

from tests.desk.conftest import Answer, Client, Site
from tests.desk.seed import SLUG, create_seed
from zhiban.conversations.queries import event_by_id
from zhiban.desk.identities import COOKIE as PENDING
from zhiban.people import second_factor, totp
from zhiban.people import sign_in_providers as providers
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.people.sign_in_providers import ProviderSettings
from zhiban.testing.oidc import CLIENT, SECRET, SPENT, OidcSimulator, signed_by_secret, unsigned
from zhiban.testing.serving import served

LIN = {"sub": "u-lin", "email": "LinXiao@qinghe.example", "email_verified": True, "name": "林晓"}
NEW = {"sub": "u-new", "email": "suhe2@qinghe.example", "email_verified": True, "name": "苏荷"}


@dataclass
class Door:
    """The desk with a provider, and browsers that come back from it."""

    site: Site
    oidc: OidcSimulator
    provider: int
    settings: ProviderSettings = field(init=False)

    @property
    def way(self) -> str:
        return f"/login/sso/{self.site.seed.workspace_id}/{self.provider}"

    async def change(self, **what: Any) -> None:
        seed = self.site.seed
        self.settings = replace(self.settings, **what)
        async with seed.database.transaction(seed.workspace_id) as tx:
            row = await providers.access_provider(tx, self.provider)
            vault = self.site.app.state.auth.vault
            await providers.change_provider(tx, vault, row, self.settings, by=seed.by("林晓"), now=seed.clock.now())

    async def there(self, browser: Client, path: str = "") -> str:
        """A browser goes to the provider, which sends it back. Returns where to."""
        away = await browser.get(path or self.way, sec_fetch_site="same-origin")
        assert away.status == 303, away.text[-300:]
        async with aiohttp.ClientSession() as session:
            answer = await session.get(away.headers["location"], allow_redirects=False)
            assert answer.status == 302, await answer.text()
            return answer.headers["location"].removeprefix(self.site.url)

    async def enters(self, who: dict[str, Any], browser: Client | None = None, path: str = "") -> Answer:
        self.oidc.visitor = who
        browser = browser or self.site.client()
        return await browser.get(await self.there(browser, path))

    async def agents(self) -> int:
        seed = self.site.seed
        async with seed.database.transaction(seed.workspace_id) as tx:
            return int(await tx.value("select count(*) from agent"))


@pytest.fixture
async def door(site: Site) -> AsyncIterator[Door]:
    oidc = OidcSimulator(redirect_uris=[f"{site.url}/login/sso/callback"])
    async with served(oidc.app) as url:
        oidc.issuer = url
        seed = site.seed
        settings = ProviderSettings("青禾账号", url, CLIENT, SECRET, links_by_email=True)
        async with seed.database.transaction(seed.workspace_id) as tx:
            vault = site.app.state.auth.vault
            id_ = await providers.add_provider(tx, vault, settings, by=seed.by("林晓"), now=seed.clock.now())
        found = Door(site, oidc, id_)
        found.settings = settings
        yield found


async def inside(browser: Client) -> bool:
    return (await browser.get("/me")).status == 200


async def test_a_colleague_signs_in_by_their_verified_address_and_then_by_their_account(door: Door) -> None:
    browser = door.site.client()
    page = await browser.get("/login?next=/rules")
    assert f'href="{door.way}?next=/rules"' in page.text
    assert "用青禾账号登录" in page.text
    answer = await door.enters(LIN, browser, f"{door.way}?next=/rules")
    assert (answer.status, answer.headers["location"]) == (303, "/rules")
    assert "林晓" in (await browser.get("/me")).text
    # The address may change and the setting be taken back: whose account it is, is known now.
    await door.change(links_by_email=False)
    again = door.site.client()
    await door.enters({"sub": "u-lin", "email": "other@elsewhere.example", "email_verified": False}, again)
    assert "林晓" in (await again.get("/me")).text
    assert not door.oidc.refusals


async def test_an_address_that_is_not_verified_or_may_not_link_opens_nothing(door: Door) -> None:
    for wrong in (
        {**LIN, "email_verified": False},
        {**LIN, "email_verified": "true"},
        {"sub": "u-lin", "email": LIN["email"]},
        {"sub": "u-lin", "email_verified": True},
        {**LIN, "email": ["linxiao@qinghe.example"]},
    ):
        browser = door.site.client()
        assert (await door.enters(wrong, browser)).status == 401, wrong
        assert not await inside(browser)
    await door.change(domains=("elsewhere.example",))
    assert (await door.enters(LIN)).status == 401
    await door.change(domains=(), links_by_email=False)
    answer = await door.enters(LIN)
    assert (answer.status, "没有同事用这个账号" in answer.text) == (401, True)


async def test_strangers_join_where_their_domain_may_and_nowhere_else(door: Door) -> None:
    before = await door.agents()
    assert (await door.enters(NEW)).status == 401
    await door.change(joins_as=Role.READ_ONLY, domains=("qinghe.example",))
    assert (await door.enters({**NEW, "email": "x@evil.example"})).status == 401
    assert (await door.enters({**NEW, "email": "x@qinghe.example.evil.example"})).status == 401
    assert (await door.enters({**NEW, "email_verified": False})).status == 401
    assert await door.agents() == before
    assert (await door.enters(NEW)).status == 303
    browser = door.site.client()
    assert (await door.enters(NEW, browser)).status == 303
    assert "苏荷" in (await browser.get("/me")).text
    conversation = f"/conversations/{door.site.seed.conversations['周予安']}"
    assert (await browser.get(conversation)).status == 404  # nobody said that they may see any inbox
    assert (await browser.post("/rules", {"name": "x"})).status == 422  # a role that changes nothing
    assert await door.agents() == before + 1
    seed = door.site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        joined = await tx.value("select id from event where kind = 'agent_joined' order by id desc limit 1")
        assert (await event_by_id(tx, joined)) is not None
        await tx.run("update agent set disabled_at = now() where email = %(e)s", e=NEW["email"])
    assert (await door.enters(NEW)).status == 401  # who was let go does not come back by the provider


@pytest.mark.parametrize("inboxes", [None, "own"])
async def test_who_joins_sees_the_inboxes_that_the_owner_chose(door: Door, inboxes: str | None) -> None:
    seed = door.site.seed
    chosen = None if inboxes is None else (seed.inbox.inbox_id,)
    await door.change(joins_as=Role.AGENT, domains=("qinghe.example",), joins_inboxes=chosen)
    browser = door.site.client()
    assert (await door.enters(NEW, browser)).status == 303
    assert (await browser.get(f"/conversations/{seed.conversations['周予安']}")).status == 200
    async with seed.database.transaction(seed.workspace_id) as tx:
        kept = await tx.value("select inbox_ids from agent where email = %(e)s", e=NEW["email"])
    assert kept == (None if chosen is None else list(chosen))


TWISTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another audience": lambda claims: {**claims, "aud": "another-client"},
    "another audience as well": lambda claims: {**claims, "aud": [CLIENT, "another-client"]},
    "made for another": lambda claims: {**claims, "aud": [CLIENT, "x"], "azp": "x"},
    "no audience": lambda claims: {name: value for name, value in claims.items() if name != "aud"},
    "another issuer": lambda claims: {**claims, "iss": "https://evil.example"},
    "another nonce": lambda claims: {**claims, "nonce": "x"},
    "no nonce": lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
    "expired": lambda claims: {**claims, "exp": int(time.time()) - 120},
    "never expires": lambda claims: {name: value for name, value in claims.items() if name != "exp"},
    "made long ago": lambda claims: {**claims, "iat": int(time.time()) - 3600},
    "made in the future": lambda claims: {**claims, "iat": int(time.time()) + 3600},
    "no subject": lambda claims: {name: value for name, value in claims.items() if name != "sub"},
    "an empty subject": lambda claims: {**claims, "sub": ""},
    "a number as subject": lambda claims: {**claims, "sub": 7},
    "an endless subject": lambda claims: {**claims, "sub": "x" * 256},
}
FOREIGN = RSAKey.generate_key(2048, {"kid": "k1"})


def broken(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, FOREIGN)[:-4] + "AAAA"


SIGNATURES: dict[str, Callable[[dict[str, Any]], str]] = {
    "nobody's signature": unsigned,
    "signed with the client's secret": signed_by_secret,
    "signed with another key of the same name": lambda claims: jwt.encode(
        {"alg": "RS256", "kid": "k1"}, claims, FOREIGN
    ),
    "signed with a key that is nowhere": lambda claims: jwt.encode({"alg": "RS256", "kid": "zz"}, claims, FOREIGN),
    "a broken signature": broken,
    "no token at all": lambda _claims: "",
    "nonsense": lambda _claims: "a.b.c",
}


async def test_a_token_that_is_not_ours_opens_nothing(door: Door) -> None:
    for what, twist in TWISTS.items():
        door.oidc.twist, browser = twist, door.site.client()
        answer = await door.enters(LIN, browser)
        assert (answer.status, await inside(browser)) == (401, False), what
    door.oidc.twist = None
    for what, sign in SIGNATURES.items():
        door.oidc.sign, browser = sign, door.site.client()
        answer = await door.enters(LIN, browser)
        assert (answer.status, await inside(browser)) == (401, False), what
    door.oidc.sign = None
    door.oidc.new_key()  # an honest provider changes its keys
    assert (await door.enters(LIN)).status == 303


async def test_an_answer_opens_the_browser_that_asked_once_and_no_other(door: Door) -> None:
    site = door.site
    door.oidc.visitor = LIN
    victim, thief = site.client(), site.client()
    answer = await door.there(victim)
    query = parse_qs(urlsplit(answer).query)
    assert (await thief.get(answer)).status == 401  # another browser
    await door.there(thief)
    assert (await thief.get(answer)).status == 401  # which has begun something itself
    forged = answer.replace(query["state"][0], "x" * len(query["state"][0]))
    assert (await victim.get(forged)).status == 401
    assert (await victim.get(answer)).status == 401  # and whoever got a wrong one begins anew
    victim = site.client()
    answer = await door.there(victim)
    assert (await victim.get(answer)).status == 303
    again = await victim.get(answer)  # a code twice, in the same browser
    assert again.status == 401
    # A code that was seen by somebody else is of no use to them, whatever they begin.
    state = parse_qs(urlsplit(await door.there(thief)).query)["state"][0]
    stolen = parse_qs(urlsplit(await door.there(site.client())).query)["code"][0]
    refusals = len(door.oidc.refusals)
    assert (await thief.get(f"/login/sso/callback?state={state}&code={stolen}&iss={door.oidc.issuer}")).status == 401
    assert door.oidc.refusals[refusals:] == [SPENT]
    assert not await inside(thief)


@pytest.mark.parametrize(
    "query", ["", "?state=x", "?state=&code=", "?code=1", "?state=é&code=1", "?error=access_denied&state=x"]
)
async def test_an_answer_to_nothing_is_no_answer(door: Door, query: str) -> None:
    browser = door.site.client()
    assert (await browser.get("/login/sso/callback" + query)).status == 401
    browser.cookies.update_cookies({PENDING: base64.urlsafe_b64encode(b"x" * 60).decode()})
    assert (await browser.get("/login/sso/callback" + query)).status == 401


async def test_the_issuer_in_the_address_is_the_providers(door: Door) -> None:
    """An answer of another provider is not taken to this one (mix-up)."""
    door.oidc.visitor = LIN
    for change in (("iss=", "iss=https%3A%2F%2Fevil.example&x="), ("iss=", "x=")):
        browser = door.site.client()
        assert (await browser.get((await door.there(browser)).replace(*change))).status == 401


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example"])
async def test_nobody_is_sent_elsewhere_afterwards(door: Door, target: str) -> None:
    answer = await door.enters(LIN, path=f"{door.way}?next={target}")
    assert (answer.status, answer.headers["location"]) == (303, "/")


async def test_who_has_a_second_factor_is_asked_for_it_as_after_a_password(door: Door) -> None:
    seed, auth = door.site.seed, door.site.app.state.auth
    now = seed.clock.now()
    async with seed.database.transaction(seed.workspace_id) as tx:
        secret = await second_factor.begin(tx, auth.vault, seed.agents["林晓"], now=now)
        code = totp.code_of(secret, totp.step_at(now))
        await second_factor.confirm(tx, auth.vault, seed.agents["林晓"], code, token="", now=now)
    browser = door.site.client()
    answer = await door.enters(LIN, browser, f"{door.way}?next=/rules")
    assert answer.headers["location"] == "/login/code?next=/rules"
    assert not await inside(browser)
    code = totp.code_of(secret, totp.step_at(now) + 1)
    assert (await browser.post("/login/code", {"code": code, "next": "/rules"})).headers["location"] == "/rules"
    assert await inside(browser)


async def test_what_another_workspace_trusts_opens_nothing_here(door: Door) -> None:
    site = door.site
    other = await create_seed(site.seed.database, site.seed.clock, slug="other")
    door.oidc.visitor = {**LIN, "email": "linxiao@other.example"}
    for way in (f"/login/sso/{other.workspace_id}/{door.provider}", "/login/sso/999999/1", "/login/sso/0/1"):
        assert (await site.client().get(way)).status == 404
    browser = site.client()
    assert (await browser.get(await door.there(browser))).status == 401  # it is nobody's here
    assert "用青禾账号登录" not in (await browser.get("/login?workspace=other")).text
    assert "用青禾账号登录" in (await browser.get(f"/login?workspace={SLUG}")).text
    foreign = site.client()
    await foreign.post("/login", {"email": "linxiao@other.example", "password": "correct horse battery"})
    for path in (f"/settings/sign-in/{door.provider}", f"/settings/sign-in/{door.provider}/remove"):
        assert (await foreign.post(path, FORM)).status == 404
    assert (await foreign.get(f"/me/logins/{door.provider}", sec_fetch_site="same-origin")).status == 404


async def test_an_account_is_linked_by_whoever_is_signed_in(door: Door) -> None:
    await door.change(links_by_email=False)
    site = door.site
    agent = await site.signed_in()
    own = f"/me/logins/{door.provider}"
    private = {"sub": "u-private", "email": "lin@home.example", "email_verified": True}
    assert (await door.enters(private, agent, own)).headers["location"] == "/me"
    assert "已关联" in (await agent.get("/me")).text
    browser = site.client()
    assert (await door.enters(private, browser)).status == 303
    assert "林晓" in (await browser.get("/me")).text
    colleague = await site.signed_in("chenmo")
    assert (await door.enters(private, colleague, own)).status == 401  # it is somebody else's
    # Who signs in as another meanwhile does not get the account.
    door.oidc.visitor = {"sub": "u-chen"}
    answer = await door.there(colleague, own)
    colleague.cookies.update_cookies({COOKIE: "x"}, URL(site.url))
    assert (await colleague.get(answer)).status == 401
    assert (await agent.post(own + "/remove")).status == 303
    assert (await door.enters(private)).status == 401


async def test_another_site_does_not_make_its_account_somebodys(door: Door) -> None:
    """A page that signed this browser in at the provider, as itself, only has to send it here."""
    agent = await door.site.signed_in()
    own = f"/me/logins/{door.provider}"
    for headers in ({"sec_fetch_site": "cross-site"}, {"referer": "https://evil.example/"}, {}):
        answer = await agent.get(own, **headers)
        assert (answer.status, answer.headers["location"]) == (303, "/me"), headers
        assert PENDING not in answer.headers.get("set-cookie", "")


async def test_the_address_may_be_told_apart_and_must_be_of_the_same_person(door: Door) -> None:
    door.oidc.in_userinfo = ("email", "email_verified", "name")
    browser = door.site.client()
    assert (await door.enters(LIN, browser)).status == 303
    door.oidc.twist = lambda claims: {**claims, "sub": "u-somebody"}
    assert (await door.enters(LIN)).status == 401


FORM = {"name": "公司账号", "issuer": "https://login.example.com", "client_id": "c", "client_secret": "s"}


async def test_an_owner_sets_it_up_and_nobody_reads_the_secret(door: Door) -> None:
    site = door.site
    owner = await site.signed_in()
    form = {**FORM, "client_secret": "very secret words", "links": "true", "joins": "agent", "domains": "a.example"}
    assert (await owner.post("/settings/sign-in", form)).status == 303
    page = (await owner.get("/settings/sign-in")).text
    assert ("公司账号" in page, f"{site.url}/login/sso/callback" in page, "very secret" in page) == (True, True, False)
    for wrong in (
        {"issuer": "ftp://x"}, {"issuer": "https://u:p@x.example"}, {"client_id": ""}, {"client_secret": ""},
        {"name": ""}, {"joins": "owner"}, {"domains": ""}, {"domains": "x@y.example"},
    ):  # fmt: skip
        assert (await owner.post("/settings/sign-in", {**form, **wrong})).status == 422, wrong
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        rows = await providers.providers(tx)
        assert len(rows) == 2
        told = json.dumps(await tx.values("select data from event where kind like 'sign_in_provider%%'"))
        assert "secret" not in told
        (mine,) = [row for row in rows if row.issuer == FORM["issuer"] and row.joins_as == "agent"]
    # Who joins sees what the owner chose, and what did not exist cannot be chosen.
    inbox = seed.inbox.inbox_id
    async with seed.database.transaction(seed.workspace_id) as tx:
        for chosen, kept in (({}, []), ({"sees": "all"}, None), ({"sees": "some", "inbox": str(inbox)}, [inbox])):
            assert (await owner.post(f"/settings/sign-in/{mine.id}", {**form, **chosen})).status == 303
            assert (await providers.access_provider(tx, mine.id)).joins_inboxes == kept
    nowhere = {**form, "sees": "some", "inbox": "999999"}
    assert (await owner.post(f"/settings/sign-in/{mine.id}", nowhere)).status == 404
    # Another issuer is another world: it needs its own secret, and knows nobody.
    moved = {**form, "issuer": "https://elsewhere.example", "client_secret": ""}
    assert (await owner.post(f"/settings/sign-in/{mine.id}", moved)).status == 422
    assert (await owner.post(f"/settings/sign-in/{mine.id}", {**form, "client_secret": ""})).status == 303
    assert (await owner.post(f"/settings/sign-in/{mine.id}/remove")).status == 303
    assert (await site.client().get(f"/login/sso/{seed.workspace_id}/{mine.id}")).status == 404


async def test_a_provider_inside_our_network_is_not_asked(door: Door) -> None:
    port = urlsplit(door.oidc.issuer).port
    await door.change(issuer=f"http://localhost:{port}", client_secret=SECRET)
    answer = await door.site.client().get(door.way, sec_fetch_site="same-origin")
    assert (answer.status, "现在用不了" in answer.text) == (401, True)
    assert not door.oidc.grants


async def test_a_provider_that_hangs_up_says_so_and_a_password_still_works(door: Door) -> None:
    await door.change(issuer="http://127.0.0.1:9", client_secret=SECRET)
    assert (await door.site.client().get(door.way, sec_fetch_site="same-origin")).status == 401
    assert (await door.site.client().sign_in()).status == 303
