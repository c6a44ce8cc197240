"""An app of one's own at GitHub, registered from a manifest in the browser of whoever connects it.

https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from zhiban.integrations.github import parts
from zhiban.integrations.github.client import VERSION
from zhiban.integrations.github.errors import refusal, wait_asked
from zhiban.kit.errors import Misconfigured, ZhibanError
from zhiban.kit.http import Http, HttpResponse, MaybeDone, NotJson, Unreachable
from zhiban.kit.i18n import mark
from zhiban.ports import AppAddresses, AppForm, SetupField, TrackerRefused, TryLater, UnusableValues
from zhiban.ports.setup import Values

TIMEOUT: Final = 20.0  # seconds
LONGEST_NAME: Final = 34  # characters that GitHub takes for an app
ORGANIZATION: Final = "organization"
USER: Final = "user"

# As little as does: without Contents nobody who steals the key reads code, and releases are not told.
PERMISSIONS: Final = {"issues": "write", "metadata": "read", "pull_requests": "read", "discussions": "read"}
EVENTS: Final = (
    *("issues", "issue_comment", "pull_request", "pull_request_review", "pull_request_review_comment"),
    *("discussion", "repository"),
)

_CODE = re.compile(r"[A-Za-z0-9_-]{8,200}", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}", re.ASCII)
_SPENT = mark("GitHub does not know this code: it works once and for an hour. Begin again.")
_INCOMPLETE = mark("GitHub made the app and did not give its key. Delete it at GitHub and begin again.")


class GitHubAppCreator:
    """AppCreator."""

    fields = (SetupField("account", mark("用户或组织"), mark("仓库在谁名下，例如github.com/acme里的acme")),)
    owners = ((ORGANIZATION, mark("组织")), (USER, mark("个人账号")))
    asks = (
        mark("读写议题，读合并请求和讨论；看不到代码"),
        mark("议题、评论、合并请求、评审和讨论有变化时通知我们"),
        mark("只能装在自己名下，别人用不了"),
    )

    def __init__(self, http: Http, *, api_base: str, pages: str) -> None:
        self._http = http
        self._api_base = api_base.rstrip("/")
        self._pages = pages

    def form(self, values: Values, owner: str, addresses: AppAddresses, *, state: str) -> AppForm:
        account = str(values.get("account") or "")
        if not _ACCOUNT.fullmatch(account):
            raise UnusableValues(["account"])
        place = f"/organizations/{account}/settings/apps/new" if owner == ORGANIZATION else "/settings/apps/new"
        manifest = {
            "name": f"Zhiban {account}"[:LONGEST_NAME].strip(),
            "url": addresses.home,
            "hook_attributes": {"url": addresses.webhook, "active": True},
            "redirect_url": addresses.back,
            "setup_url": addresses.installed,
            "public": False,
            "default_permissions": PERMISSIONS,
            "default_events": list(EVENTS),
        }
        site = urlsplit(self._pages)
        address = f"{self._pages}{place}?{urlencode({'state': state})}"
        return AppForm(address, f"{site.scheme}://{site.netloc}", {"manifest": json.dumps(manifest)})

    async def credentials(self, values: Values, code: str) -> Values:
        if not _CODE.fullmatch(code):
            raise TrackerRefused("not_found", hint=_SPENT)
        found = parts.part(_json(await self._convert(code)))
        account, owner = str(values["account"]), parts.words(parts.part(found, "owner"), "login")[:40]
        app_id, key = parts.number(found, "id"), parts.words(found, "pem")
        if not app_id or not key:
            raise TrackerRefused("invalid", hint=_INCOMPLETE)
        if owner.lower() != account.lower():
            # A private app can be installed where it belongs only: this one would never see the repositories.
            raise Misconfigured(f"GitHub made the app for {owner}, not for {account}. Delete it and begin again.")
        return {
            "account": owner,
            "app_id": str(app_id),
            "private_key": key,
            "webhook_secret": parts.words(found, "webhook_secret"),
        }

    async def _convert(self, code: str) -> HttpResponse:
        headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": VERSION}
        address = f"{self._api_base}/app-manifests/{code}/conversions"
        try:
            answer = await self._http.request("POST", address, headers=headers, timeout=TIMEOUT)
        except Unreachable as error:
            raise TryLater("GitHub cannot be reached.", after=5) from error
        except MaybeDone as error:
            raise TryLater("GitHub did not answer.", after=5, unknown=True) from error
        asked = wait_asked(answer, datetime.now(UTC))
        if asked is not None:
            raise TryLater("GitHub asked us to pause.", after=asked, code=answer.status)
        if answer.status == 404:
            raise TrackerRefused("not_found", code=404, hint=_SPENT)
        if answer.status != 201:
            raise _as_refusal(answer)
        return answer


def _as_refusal(answer: HttpResponse) -> Exception:
    error = refusal(answer, writes=True)
    return error if isinstance(error, ZhibanError) else TrackerRefused("invalid", code=answer.status)


def _json(answer: HttpResponse) -> Any:
    try:
        return answer.json()
    except NotJson as error:
        raise TryLater("GitHub does not answer properly now.", after=5, unknown=True) from error
