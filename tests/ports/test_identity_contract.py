"""What every way to ask somebody else who a visitor is promises, over the simulated wire.

There is no twin in memory: what a provider's answer proves is what has to be right, and only a real answer proves it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from zhiban.integrations.oidc import OidcClient
from zhiban.kit.clock import SystemClock
from zhiban.kit.errors import Unavailable
from zhiban.kit.http import Http
from zhiban.ports.identity import Identity, IdentityClient, IdentityRefused, IdentityServer, SignInRequest
from zhiban.testing.oidc import CLIENT, SECRET, OidcSimulator
from zhiban.testing.serving import served

BACK = "https://desk.example.test/login/sso/callback"
REQUEST = SignInRequest("state-1", "nonce-1", "v" * 43, BACK)


@dataclass
class Border:
    """Who asks, whom they ask, and a visitor's browser."""

    client: IdentityClient
    provider: OidcSimulator
    server: IdentityServer

    async def code(self, request: SignInRequest = REQUEST) -> tuple[str, str]:
        """The visitor goes to the provider and comes back: the code, and which issuer says so."""
        address = await self.client.address(self.server, request)
        async with aiohttp.ClientSession() as browser, browser.get(address, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            told = parse_qs(urlsplit(answer.headers["location"]).query)
        assert told["state"] == [request.state]
        return told["code"][0], told["iss"][0]


@pytest.fixture
async def border() -> AsyncIterator[Border]:
    provider = OidcSimulator(redirect_uris=[BACK])
    async with served(provider.app) as url, Http() as http:
        provider.issuer = url
        client = OidcClient(http, SystemClock(), ["127.0.0.1"])
        yield Border(client, provider, IdentityServer(url, CLIENT, SECRET))


async def test_who_came_back_is_whom_the_provider_saw(border: Border) -> None:
    border.provider.visitor = {"sub": "u-7", "email": "chen@example.com", "email_verified": True, "name": "陈默"}
    code, issuer = await border.code()
    found = await border.client.identity(border.server, REQUEST, code=code, issuer=issuer)
    assert found == Identity("u-7", "chen@example.com", True, "陈默")


async def test_an_address_that_nobody_verified_counts_for_nothing(border: Border) -> None:
    border.provider.visitor = {"sub": "u-7", "email": "owner@example.com"}
    code, issuer = await border.code()
    assert not (await border.client.identity(border.server, REQUEST, code=code, issuer=issuer)).email_verified


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, nonce="nonce-2"),
        replace(REQUEST, verifier="w" * 43),
        replace(REQUEST, redirect_uri="https://elsewhere.example.test/"),
    ],
    ids=["nonce", "verifier", "redirect"],
)
async def test_a_code_is_good_for_the_request_that_it_answers(border: Border, other: SignInRequest) -> None:
    code, issuer = await border.code()
    with pytest.raises(IdentityRefused):
        await border.client.identity(border.server, other, code=code, issuer=issuer)


async def test_a_code_works_once(border: Border) -> None:
    code, issuer = await border.code()
    await border.client.identity(border.server, REQUEST, code=code, issuer=issuer)
    with pytest.raises(IdentityRefused):
        await border.client.identity(border.server, REQUEST, code=code, issuer=issuer)


@pytest.mark.parametrize("issuer", ["", "https://evil.example.test"])
async def test_an_answer_of_another_issuer_proves_nothing(border: Border, issuer: str) -> None:
    code, _ = await border.code()
    with pytest.raises(IdentityRefused):
        await border.client.identity(border.server, REQUEST, code=code, issuer=issuer)


async def test_a_wrong_secret_is_said_and_not_told(border: Border) -> None:
    code, issuer = await border.code()
    wrong = replace(border.server, client_secret="not-the-secret")
    with pytest.raises(IdentityRefused) as caught:
        await border.client.identity(wrong, REQUEST, code=code, issuer=issuer)
    assert "not-the-secret" not in caught.value.sentence


async def test_a_provider_that_does_not_answer_is_unavailable(border: Border) -> None:
    gone = replace(border.server, issuer="http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        await border.client.address(gone, REQUEST)
