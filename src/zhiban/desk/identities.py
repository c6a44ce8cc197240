"""The way to a provider and back: what the browser keeps meanwhile, and whom to ask.

What tells our own request from others travels in a sealed cookie of the browser that began: an answer in another
browser, a second one, or one that was not asked for, opens nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from zhiban.channels import inboxes
from zhiban.channels.connections import Connections
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Unavailable, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.vault import SealBroken, Vault
from zhiban.people.sign_in_providers import ProviderKind, ProviderRow, access_provider, server_of
from zhiban.ports.identity import (
    Identity,
    IdentityClient,
    IdentityRefused,
    IdentityServer,
    SignInRequest,
    SignsInMembers,
)

COOKIE = "zhiban_sso"
LIFE = timedelta(minutes=10)
SECONDS = 10.0  # for all that a provider is asked while a browser waits
_PLACE = "sign-in request"


class NoSuchRequest(ZhibanError):
    """The answer was not asked for by this browser, or came too late, or for a second time."""


@frozen_dataclass
class PendingSignIn:
    """What a browser has begun. `agent_id`: who wants to link the account to themselves; 0: somebody signs in."""

    workspace_id: int
    provider_id: int
    request: SignInRequest
    target: str
    agent_id: int
    until: float

    def sealed(self, vault: Vault) -> str:
        request = self.request
        kept = [self.workspace_id, self.provider_id, self.target, self.agent_id, self.until]
        kept += [request.state, request.nonce, request.verifier, request.redirect_uri]
        return base64.urlsafe_b64encode(vault.seal({"kept": kept}, bound_to=_PLACE)).decode()


def begun(
    workspace_id: int, provider_id: int, *, redirect_uri: str, target: str, agent_id: int = 0, now: datetime
) -> PendingSignIn:
    """A new way to a provider."""
    state, nonce, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    request = SignInRequest(state, nonce, verifier, redirect_uri)
    return PendingSignIn(workspace_id, provider_id, request, target, agent_id, (now + LIFE).timestamp())


def pending(vault: Vault, cookie: str, state: str, *, now: datetime) -> PendingSignIn:
    """What this browser has begun and the answer belongs to. Raises NoSuchRequest."""
    try:
        kept: list[Any] = vault.open(base64.urlsafe_b64decode(cookie), bound_to=_PLACE)["kept"]
    except (SealBroken, binascii.Error, ValueError, KeyError):
        raise NoSuchRequest("This sign-in was not begun in this browser, or is over. Begin again.") from None
    workspace_id, provider_id, target, agent_id, until, *request = kept
    found = PendingSignIn(workspace_id, provider_id, SignInRequest(*request), target, agent_id, until)
    if now.timestamp() > found.until or not hmac.compare_digest(found.request.state.encode(), state.encode()):
        raise NoSuchRequest("This sign-in was not begun in this browser, or is over. Begin again.")
    return found


@frozen_dataclass
class AskedProvider:
    """A provider and what is needed to ask it."""

    row: ProviderRow
    server: IdentityServer
    siblings: tuple[int, ...] = ()  # connections of the same vendor, its own among them


class Identities:
    """Asks providers who a visitor is."""

    def __init__(self, oidc: IdentityClient, connections: Connections | None, vault: Vault) -> None:
        self._oidc = oidc
        self._connections = connections
        self._vault = vault

    async def provider(self, tx: Transaction, provider_id: int) -> AskedProvider:
        """Raises NotFound, SealBroken."""
        row = await access_provider(tx, provider_id)
        return AskedProvider(row, await server_of(tx, self._vault, row), await _siblings(tx, row.vendor))

    async def address(self, workspace_id: int, asked: AskedProvider, request: SignInRequest) -> str:
        """Where the browser goes. Raises IdentityRefused, Unavailable."""
        async with _in_time():
            if asked.row.kind == ProviderKind.MEMBERS:
                vendor = await self._members(workspace_id, asked)
                return vendor.sign_in_address(redirect_uri=request.redirect_uri, state=request.state)
            return await self._oidc.address(asked.server, request)

    async def identity(
        self, workspace_id: int, asked: AskedProvider, request: SignInRequest, *, code: str, issuer: str
    ) -> Identity:
        """Who came back. Raises IdentityRefused, Unavailable."""
        async with _in_time():
            if asked.row.kind == ProviderKind.MEMBERS:
                vendor = await self._members(workspace_id, asked)
                return Identity(await vendor.signed_in_member(code))
            return await self._oidc.identity(asked.server, request, code=code, issuer=issuer)

    async def offers(self, tx: Transaction) -> list[tuple[int, str]]:
        """Connections, with their vendors, whose members could sign in through them."""
        rows = [row for row in await inboxes.connections(tx) if row.removed_at is None]
        return [(row.id, row.vendor) for row in rows if await self._signs_in(tx.workspace_id, row.id)]

    async def _signs_in(self, workspace_id: int, connection_id: int) -> bool:
        if self._connections is None:
            return False
        try:
            opened = await self._connections.connection(workspace_id, connection_id)
        except ZhibanError:  # it does not work at all, and says so where it is set up
            return False
        return isinstance(opened.vendor, SignsInMembers)

    async def _members(self, workspace_id: int, asked: AskedProvider) -> SignsInMembers:
        """The vendor whose members sign in. Agents' accounts do not say of which corp they are: there must be one."""
        if self._connections is None or asked.row.connection_id not in asked.siblings:
            raise IdentityRefused("Members do not sign in through this connection.")
        vendors = {id_: (await self._connections.connection(workspace_id, id_)).vendor for id_ in asked.siblings}
        if len({vendor.namespace("")[1] for vendor in vendors.values()}) > 1:
            raise IdentityRefused("Several corps are connected, and accounts do not say of which they are.")
        found = vendors[asked.row.connection_id]
        if not isinstance(found, SignsInMembers):
            raise IdentityRefused("Members do not sign in through this connection.")
        return found


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError as error:
        raise Unavailable("The identity provider did not answer in time.") from error


async def _siblings(tx: Transaction, vendor: str | None) -> tuple[int, ...]:
    if vendor is None:
        return ()
    rows = await inboxes.connections(tx)
    return tuple(row.id for row in rows if row.vendor == vendor and row.removed_at is None)
