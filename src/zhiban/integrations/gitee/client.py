"""Calls of Gitee's REST API v5: what proves who we are, and what its answers mean. https://gitee.com/api/v5/swagger"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final

from zhiban.integrations.forges.client import PAGES, ForgeClient
from zhiban.integrations.forges.refusals import Moved, message, refusal, wait_asked
from zhiban.integrations.gitee.config import GiteeConfig
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http, HttpResponse
from zhiban.kit.i18n import mark
from zhiban.ports import Breakers, ConnectionBroken, TrackerRefused

SIZE: Final = 100  # entries on a page, at most

SCOPE: Final = mark("The token lacks a scope: Gitee wants user_info, projects, pull_requests, issues and notes.")


class GiteeClient(ForgeClient):
    vendor = "Gitee"

    def __init__(self, http: Http, clock: Clock, config: GiteeConfig, breakers: Breakers) -> None:
        super().__init__(http, clock, config.api_base, breakers)
        self._config = config

    async def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, as_app: bool = False
    ) -> AsyncIterator[Any]:
        """By counting, until a page is not full: that needs no header and no link."""
        for page in range(1, PAGES + 1):
            asked = {**(params or {}), "per_page": str(SIZE), "page": str(page)}
            found = await self.get(path, asked, as_app=as_app)
            yield found
            if not isinstance(found, list) or len(found) < SIZE:
                return

    async def is_there(self, path: str) -> bool:
        """Whether something is there, of which the answer says nothing else. Raises as `get`, but for what is not."""
        try:
            await self._call("GET", path)
        except (TrackerRefused, Moved):
            return False
        return True

    def _headers(self) -> Mapping[str, str]:
        """Not as a parameter, where the token would stand in addresses."""
        return {"Authorization": f"Bearer {self._config.token.get_secret_value()}", "Accept": "application/json"}

    def _wait_asked(self, answer: HttpResponse, now: datetime) -> float | None:
        return wait_asked(answer, now, also=(403,))

    def _refusal(self, answer: HttpResponse, *, writes: bool) -> Exception:
        if answer.status in (401, 403) and "scope" in message(answer):
            return ConnectionBroken(SCOPE, code=answer.status)
        return refusal(answer, vendor=self.vendor, writes=writes)
