"""What an operator wants to know of a connection: who we are there, what we may do, which repositories we reach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from zhiban.integrations.github import parts
from zhiban.integrations.github.client import GitHubClient
from zhiban.integrations.github.config import GitHubConfig
from zhiban.integrations.github.parts import JsonPart
from zhiban.kit.clock import Clock
from zhiban.kit.errors import ZhibanError
from zhiban.kit.i18n import mark
from zhiban.ports import CheckResult, TrackerRefused

NEEDED: Final = {"issues": "write", "metadata": "read"}

_CREDENTIALS = mark("GitHub的凭据")
_PERMISSIONS = mark("GitHub的权限")
_REPOSITORIES = mark("GitHub的仓库")


class GitHubChecks:
    """Asks GitHub, one thing after another; what builds on something that does not work is left out."""

    def __init__(self, client: GitHubClient, config: GitHubConfig, clock: Clock) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._found: JsonPart | None = None  # a repository that we see, if possible one that takes issues
        self._installing = ""  # the page on which our app is installed, as GitHub names it

    async def run(self) -> AsyncIterator[CheckResult]:
        try:
            yield await self._who()
        except ZhibanError as error:
            cure = mark("核对令牌，或App ID和私钥")
            yield CheckResult(_CREDENTIALS, "fail", problem=error.sentence, cure=cure, step="credentials")
            return
        try:
            yield await self._reached()
            if self._found is not None:
                yield await (self._permissions() if self._config.is_app else self._writes())
        except ZhibanError as error:
            cure = mark("在GitHub上把应用装到这个账号，选好仓库")
            link = self._installing
            yield CheckResult(_REPOSITORIES, "fail", problem=error.sentence, cure=cure, step="repositories", link=link)

    async def _who(self) -> CheckResult:
        if self._config.is_app:
            app = await self._client.get("/app", as_app=True)
            name, page = parts.words(app, "name"), parts.words(app, "html_url")
            self._installing = f"{page}/installations/new" if page.startswith(("https://", "http://")) else ""
        else:
            name = parts.words(await self._client.get("/user"), "login")
        return CheckResult(_CREDENTIALS, "ok", mark("以{name}的身份"), values={"name": name}, step="credentials")

    async def _permissions(self) -> CheckResult:
        id_ = await self._client.installation()
        given = parts.part(await self._client.get(f"/app/installations/{id_}", as_app=True), "permissions")
        lacking = [name for name, level in NEEDED.items() if given.get(name) not in (level, "write", "admin")]
        if lacking:
            return CheckResult(
                _PERMISSIONS,
                "fail",
                mark("缺少权限：{names}"),
                cure=mark("在应用的设置里给Issues读写权限，再到安装页批准"),
                values={"names": ", ".join(lacking)},
                step="permissions",
            )
        return CheckResult(_PERMISSIONS, "ok", mark("可以读写issue"), step="permissions")

    async def _reached(self) -> CheckResult:
        async for repo in self._repositories():
            self._found = repo
            if not repo.get("archived") and repo.get("has_issues"):
                break
        if self._found is None:
            cure = mark("在GitHub上把应用装到仓库，或给令牌仓库的权限")
            return CheckResult(
                _REPOSITORIES,
                "fail",
                mark("一个仓库也看不到"),
                cure=cure,
                step="repositories",
                link=self._installing,
            )
        return CheckResult(_REPOSITORIES, "ok", mark("能看到仓库"), step="repositories")

    async def _repositories(self) -> AsyncIterator[JsonPart]:
        """Those of the account, page by page."""
        path = "/installation/repositories" if self._config.is_app else "/user/repos"
        async for page in self._client.pages(path):
            for repo in page if isinstance(page, list) else parts.items(page, "repositories"):
                if parts.words(parts.part(repo, "owner"), "login").lower() == self._config.account.lower():
                    yield parts.part(repo)

    async def _writes(self) -> CheckResult:
        """GitHub tells of a token's permissions only when it is used: an issue without a title is refused as one that
        lacks a title where we may write, and as forbidden where we may not."""
        try:
            name = parts.words(self._found or {}, "full_name")
            await self._client.write("POST", f"/repos/{name}/issues", {})
        except TrackerRefused as error:
            if error.reason == "invalid":
                return CheckResult(_PERMISSIONS, "ok", mark("可以读写issue"), step="permissions")
            cure = mark("在GitHub的令牌页面给Issues读写权限")
            return CheckResult(
                _PERMISSIONS, "fail", problem=error.hint or error.sentence, cure=cure, step="permissions"
            )
        return CheckResult(_PERMISSIONS, "ok", mark("可以读写issue"), step="permissions")
