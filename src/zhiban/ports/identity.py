"""Asking somebody else who a visitor is: an identity provider, or a vendor where our people have accounts."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass


class IdentityRefused(ZhibanError):
    """The provider's answer proves nothing; the sentence says what is wrong with it, for whoever set it up."""


@frozen_dataclass
class IdentityServer:
    """An identity provider, and what we are to it."""

    issuer: str
    client_id: str
    client_secret: str


@frozen_dataclass
class SignInRequest:
    """One way to a provider and back. `state` and `nonce` tell our own answer from others, `verifier` proves ours."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


@frozen_dataclass
class Identity:
    """Who a visitor is. `subject` is theirs for ever at this provider; an address counts only where it is verified."""

    subject: str
    email: str = ""
    email_verified: bool = False
    name: str = ""


class IdentityClient(Protocol):
    """Signs people in by an identity provider: a browser goes there and comes back with a code."""

    async def address(self, server: IdentityServer, request: SignInRequest) -> str:
        """Where the browser goes to prove who it is. Raises IdentityRefused, Unavailable."""
        ...

    async def identity(self, server: IdentityServer, request: SignInRequest, *, code: str, issuer: str) -> Identity:
        """Who came back with this code; `issuer` as the address says, empty where it does not.

        Raises IdentityRefused, Unavailable.
        """
        ...


@runtime_checkable
class SignsInMembers(Protocol):
    """A vendor can say which member of ours sits at a browser."""

    def sign_in_address(self, *, redirect_uri: str, state: str) -> str:
        """Where the browser goes. Raises IdentityRefused when the connection lacks what it needs for that."""
        ...

    async def signed_in_member(self, code: str) -> str:
        """The member's id at the vendor. Raises IdentityRefused, TryLater, ConnectionBroken."""
        ...
