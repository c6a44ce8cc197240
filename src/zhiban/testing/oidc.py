"""An identity provider as OpenID Connect has it, which refuses what real ones refuse.

`python -m zhiban.testing.oidc --port 9012` runs it on its own: everybody who comes is `visitor`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT = "zhiban-client"
SECRET = "a client secret of the simulator/+%"  # noqa: S105 - nothing real
CODE_LIFE = 60.0
SPENT = "invalid_grant"


@dataclass
class Grant:
    """What a code was given out for."""

    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str
    claims: dict[str, Any]
    at: float
    spent: bool = False


@dataclass
class OidcSimulator:
    """The provider's state. `visitor` is who sits at the browser; `twist` changes a token before it is signed."""

    issuer: str = ""
    redirect_uris: list[str] = field(default_factory=list)
    visitor: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1"})
    twist: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    sign: Callable[[dict[str, Any]], str] | None = None  # makes the token instead of us
    names_issuer: bool = True  # in the address that it sends browsers back to
    in_userinfo: tuple[str, ...] = ()  # claims that are told there and not in the token
    refusals: list[str] = field(default_factory=list)  # why calls were refused
    grants: dict[str, Grant] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"}))
    _tokens: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
            ]
        )

    def new_key(self) -> None:
        """Sign with another key from now on."""
        kid = f"k{secrets.token_hex(4)}"
        self.key = RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})

    async def _discovery(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": self.names_issuer,
            }
        )

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        asked = request.query_params
        wrong = self._wrong_request(asked)
        if wrong:
            return self._refuse(400, wrong)  # shown here: where to send the browser is not certain
        code = secrets.token_urlsafe(24)
        grant = Grant(CLIENT, asked["redirect_uri"], asked["code_challenge"], asked.get("nonce", ""), {}, time.time())
        grant.claims = dict(self.visitor)
        self.grants[code] = grant
        told = {"code": code, "state": asked["state"], **({"iss": self.issuer} if self.names_issuer else {})}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(told)}", status_code=302)

    def _wrong_request(self, asked: Any) -> str:
        needed = ("client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge")
        if missing := [name for name in needed if not asked.get(name)]:
            return f"{missing[0]} is missing"
        if asked["client_id"] != CLIENT or asked["redirect_uri"] not in self.redirect_uris:
            return "unknown client or redirect_uri"
        if asked["response_type"] != "code" or "openid" not in asked["scope"].split():
            return "unsupported_response_type or scope"
        if asked.get("code_challenge_method") != "S256" or len(asked["code_challenge"]) != 43:
            return "PKCE with S256 is required"
        return ""

    async def _token(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            return self._refuse(400, "invalid_request")
        if not self._is_client(request.headers.get("authorization", "")):
            return self._refuse(401, "invalid_client")
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        grant = self.grants.get(form.get("code", ""))
        if form.get("grant_type") != "authorization_code":
            return self._refuse(400, "unsupported_grant_type")
        if grant is None or grant.spent or time.time() - grant.at > CODE_LIFE:
            return self._refuse(400, SPENT)
        grant.spent = True
        if form.get("redirect_uri") != grant.redirect_uri or not _proves(form.get("code_verifier", ""), grant):
            return self._refuse(400, SPENT)
        access = secrets.token_urlsafe(24)
        self._tokens[access] = grant.claims
        return JSONResponse(
            {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": self._id_token(grant)},
            headers={"cache-control": "no-store"},
        )

    def _is_client(self, given: str) -> bool:
        scheme, _, both = given.partition(" ")
        try:
            name, _, secret = base64.b64decode(both).decode().partition(":")
        except ValueError:
            return False
        return scheme == "Basic" and (unquote_plus(name), unquote_plus(secret)) == (CLIENT, SECRET)

    def _id_token(self, grant: Grant) -> str:
        now = int(time.time())
        told = {name: value for name, value in grant.claims.items() if name not in self.in_userinfo}
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": grant.nonce, **told}
        if self.twist is not None:
            claims = self.twist(claims)
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    async def _userinfo(self, request: Request) -> Response:
        found = self._tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        return self._refuse(401, "invalid_token") if found is None else JSONResponse(found)

    def _refuse(self, status: int, error: str) -> Response:
        self.refusals.append(error)
        return JSONResponse({"error": error}, status_code=status)


def _proves(verifier: str, grant: Grant) -> bool:
    digest = hashlib.sha256(verifier.encode()).digest()
    return 43 <= len(verifier) <= 128 and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == grant.challenge


def unsigned(claims: dict[str, Any]) -> str:
    """A token that says of itself that nobody signed it."""
    import json

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part(claims)}."


def signed_by_secret(claims: dict[str, Any], secret: str = SECRET) -> str:
    """A token signed with what the client knows, too."""
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret), algorithms=["HS256"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9012)
    parser.add_argument("--desk", default="http://127.0.0.1:8000", help="the desk that asks")
    chosen = parser.parse_args(arguments)
    simulator = OidcSimulator(
        issuer=f"http://{chosen.host}:{chosen.port}",
        redirect_uris=[f"{chosen.desk}/login/sso/callback"],
        visitor={"sub": "u-1", "email": "visitor@example.com", "email_verified": True, "name": "Visitor"},
    )
    uvicorn.run(simulator.app, host=chosen.host, port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
