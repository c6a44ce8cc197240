"""Providers that hang, drip or break, and pages of others that want to sign somebody in."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.desk.conftest import Fields
from tests.desk.seed import SLUG, create_seed
from tests.desk.test_single_sign_on import Door, door  # noqa: F401 - a fixture
from zhiban.desk import identities
from zhiban.desk.identities import COOKIE as PENDING
from zhiban.integrations import oidc
from zhiban.integrations.oidc import OidcClient
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.people import sign_in_providers as providers
from zhiban.people.sign_in_providers import ProviderSettings
from zhiban.ports.identity import IdentityRefused, IdentityServer, SignInRequest
from zhiban.testing.oidc import CLIENT, SECRET
from zhiban.testing.serving import served

# The public key of RFC 7517's appendix.
KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}


@dataclass
class Dripping:
    """A provider that begins to answer and never ends. `honest`: paths that it does answer."""

    honest: tuple[str, ...] = ()
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked[path] += 1
        if path == "/keys" and path in self.honest:
            return JSONResponse({"keys": [KEY]})
        if path in self.honest:
            places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            told = {name: f"{self.url}/{place}" for name, place in places.items()}
            return JSONResponse({"issuer": self.url, **told})
        return StreamingResponse(_drops())


async def _drops() -> AsyncIterator[bytes]:
    while True:
        yield b" "
        await asyncio.sleep(0.05)


@asynccontextmanager
async def dripping(*honest: str) -> AsyncIterator[Dripping]:
    provider = Dripping(honest)
    async with served(Starlette(routes=[Route("/{p:path}", provider.answer, methods=["GET", "POST"])])) as url:
        provider.url = url
        yield provider


DISCOVERY = "/.well-known/openid-configuration"


async def test_a_provider_that_never_ends_is_asked_once_and_left_in_time(
    door: Door,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(oidc, "DISCOVERY_SECONDS", 0.3)
    async with dripping() as provider:
        await door.change(issuer=provider.url, client_secret=SECRET)
        visitors = (door.site.client().get(door.way, sec_fetch_site="same-origin") for _ in range(6))
        answers = await asyncio.wait_for(asyncio.gather(*visitors), 30)
        assert [one.status for one in answers] == [401] * 6
        assert all("现在用不了" in one.text for one in answers)
        assert (await door.site.client().get(door.way, sec_fetch_site="same-origin")).status == 401
        assert provider.asked == {DISCOVERY: 1}
    assert (await door.site.client().sign_in()).status == 303


async def test_who_comes_back_does_not_wait_for_ever(
    door: Door,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with dripping(DISCOVERY, "/keys") as provider:
        await door.change(issuer=provider.url, client_secret=SECRET)
        browser = door.site.client()
        away = await browser.get(door.way, sec_fetch_site="same-origin")
        assert away.status == 303
        state = parse_qs(urlsplit(away.headers["location"]).query)["state"][0]
        monkeypatch.setattr(identities, "SECONDS", 0.3)
        back = await asyncio.wait_for(browser.get(f"/login/sso/callback?state={state}&code=x"), 30)
        assert (back.status, "现在用不了" in back.text) == (401, True)
        assert provider.asked["/token"] == 1


async def test_a_secret_that_does_not_open_says_the_same(door: Door) -> None:  # noqa: F811
    seed = door.site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run("update sign_in_provider set secret = %(s)s", s=b"not sealed by any key of ours")
    answer = await door.site.client().get(door.way, sec_fetch_site="same-origin")
    assert (answer.status, "现在用不了" in answer.text) == (401, True)


async def test_only_so_many_providers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "MOST_KNOWN", 2)
    asked: Counter[str] = Counter()

    async def refuse(request: Request) -> Response:
        asked[request.path_params["name"]] += 1
        return JSONResponse({}, status_code=404)

    request = SignInRequest("s", "n", "v", "https://desk.example.test/back")
    app = Starlette(routes=[Route("/{name}" + DISCOVERY, refuse)])
    async with served(app) as url, Http() as http:
        client = OidcClient(http, SystemClock(), ["127.0.0.1"])
        for name in ("a", "a", "b", "c", "c", "a"):
            with pytest.raises(IdentityRefused):
                await client.address(IdentityServer(f"{url}/{name}", "c", "s"), request)
    assert asked == {"a": 2, "b": 1, "c": 1}


@pytest.mark.parametrize("address", ["http://[", 7, "javascript:1", "http://elsewhere.example/"])
async def test_an_address_that_is_none_is_refused(address: object) -> None:
    async def tell(request: Request) -> Response:
        issuer = str(request.base_url).rstrip("/")
        return JSONResponse({"issuer": issuer, "jwks_uri": address})

    async with served(Starlette(routes=[Route(DISCOVERY, tell)])) as url, Http() as http:
        client = OidcClient(http, SystemClock(), ["127.0.0.1"])
        with pytest.raises(IdentityRefused):
            await client.address(IdentityServer(url, "c", "s"), SignInRequest("s", "n", "v", "https://d.example/b"))


async def test_another_site_begins_no_sign_in(door: Door) -> None:  # noqa: F811
    """It would be as whom it likes: its page has signed this browser in at its own provider before."""
    browser = door.site.client()
    for headers in (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "none"},
        {"referer": "https://e.example/"},
        {},
    ):
        answer = await browser.get(f"{door.way}?next=/rules", **headers)
        assert (answer.status, PENDING in answer.headers.get("set-cookie", "")) == (303, False), headers
        assert answer.headers["location"] == f"/login?workspace={SLUG}&next=%2Frules"
    page = await browser.get(answer.headers["location"])
    assert f'href="{door.way}?next=/rules"' in page.text
    ours = await browser.get(f"{door.way}?next=/rules", referer=f"{door.site.url}/login")
    assert ours.headers["location"].startswith(door.oidc.issuer)


async def test_nobodys_session_gives_way_unasked(door: Door) -> None:  # noqa: F811
    site = door.site
    other = await create_seed(site.seed.database, site.seed.clock, slug="other")
    async with other.database.transaction(other.workspace_id) as tx:
        settings = ProviderSettings("别处", door.oidc.issuer, CLIENT, SECRET, links_by_email=True)
        by = {"by": other.by("林晓"), "now": other.clock.now()}
        provider = await providers.add_provider(tx, site.app.state.auth.vault, settings, **by)
    victim = await site.signed_in("chenmo")
    evil = {"sub": "evil", "email": "linxiao@other.example", "email_verified": True}
    asked = await door.enters(evil, victim, f"/login/sso/{other.workspace_id}/{provider}")
    assert (asked.status, "陈默" in asked.text, "用别处登录" in asked.text) == (200, True, True)
    assert "陈默" in (await victim.get("/me")).text
    form: Fields = dict(re.findall(r'type="hidden" name="(state|code|iss)" value="([^"]*)"', asked.text))
    foreign = await victim.post("/login/sso/callback", form, origin="https://evil.example")
    assert (foreign.status, "陈默" in (await victim.get("/me")).text) == (403, True)
    assert (await site.client().post("/login/sso/callback", form)).status == 401  # another browser's answer
    answer = await victim.post("/login/sso/callback", form)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "linxiao@other.example" in (await victim.get("/me")).text
    assert (await victim.post("/login/sso/callback", form)).status == 401  # once
