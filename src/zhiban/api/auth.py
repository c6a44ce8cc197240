"""Who calls the API, and what they may do there: a program with a token, or an agent who is signed in."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from zhiban.events import Actor
from zhiban.kit import metrics
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people import service, tokens
from zhiban.people.auth import COOKIE, auth_of
from zhiban.people.permissions import Access
from zhiban.people.tokens import SCOPE_PERMISSIONS, InvalidToken, Scope
from zhiban.web.security import same_origin

log = logging.getLogger(__name__)

REALM = 'Bearer realm="zhiban"'
READING = frozenset({Scope.KNOWLEDGE_READ, Scope.TICKETS_READ, Scope.CONVERSATIONS_READ})

bearer = HTTPBearer(
    scheme_name="token",
    bearerFormat="zhiban_…",
    description=mark("A token that zhiban token create printed, sent as Authorization: Bearer <token>."),
    auto_error=False,
)
cookie = APIKeyCookie(
    name=COOKIE,
    scheme_name="session",
    description=mark("The session of an agent who is signed in; only for requests from our own pages."),
    auto_error=False,
)


@frozen_dataclass
class Caller:
    """Whoever calls, whose workspace they see, and what they may do: of its inboxes, too."""

    workspace_id: int
    actor: Actor
    name: str
    scopes: frozenset[Scope]
    access: Access


class RefusalLog:
    """Says that calls are refused, and how many, once a minute at most: whoever guesses must not fill the log."""

    def __init__(self, every: timedelta = timedelta(minutes=1)) -> None:
        self._every = every
        self._said_at: datetime | None = None
        self._counts: Counter[str] = Counter()

    def note(self, reason: str, address: str, *, now: datetime) -> None:
        metrics.api_refusal(reason)
        self._counts[reason] += 1
        if self._said_at is not None and now - self._said_at < self._every:
            return
        counted = ", ".join(f"{reason} {count}" for reason, count in sorted(self._counts.items()))
        log.warning("API calls were refused since the last such line: %s; the last one came from %s", counted, address)
        self._counts.clear()
        self._said_at = now


def install(app: FastAPI) -> None:
    """Let the endpoints of `app` count whom they refuse."""
    app.state.api_refusals = RefusalLog()


def _refused(request: Request, reason: str) -> None:
    refusals: RefusalLog = request.app.state.api_refusals
    address = request.client.host if request.client else "an unknown address"
    refusals.note(reason, address, now=auth_of(request).clock.now())


async def caller(
    request: Request,
    needed: SecurityScopes,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    session: Annotated[str | None, Security(cookie)],
) -> Caller:
    """Who calls. A token counts before a cookie. Raises HTTPException (401, 403) and ForeignForm."""
    auth = auth_of(request)
    if credentials is not None:
        found = await _by_token(request, credentials.credentials)
    elif session:
        agent = await service.signed_in_agent(auth.database, session, now=auth.clock.now())
        if agent is None:
            raise _unknown("The session has ended. Sign in again, or send a token.")
        if agent.must_enrol:
            raise HTTPException(403, "Set up your second factor first.")
        await same_origin(request)
        scopes = _scopes_of(agent.access)
        found = Caller(agent.workspace_id, Actor("agent", agent.id), agent.name, scopes, agent.access)
    else:
        raise _unknown("Send a token as Authorization: Bearer <token>. zhiban token create makes one.")
    missing = [scope for scope in needed.scopes if scope not in found.scopes]
    if missing:
        if credentials is not None:
            _refused(request, "scope")
        raise HTTPException(
            403,
            f"This needs the scope {missing[0]}, which {found.name} does not have.",
            headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{missing[0]}"'},
        )
    return found


def _scopes_of(access: Access) -> frozenset[Scope]:
    """What an agent's session may do: what they may do at the desk."""
    return READING | {scope for scope, permission in SCOPE_PERMISSIONS.items() if access.may(permission)}


async def _by_token(request: Request, token: str) -> Caller:
    auth = auth_of(request)
    try:
        found = await tokens.authenticate(auth.database, token, now=auth.clock.now())
    except InvalidToken as error:
        _refused(request, error.reason)
        raise _unknown(error.sentence, error="invalid_token") from error
    return Caller(found.workspace_id, Actor("api", found.id, found.name), found.name, found.scopes, found.access)


def _unknown(sentence: str, *, error: str = "") -> HTTPException:
    return HTTPException(401, sentence, headers={"WWW-Authenticate": REALM + (f', error="{error}"' if error else "")})


def needs(scope: Scope) -> Any:
    """The dependency of an endpoint that asks for this scope."""
    return Security(caller, scopes=[str(scope)])


KnowledgeReader = Annotated[Caller, needs(Scope.KNOWLEDGE_READ)]
KnowledgeWriter = Annotated[Caller, needs(Scope.KNOWLEDGE_WRITE)]
ReportReader = Annotated[Caller, needs(Scope.REPORTS_READ)]
TicketReader = Annotated[Caller, needs(Scope.TICKETS_READ)]
TicketWriter = Annotated[Caller, needs(Scope.TICKETS_WRITE)]
ConversationReader = Annotated[Caller, needs(Scope.CONVERSATIONS_READ)]
ConversationWriter = Annotated[Caller, needs(Scope.CONVERSATIONS_WRITE)]
