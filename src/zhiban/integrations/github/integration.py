"""GitHub as an integration: one row of `bootstrap.TRACKERS`."""

from __future__ import annotations

import secrets as random
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from zhiban.integrations.github.config import GITHUB_API, NAME, GitHubConfig, GitHubSettings
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.kit.settings import Settings
from zhiban.ports import Breakers, Setup, SetupField, SetupStep, TokenStore, Tracker, TrackerIntegration, UnusableValues
from zhiban.ports.apps import AppCreator
from zhiban.ports.setup import Values


def _complete(values: Values) -> Values:
    """Checks what was typed; makes a webhook secret where none was given. Raises UnusableValues."""
    given = {**values, "webhook_secret": values.get("webhook_secret") or random.token_urlsafe(32)}
    given["api_base"] = str(values.get("api_base") or GITHUB_API)
    given = {name: "" if value is None else value for name, value in given.items()}
    try:
        config = GitHubConfig(**given)
    except ValidationError as error:
        fields = [str(part) for problem in error.errors() for part in problem["loc"]]
        raise UnusableValues(fields or ["token"]) from None
    return {
        "account": config.account,
        "app_id": config.app_id,
        "private_key": config.private_key.get_secret_value(),
        "token": config.token.get_secret_value(),
        "webhook_secret": config.webhook_secret.get_secret_value(),
        "api_base": config.api_base,
    }


def _build(
    http: Http,
    clock: Clock,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
    tokens: TokenStore,
    breakers: Breakers,
) -> Tracker:
    from zhiban.integrations.github.tracker import GitHubTracker

    return GitHubTracker(http, clock, GitHubConfig(**{**config, **secrets}), tokens, breakers)


def _operators(settings: Settings) -> Values:
    return {"api_base": settings.part(GitHubSettings).github_api_base}


def _app_creator(http: Http, settings: Settings) -> AppCreator:
    from zhiban.integrations.github.app_creation import GitHubAppCreator

    where = settings.part(GitHubSettings)
    return GitHubAppCreator(http, api_base=where.github_api_base, pages=where.pages)


GITHUB: Final = TrackerIntegration(
    name=NAME,
    label="GitHub",
    setup=Setup(
        fields=(
            SetupField(
                "account", mark("用户或组织"), mark("仓库在谁名下，例如github.com/acme里的acme"), identifies=True
            ),
            SetupField(
                "token",
                mark("访问令牌"),
                mark("GitHub → Settings → Developer settings → Fine-grained tokens，Issues给读写；用应用时留空"),
                secret=True,
                required=False,
            ),
            SetupField("app_id", "App ID", mark("GitHub App的设置页最上面；用令牌时留空"), required=False),
            SetupField(
                "private_key",
                mark("应用的私钥"),
                mark("同一页的Private keys里生成的.pem文件，整个粘贴"),
                secret=True,
                required=False,
                lines=True,
            ),
            SetupField(
                "webhook_secret",
                mark("Webhook密钥"),
                mark("填到GitHub的Webhook secret里；留空会自动生成一个"),
                secret=True,
                required=False,
                rotates=True,
            ),
            SetupField(
                "api_base",
                mark("API地址"),
                mark("GitHub Enterprise Server的地址，例如https://github.example.com/api/v3"),
                required=False,
                default=GITHUB_API,
                operator=True,
            ),
        ),
        steps=(
            SetupStep("values", mark("填账号和凭据"), "saved", done=mark("已保存")),
            SetupStep(
                "credentials",
                mark("让GitHub接受凭据"),
                "vendor",
                mark("令牌没有过期，或App ID和私钥是同一个应用的"),
                mark("GitHub接受我们的凭据"),
            ),
            SetupStep(
                "repositories",
                mark("选好仓库"),
                "vendor",
                mark("应用装到这个账号，并选中仓库；用令牌时在生成令牌的页面选"),
                mark("能看到仓库"),
            ),
            SetupStep(
                "permissions",
                mark("给issue的读写权限"),
                "vendor",
                mark("令牌或应用的Issues权限是Read and write"),
                mark("可以读写issue"),
            ),
            SetupStep(
                "callback",
                mark("让GitHub通知我们"),
                "webhook",
                mark(
                    "在应用（或仓库）的Webhook里填：{callback}，Content type选application/json，事件选Issues、"
                    "Issue comments、Pull requests、Pull request reviews、Releases、Discussions"
                ),
                mark("收到了GitHub的通知"),
            ),
        ),
        complete=_complete,
        # Whoever set another account or key would write to where only the operator lets us call.
        is_operators=lambda values: str(values.get("api_base") or GITHUB_API) != GITHUB_API,
    ),
    build=_build,
    operators=_operators,
    app_creator=_app_creator,
)
