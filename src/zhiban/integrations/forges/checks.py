"""What an operator wants to know of a connection: who we are there, and which repositories we reach."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from zhiban.kit.errors import ZhibanError
from zhiban.kit.i18n import mark
from zhiban.ports import CheckResult, Repository

_CREDENTIALS = mark("{vendor}的凭据")
_REPOSITORIES = mark("{vendor}的仓库")


async def checks(
    vendor: str, *, who: Callable[[], Awaitable[str]], repositories: Callable[[], AsyncIterator[Repository]]
) -> AsyncIterator[CheckResult]:
    """One thing after another; what builds on something that does not work is left out."""
    named = {"vendor": vendor}
    try:
        name = await who()
        said = mark("以{name}的身份")
        yield CheckResult(_CREDENTIALS, "ok", said, values={**named, "name": name}, step="credentials")
        async for _ in repositories():
            yield CheckResult(_REPOSITORIES, "ok", mark("能看到仓库"), values=named, step="permissions")
            return
        cure = mark("核对账号的写法；令牌要能看到这个账号下的仓库")
        said = mark("一个仓库也看不到")
        yield CheckResult(_REPOSITORIES, "fail", said, cure=cure, values=named, step="permissions")
    except ZhibanError as error:
        cure = mark("核对令牌：没有过期，权限够用")
        yield CheckResult(_CREDENTIALS, "fail", problem=error.sentence, cure=cure, values=named, step="credentials")
