"""One person in several workspaces: the sessions that a browser has besides the one that is used now.

A workspace says of its own people only; that two agents bear the same address proves nothing, as anybody may enter an
address. So whoever wants to go to another workspace has signed in there, in this very browser: the tokens of these
sessions stand in a cookie of their own, and are taken for the same address alone.
"""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from zhiban.kit.db import NO_WORKSPACE
from zhiban.kit.errors import NotFound
from zhiban.people.auth import COOKIE, Auth, auth_of
from zhiban.people.service import SESSION_LIFE, SignedInAgent, sign_out, signed_in_agent, workspace_of
from zhiban.people.throttle import account_name

OTHERS = "zhiban_others"
MOST = 5
_BETWEEN = "~"  # in no token


def other_tokens(request: Request) -> list[str]:
    """What the browser claims to have besides; one for each workspace, and none of the one that is used now."""
    own = workspace_of(request.cookies.get(COOKIE, ""))
    found: dict[int, str] = {}
    for token in request.cookies.get(OTHERS, "").split(_BETWEEN):
        workspace_id = workspace_of(token)
        if workspace_id not in (NO_WORKSPACE, own) and len(found) < MOST:
            found.setdefault(workspace_id, token)
    return list(found.values())


async def other_sessions(request: Request, email: str) -> dict[str, SignedInAgent]:
    """Those of them that hold, by token, and belong to whoever has this address."""
    return await _of_address(auth_of(request), other_tokens(request), email)


async def _of_address(auth: Auth, tokens: list[str], email: str) -> dict[str, SignedInAgent]:
    now = auth.clock.now()
    found = {token: await signed_in_agent(auth.database, token, now=now) for token in tokens}
    address = account_name(email)
    return {token: agent for token, agent in found.items() if agent is not None and agent.email == address}


async def keep_others(request: Request, response: Response, token: str, email: str) -> None:
    """Whoever signs in with `token` keeps the sessions that they have elsewhere; those of anybody else are let go."""
    own = request.cookies.get(COOKIE, "")
    tokens = [own, *other_tokens(request)] if own else other_tokens(request)
    wanted = [one for one in tokens if workspace_of(one) not in (NO_WORKSPACE, workspace_of(token))]
    kept = await _of_address(auth_of(request), wanted, email) if wanted else {}
    set_others(request, response, list(kept))


async def other_session(request: Request, agent: SignedInAgent, workspace_id: int) -> tuple[str, list[str]]:
    """The token of this agent's session in another workspace, and those that the browser has besides it then.

    Raises NotFound.
    """
    others = await other_sessions(request, agent.email)
    chosen = next((token for token in others if workspace_of(token) == workspace_id), None)
    if chosen is None:
        raise NotFound("There is no such workspace.")
    return chosen, [request.cookies.get(COOKIE, ""), *(one for one in others if one != chosen)]


async def sign_out_elsewhere(request: Request) -> None:
    """Sign out everywhere in this browser."""
    auth = auth_of(request)
    for token in other_tokens(request):
        async with auth.database.page_transaction(workspace_of(token)) as tx:
            await sign_out(tx, token, now=auth.clock.now())


def set_others(request: Request, response: Response, tokens: list[str]) -> None:
    """Let the browser keep these besides the one that is used."""
    if not tokens:
        response.delete_cookie(OTHERS, path="/")
        return
    response.set_cookie(
        OTHERS,
        _BETWEEN.join(tokens[:MOST]),
        max_age=int(SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=auth_of(request).is_secure(request),
        path="/",
    )
