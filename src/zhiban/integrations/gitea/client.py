"""Calls of Gitea's REST API: what proves who we are, and what its answers mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from zhiban.integrations.forges.client import PAGES, ForgeClient
from zhiban.integrations.forges.refusals import ARCHIVED, message, refusal
from zhiban.integrations.gitea.config import GiteaConfig
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http, HttpResponse
from zhiban.kit.i18n import mark
from zhiban.ports import Breakers, ConnectionBroken, TrackerRefused

SIZE: Final = 50  # more on a page no Gitea gives unless it is told to

_SCOPE: Final = mark("The token lacks a scope: Gitea wants write:issue, read:repository and read:user.")


class GiteaClient(ForgeClient):
    vendor = "Gitea"

    def __init__(self, http: Http, clock: Clock, config: GiteaConfig, breakers: Breakers) -> None:
        super().__init__(http, clock, config.api_base, breakers)
        self._config = config

    async def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, as_app: bool = False
    ) -> AsyncIterator[Any]:
        """By counting: the links in an answer lead to what Gitea takes for its address, which need not be ours."""
        seen = 0
        for page in range(1, PAGES + 1):
            asked = {**(params or {}), "limit": str(SIZE), "page": str(page)}
            answer = await self._call("GET", path, params=asked, as_app=as_app)
            found = self._json(answer)
            yield found
            seen += len(found) if isinstance(found, list) else 0
            total = answer.headers.get("x-total-count", "")
            if not found or (total.isdecimal() and seen >= int(total)):
                return

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"token {self._config.token.get_secret_value()}", "Accept": "application/json"}

    def _refusal(self, answer: HttpResponse, *, writes: bool) -> Exception:
        said = message(answer)
        if answer.status == 403 and "scope" in said:
            return ConnectionBroken(_SCOPE, code=403)
        if answer.status == 423:
            return TrackerRefused("forbidden", code=423, hint=ARCHIVED)
        return refusal(answer, vendor=self.vendor, writes=writes)
