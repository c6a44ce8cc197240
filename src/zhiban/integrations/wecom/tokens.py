"""Who keeps the access token. One token per (corp id, secret), renewed by one caller at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from zhiban.integrations.wecom.values import number

_USUAL = 7200
_SHORTEST = 60  # never renew more often, whatever the vendor says, or it blocks our address
_EARLY = 0.9


@dataclass(frozen=True, slots=True)
class Grant:
    """A new access token and for how many seconds it is to be used."""

    token: str
    seconds: float

    @classmethod
    def of(cls, token: str, expires_in: object) -> Grant:
        """With nine tenths of the vendor's life span; two hours where it states none, never less than a minute."""
        stated = number(expires_in)
        life = _USUAL if stated is None or stated <= 0 else min(stated, 30 * 86400)
        return cls(token, max(_SHORTEST, life * _EARLY))


class TokenStore(Protocol):
    async def current(self) -> str | None:
        """The token to use, or None when it is absent or too old."""
        ...

    async def renew(self, failed: str | None, fetch: Callable[[], Awaitable[Grant]]) -> str:
        """A token other than `failed`. Calls `fetch` only when nobody else has renewed it meanwhile."""
        ...


class MemoryTokens:
    """A token for one process."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._token: str | None = None
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> str | None:
        return self._token if self._token is not None and self._monotonic() < self._until else None

    async def renew(self, failed: str | None, fetch: Callable[[], Awaitable[Grant]]) -> str:
        async with self._lock:
            token = await self.current()
            if token is not None and token != failed:
                return token
            grant = await fetch()
            self._token, self._until = grant.token, self._monotonic() + grant.seconds
            return grant.token
