"""How long an access token is used, and keeping one where nobody shares it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from zhiban.integrations.wecom.values import number
from zhiban.ports import AccessToken

_USUAL = 7200
_SHORTEST = 60  # never renew more often, whatever the vendor says, or it blocks our address
_EARLY = 0.9


def access_token(token: str, expires_in: object) -> AccessToken:
    """With nine tenths of the vendor's life span; two hours where it states none, never less than a minute."""
    stated = number(expires_in)
    life = _USUAL if stated is None or stated <= 0 else min(stated, 30 * 86400)
    return AccessToken(token, max(_SHORTEST, life * _EARLY))


class MemoryTokens:
    """A `TokenStore` for one process."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._token: str | None = None
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> str | None:
        return self._token if self._token is not None and self._monotonic() < self._until else None

    async def renew(self, failed: str | None, fetch: Callable[[], Awaitable[AccessToken]]) -> str:
        async with self._lock:
            token = await self.current()
            if token is not None and token != failed:
                return token
            issued = await fetch()
            self._token, self._until = issued.token, self._monotonic() + issued.seconds
            return issued.token
