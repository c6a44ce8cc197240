"""OpenID Connect: the authorization code with PKCE, and an ID token of which nothing is believed unchecked.

https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636 (PKCE), RFC 9207 (the issuer in the answer).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit
from weakref import WeakValueDictionary

from zhiban.kit.clock import Clock
from zhiban.kit.errors import Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.http import AddressRefused, Http, NotJson
from zhiban.ports.identity import Identity, IdentityRefused, IdentityServer, SignInRequest

# Never `none`, and never a shared secret: whoever knows our client secret could forge those.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SCOPE = "openid email profile"
GOOD_FOR_SECONDS = 600.0
FAILED_FOR_SECONDS = 30.0  # so that strangers at the sign-in page do not make us ask without end
MOST_KNOWN = 100  # providers that are remembered
LEEWAY = 60  # seconds by which the provider's clock may differ
OLDEST = 600  # seconds since a token was made
SECONDS = 8.0  # the longest silence of an answer
DISCOVERY_SECONDS = 5.0  # for all that a provider says of itself, however it says it
LIMIT = 128 << 10  # bytes of an answer
LONGEST = 255  # characters of a subject


_Value = TypeVar("_Value")


@frozen_dataclass
class Discovered:
    """What a provider says of itself, and its keys."""

    document: Mapping[str, Any]
    keys: Any  # joserfc's KeySet; the library is loaded with the first sign-in
    until: float


class OidcClient:
    """Speaks to identity providers; `private_hosts` are those in private networks that an operator allows."""

    def __init__(self, http: Http, clock: Clock, private_hosts: Sequence[str] = ()) -> None:
        self._http = http
        self._clock = clock
        self._private_hosts = frozenset(private_hosts)
        self._known: dict[str, Discovered] = {}
        self._failed: dict[str, tuple[float, str]] = {}  # issuer -> until when it is not asked again, and why
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # one at a time asks an issuer

    async def address(self, server: IdentityServer, request: SignInRequest) -> str:
        document = (await self._discovered(server.issuer)).document
        there = self._endpoint(document, "authorization_endpoint")
        query = urlencode(
            {
                "response_type": "code",
                "client_id": server.client_id,
                "redirect_uri": request.redirect_uri,
                "scope": SCOPE,
                "state": request.state,
                "nonce": request.nonce,
                "code_challenge": challenge_of(request.verifier),
                "code_challenge_method": "S256",
            }
        )
        return f"{there}{'&' if '?' in there else '?'}{query}"

    async def identity(self, server: IdentityServer, request: SignInRequest, *, code: str, issuer: str) -> Identity:
        found = await self._discovered(server.issuer)
        if (issuer or found.document.get("authorization_response_iss_parameter_supported")) and issuer != server.issuer:
            raise IdentityRefused("The answer comes from another issuer.")
        answer = await self._exchange(server, found.document, request, code)
        claims = await self._claims(server, str(answer.get("id_token") or ""), request.nonce)
        if "email" not in claims and found.document.get("userinfo_endpoint"):
            claims = {**claims, **await self._userinfo(found.document, answer, claims["sub"])}
        email = claims.get("email")
        return Identity(
            subject=claims["sub"],
            email=email.strip() if isinstance(email, str) else "",
            email_verified=claims.get("email_verified") is True,
            name=str(claims.get("name") or claims.get("preferred_username") or ""),
        )

    # ------------------------------------------------------------------------------------------------- discovery

    async def _discovered(self, issuer: str, *, old: Discovered | None = None) -> Discovered:
        """What the issuer says of itself, `old` no longer counting. Raises IdentityRefused, Unavailable."""
        if (known := self._fresh(issuer, old)) is not None:
            return known
        lock = self._asking.setdefault(issuer, asyncio.Lock())
        async with lock:
            if (known := self._fresh(issuer, old)) is not None:  # somebody else has asked meanwhile
                return known
            until, why = self._failed.get(issuer, (0.0, ""))
            if until > time.monotonic():
                raise IdentityRefused(why)
            try:
                found = await self._discover(issuer)
            except (IdentityRefused, Unavailable) as error:
                _remember(self._failed, issuer, (time.monotonic() + FAILED_FOR_SECONDS, error.sentence))
                raise
            _remember(self._known, issuer, found)
            return found

    def _fresh(self, issuer: str, old: Discovered | None) -> Discovered | None:
        known = self._known.get(issuer)
        return known if known is not None and known is not old and known.until > time.monotonic() else None

    async def _discover(self, issuer: str) -> Discovered:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            async with asyncio.timeout(DISCOVERY_SECONDS):
                document = await self._document(issuer)
                keys = await self._get(self._endpoint(document, "jwks_uri"))
        except TimeoutError as error:
            raise Unavailable("The identity provider did not answer in time.") from error
        try:
            public = [one for one in keys.get("keys", ()) if one.get("kty") != "oct" and one.get("use") != "enc"]
            return Discovered(document, KeySet.import_key_set({"keys": public}), time.monotonic() + GOOD_FOR_SECONDS)
        except (JoseError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise IdentityRefused("The provider's keys cannot be read.") from error

    async def _document(self, issuer: str) -> dict[str, Any]:
        document = await self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise IdentityRefused("The provider calls itself by another address than the issuer that was entered.")
        return document

    def _endpoint(self, document: Mapping[str, Any], name: str) -> str:
        address = document.get(name)
        if not isinstance(address, str):
            raise IdentityRefused(f"The provider does not name its {name}.")
        self._check_encrypted(address)
        return address

    def _check_encrypted(self, address: str) -> None:
        try:
            parts = urlsplit(address)
        except ValueError as error:
            raise IdentityRefused("The provider names an address that is none.") from error
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in self._private_hosts):
            raise IdentityRefused("Identity providers are asked by https only.")

    async def _get(self, address: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        self._check_encrypted(address)
        try:
            answer = await self._http.fetch_public(
                address, limit=LIMIT, timeout=SECONDS, allow_private=self._may_be_private(address), headers=headers
            )
        except AddressRefused as error:
            raise IdentityRefused("The provider's address leads into a private network.") from error
        return _object(answer.status, answer)

    def _may_be_private(self, address: str) -> bool:
        return urlsplit(address).hostname in self._private_hosts

    # ---------------------------------------------------------------------------------------------------- tokens

    async def _exchange(
        self, server: IdentityServer, document: Mapping[str, Any], request: SignInRequest, code: str
    ) -> dict[str, Any]:
        there = self._endpoint(document, "token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": request.redirect_uri,
            "code_verifier": request.verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        methods = document.get("token_endpoint_auth_methods_supported")
        if not isinstance(methods, list) or not methods or "client_secret_basic" in methods:
            both = f"{quote_plus(server.client_id)}:{quote_plus(server.client_secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(both.encode()).decode()
        else:
            form |= {"client_id": server.client_id, "client_secret": server.client_secret}
        try:
            answer = await self._http.post_public(
                there,
                data=urlencode(form).encode(),
                headers=headers,
                timeout=SECONDS,
                limit=LIMIT,
                allow_private=self._may_be_private(there),
            )
        except AddressRefused as error:
            raise IdentityRefused("The provider's address leads into a private network.") from error
        return _object(answer.status, answer)

    async def _claims(self, server: IdentityServer, token: str, nonce: str) -> dict[str, Any]:
        """What a genuine token for us says, made for this very request just now."""
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError, JoseError

        found = await self._discovered(server.issuer)
        try:
            try:
                decoded = jwt.decode(token, found.keys, algorithms=list(ALGORITHMS))
            except (InvalidKeyIdError, ValueError):  # the provider has changed its keys
                found = await self._discovered(server.issuer, old=found)
                decoded = jwt.decode(token, found.keys, algorithms=list(ALGORITHMS))
            now = int(self._clock.now().timestamp())
            jwt.JWTClaimsRegistry(
                now=now,
                leeway=LEEWAY,
                iss={"essential": True, "value": server.issuer},
                aud={"essential": True, "value": server.client_id},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
                sub={"essential": True},
            ).validate(decoded.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise IdentityRefused(f"The provider's token is not valid: {type(error).__name__}.") from error
        claims: dict[str, Any] = decoded.claims
        audience = claims["aud"]
        others = isinstance(audience, list) and len(audience) > 1
        if (others or "azp" in claims) and claims.get("azp") != server.client_id:
            raise IdentityRefused("The provider's token was made for somebody else.")
        if not now - OLDEST <= claims["iat"] <= now + LEEWAY:
            raise IdentityRefused("The provider's token is too old.")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST:
            raise IdentityRefused("The provider's token names nobody.")
        return claims

    async def _userinfo(self, document: Mapping[str, Any], answer: Mapping[str, Any], subject: str) -> dict[str, Any]:
        token = str(answer.get("access_token") or "")
        told = await self._get(self._endpoint(document, "userinfo_endpoint"), {"Authorization": f"Bearer {token}"})
        if told.get("sub") != subject:
            raise IdentityRefused("The provider tells of somebody else than its token.")
        return {name: told[name] for name in ("email", "email_verified", "name") if name in told}


def _remember(known: dict[str, _Value], issuer: str, value: _Value) -> None:
    """The newest; whoever was asked longest ago is forgotten."""
    known.pop(issuer, None)
    known[issuer] = value
    while len(known) > MOST_KNOWN:
        del known[next(iter(known))]


def challenge_of(verifier: str) -> str:
    """The S256 challenge of PKCE."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _object(status: int, answer: Any) -> dict[str, Any]:
    if status >= 500:
        raise Unavailable(f"The identity provider answered {status}.")
    try:
        told = answer.json()
    except NotJson as error:
        raise IdentityRefused(f"The identity provider answered {status} with something that is not JSON.") from error
    if status != 200 or not isinstance(told, dict):
        what = str(told.get("error", ""))[:60] if isinstance(told, dict) else ""
        raise IdentityRefused(f"The identity provider refused: {status} {what}".strip())
    return told
