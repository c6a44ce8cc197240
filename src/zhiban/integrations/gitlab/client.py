"""Calls of GitLab's REST API: what proves who we are, and what its answers mean.

Statuses of GitLab say less than those of others. 403 is also what a project without issues, an archived one and a
locked discussion answer, which `tracker` finds out; 405 is a project that was renamed, for everything but reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from zhiban.integrations.forges.client import ForgeClient
from zhiban.integrations.forges.refusals import Moved, message, refusal
from zhiban.integrations.gitlab.config import GitLabConfig
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http, HttpResponse
from zhiban.kit.i18n import mark
from zhiban.ports import Breakers, ConnectionBroken

_SCOPE: Final = mark("The token lacks a scope: GitLab wants api for writing issues.")


class GitLabClient(ForgeClient):
    vendor = "GitLab"

    def __init__(self, http: Http, clock: Clock, config: GitLabConfig, breakers: Breakers) -> None:
        super().__init__(http, clock, config.api_base, breakers)
        self._config = config

    def _headers(self) -> Mapping[str, str]:
        """Personal, project, group and OAuth tokens are all taken so."""
        return {"Authorization": f"Bearer {self._config.token.get_secret_value()}", "Accept": "application/json"}

    def _refusal(self, answer: HttpResponse, *, writes: bool) -> Exception:
        said = message(answer)
        if answer.status == 403 and "insufficient_scope" in said:
            return ConnectionBroken(_SCOPE, code=403)
        if answer.status == 405 and "moved" in said:
            return Moved("")
        return refusal(answer, vendor=self.vendor, writes=writes)
