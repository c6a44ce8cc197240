"""Calls of a forge's REST API: how often we may write, and what an answer means."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from zhiban.integrations.forges.refusals import LEAST_PAUSE, LONGEST_PAUSE, refusal, wait_asked
from zhiban.kit.breaker import Paused, Pauses
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http, HttpResponse, MaybeDone, Method, NotJson, Unreachable
from zhiban.ports import Breakers, TryLater

JsonBody = Mapping[str, Any] | Sequence[str] | None  # what is sent as JSON

TIMEOUT: Final = 20.0
PAGES: Final = 100  # of a hundred entries; a list is never followed further
WRITE_EVERY: Final = 1.0  # seconds between two writes
WRITE: Final = "write"
HOUR: Final = 3600.0
CALL: Final = "call"
PAUSES: Final = Pauses(first=LEAST_PAUSE, longest=LONGEST_PAUSE, spread=2.0)
SHORT_WAIT: Final = 2.0

_NEXT = re.compile(r'<([^>]+)>;\s*rel="?next"?')


class ForgeClient:
    """One connection's way to an API. `as_app`: as the app itself, where a forge knows such."""

    vendor = ""
    size = "per_page"  # how a forge calls the number of entries on a page
    writes_an_hour: int | None = None  # where a forge counts them

    def __init__(self, http: Http, clock: Clock, base: str, breakers: Breakers, account: str = "") -> None:
        """`account`: the login under which it calls where that is not the connection's own; forges count by account."""
        self._http = http
        self._clock = clock
        self._base = base
        self._breakers = breakers
        self._calls, self._writes = (f"{key}:{account}" if account else key for key in (CALL, WRITE))

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, as_app: bool = False) -> Any:
        """The JSON of an answer. Raises TrackerRefused, Moved, TryLater, ConnectionBroken."""
        return self._json(await self._call("GET", path, params=params, as_app=as_app))

    async def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, as_app: bool = False
    ) -> AsyncIterator[Any]:
        """The pages of a list, as the forge links them. Raises as `get`."""
        here: str | None = path
        given = {self.size: "100", **(params or {})}
        for _ in range(PAGES):
            answer = await self._call("GET", here or "", params=given, as_app=as_app)
            yield self._json(answer)
            found = _NEXT.search(answer.headers.get("link", ""))
            if found is None or not found[1].startswith(self._base + "/"):
                return
            here, given = found[1].removeprefix(self._base), {}

    async def write(self, method: Method, path: str, body: JsonBody, *, as_app: bool = False) -> Any:
        """Write, as often as all processes together may. Raises as `get`; TryLater says whether it may have
        been carried out."""
        await self._spend()
        answer = await self._call(method, path, body=body, as_app=as_app)
        return None if answer.status == 204 or not answer.body else self._json(answer)

    async def _spend(self) -> None:
        left = await self._breakers.spend(self._writes, every=WRITE_EVERY)
        if 0 < left <= SHORT_WAIT:
            await asyncio.sleep(left)
            left = await self._breakers.spend(self._writes, every=WRITE_EVERY)
        if left > 0:
            raise TryLater(f"Writes to {self.vendor} are a second apart.", after=left)
        if self.writes_an_hour is None:
            return
        left = await self._breakers.spend(f"{self._writes}/hour", every=HOUR, times=self.writes_an_hour)
        if left > 0:
            raise TryLater(f"{self.vendor} takes no more writes in this hour.", after=left)

    async def _call(
        self,
        method: Method,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: JsonBody = None,
        as_app: bool = False,
    ) -> HttpResponse:
        try:
            await self._breakers.admit(self._calls, PAUSES)
        except Paused as error:
            raise TryLater(f"{self.vendor} asked us to pause.", after=error.after) from error
        answer = await self._answer(method, path, params, body, as_app=as_app)
        asked = self._wait_asked(answer, self._clock.now())
        if asked is not None:
            after = await self._breakers.failed(self._calls, PAUSES, asked=asked, reason="rate limit")
            raise TryLater(f"{self.vendor} asked us to pause.", after=max(after, asked), code=answer.status)
        await self._breakers.succeeded(self._calls)
        if 200 <= answer.status < 300:
            return answer
        raise self._refusal(answer, writes=method != "GET")

    async def _answer(
        self,
        method: Method,
        path: str,
        params: Mapping[str, str] | None,
        body: JsonBody,
        *,
        as_app: bool,  # noqa: ARG002 - for a forge that knows apps
    ) -> HttpResponse:
        return await self._send(method, path, self._headers(), params, body)

    def _headers(self) -> Mapping[str, str]:
        """What proves who we are."""
        raise NotImplementedError

    def _wait_asked(self, answer: HttpResponse, now: datetime) -> float | None:
        return wait_asked(answer, now)

    def _refusal(self, answer: HttpResponse, *, writes: bool) -> Exception:
        return refusal(answer, vendor=self.vendor, writes=writes)

    async def _send(
        self,
        method: Method,
        path: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        body: JsonBody,
    ) -> HttpResponse:
        from yarl import URL

        try:
            return await self._http.request(
                # What stands escaped in a path means something else than what it stands for.
                method,
                URL(self._base + path, encoded=True),
                json=body,
                params=params,
                headers=headers,
                timeout=TIMEOUT,
            )
        except Unreachable as error:
            raise TryLater(f"{self.vendor} cannot be reached.", after=5) from error
        except MaybeDone as error:
            raise TryLater(f"{self.vendor} did not answer.", after=5, unknown=method != "GET") from error

    def _json(self, answer: HttpResponse) -> Any:
        try:
            return answer.json()
        except NotJson as error:
            raise TryLater(f"{self.vendor} does not answer properly now.", after=5, unknown=True) from error
