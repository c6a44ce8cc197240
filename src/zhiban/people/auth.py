"""Who is signed in: the session cookie, and what every page needs to know of its agent."""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.vault import Vault, new_key
from zhiban.people import service
from zhiban.people.passwords import HashQueue
from zhiban.people.permissions import Access
from zhiban.people.service import SignedInAgent
from zhiban.people.throttle import LoginAttempt, LoginThrottle, network_of
from zhiban.web import errors
from zhiban.web.proxies import visitor_address
from zhiban.web.render import Renderer, Viewer, viewer_of

COOKIE = "zhiban_session"
DEVICE_COOKIE = "zhiban_device"
DEVICE_SECONDS = 180 * 24 * 3600


ENROLMENT = "/me/second-factor"


class SignInNeeded(ZhibanError):
    """A page for colleagues was asked for by somebody who is not signed in."""


class EnrolmentNeeded(ZhibanError):
    """Everybody needs a second factor here, and whoever asked has none yet."""


@frozen_dataclass
class PageChrome:
    """What surrounds every page of a signed-in agent."""

    agent_id: int
    agent_name: str
    chosen: str
    workspace: str
    here: str
    demo: bool
    troubles: int
    access: Access
    elsewhere: bool = False  # the browser has sessions in other workspaces


class Auth:
    """Tells who is signed in, and holds what pages need to answer them."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        renderer: Renderer,
        *,
        demo: bool = False,
        url: str = "",
        secret: bytes | None = None,
        vault: Vault | None = None,
    ) -> None:
        self.database = database
        self.clock = clock
        self.renderer = renderer
        self.demo = demo
        self.url = url  # where colleagues reach us; empty: the address that a request came to
        self.passwords = HashQueue()
        # Without the installation's keys, second factors open until this process ends.
        self.vault = vault or Vault([new_key()])
        # Without the installation's secret, devices are known again until this process ends.
        self.throttle = LoginThrottle(database, secret or secrets.token_bytes(32))

    def install(self, app: FastAPI) -> None:
        """Let the pages of `app` find this object, and send everybody who is not signed in to the sign-in page."""
        app.state.auth = self
        errors.install(app, self.renderer)

        async def send_away(request: Request, _error: Exception) -> Response:
            return to_sign_in(request)

        async def send_to_enrolment(request: Request, _error: Exception) -> Response:
            return _sent(request, ENROLMENT, "Set up your second factor first.", status=403)

        app.add_exception_handler(SignInNeeded, send_away)
        app.add_exception_handler(EnrolmentNeeded, send_to_enrolment)

    async def __call__(self, request: Request) -> SignedInAgent:
        """Raises SignInNeeded, EnrolmentNeeded."""
        token = request.cookies.get(COOKIE, "")
        agent = await service.signed_in_agent(self.database, token, now=self.clock.now()) if token else None
        if agent is None:
            raise SignInNeeded("Sign in first.")
        if agent.must_enrol and not request.url.path.startswith(ENROLMENT):
            raise EnrolmentNeeded("Set up your second factor first.")
        return agent

    def is_secure(self, request: Request) -> bool:
        """Whether cookies may travel encrypted only: we were reached so, or ZHIBAN_URL says that we are."""
        return request.url.scheme == "https" or self.url.startswith("https://")

    def viewer(self, request: Request, agent: SignedInAgent) -> Viewer:
        return viewer_of(request, locale=agent.locale, theme=agent.theme)

    def chrome(self, agent: SignedInAgent, here: str, *, troubles: int = 0, elsewhere: bool = False) -> PageChrome:
        return PageChrome(
            agent.id, agent.name, agent.chosen, agent.workspace, here, self.demo, troubles, agent.access, elsewhere
        )


def to_sign_in(request: Request) -> Response:
    """Where somebody who is not signed in is sent: a redirect for a visit, a header for htmx, 401 for a script."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wish = "" if target == "/" or request.method != "GET" else target
    there = "/login" + (f"?next={_quoted(wish)}" if wish else "")
    return _sent(request, there, "Sign in first.", status=401)


def _sent(request: Request, there: str, sentence: str, *, status: int) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": sentence}, status_code=status)
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204, headers={"hx-redirect": there.partition("?")[0]})
    return RedirectResponse(there, status_code=303)


def _quoted(path: str) -> str:
    return quote(path, safe="/")


def inside(path: str) -> str:
    """A path of ours, never another site."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and "\n" not in path else "/"


def set_session_cookie(request: Request, token: str, target: str) -> Response:
    """Answer a fresh session's cookie and go on."""
    response = RedirectResponse(inside(target), status_code=303)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(service.SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=auth_of(request).is_secure(request),
        path="/",
    )
    return response


def attempt_of(request: Request, email: str, *, step: str = "") -> LoginAttempt:
    """What the login throttle has to know of a request."""
    cookie = request.cookies.get(DEVICE_COOKIE, "")
    network = network_of(visitor_address(request))
    return auth_of(request).throttle.attempt(email, cookie=cookie, network=network, step=step)


def remember_device(request: Request, response: Response, email: str) -> None:
    """Let this browser be told from strangers the next time somebody signs in to this account with it."""
    response.set_cookie(
        DEVICE_COOKIE,
        auth_of(request).throttle.cookie_for(email),
        max_age=DEVICE_SECONDS,
        httponly=True,
        samesite="lax",
        secure=auth_of(request).is_secure(request),
        path="/",
    )


def auth_of(request: Request) -> Auth:
    auth: Auth = request.app.state.auth
    return auth


async def signed_in(request: Request) -> SignedInAgent:
    """The dependency of every page for colleagues. Raises SignInNeeded, EnrolmentNeeded."""
    return await auth_of(request)(request)


CurrentAgent = Annotated[SignedInAgent, Depends(signed_in)]
