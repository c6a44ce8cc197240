"""What an operator wants to know of a connection: who we are there, what we may do, which repositories we reach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from zhiban.integrations.github import parts
from zhiban.integrations.github.client import GitHubClient
from zhiban.integrations.github.config import GitHubConfig
from zhiban.kit.clock import Clock
from zhiban.kit.errors import ZhibanError
from zhiban.kit.i18n import mark
from zhiban.ports import CheckResult

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

    async def run(self) -> AsyncIterator[CheckResult]:
        try:
            yield await self._who()
            if self._config.is_app:
                yield await self._permissions()
            yield await self._reached()
        except ZhibanError as error:
            cure = mark("核对令牌，或App ID和私钥；应用要装在这个账号上")
            yield CheckResult(_CREDENTIALS, "fail", problem=error.sentence, cure=cure, step="credentials")

    async def _who(self) -> CheckResult:
        if self._config.is_app:
            name = parts.words(await self._client.get("/app", as_app=True), "name")
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
        path = "/installation/repositories" if self._config.is_app else "/user/repos"
        found = await self._client.get(path, {"per_page": "1"})
        if not (found if isinstance(found, list) else parts.items(found, "repositories")):
            cure = mark("在GitHub上把应用装到仓库，或给令牌仓库的权限")
            return CheckResult(_REPOSITORIES, "fail", mark("一个仓库也看不到"), cure=cure, step="permissions")
        return CheckResult(_REPOSITORIES, "ok", mark("能看到仓库"), step="permissions")
