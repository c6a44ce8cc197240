"""Gitee as an integration: one row of `bootstrap.TRACKERS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.forges.config import completing
from zhiban.integrations.gitee.config import GITEE_API, NAME, GiteeConfig, GiteeSettings
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.kit.settings import Settings
from zhiban.ports import Breakers, Setup, SetupField, SetupStep, TokenStore, Tracker, TrackerIntegration
from zhiban.ports.setup import Values


def _build(
    http: Http,
    clock: Clock,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
    _tokens: TokenStore,
    breakers: Breakers,
) -> Tracker:
    from zhiban.integrations.gitee.tracker import GiteeTracker

    return GiteeTracker(http, clock, GiteeConfig(**{**config, **secrets}), breakers)


def _operators(settings: Settings) -> Values:
    return {"api_base": settings.part(GiteeSettings).gitee_api_base}


GITEE: Final = TrackerIntegration(
    name=NAME,
    label="Gitee",
    setup=Setup(
        fields=(
            SetupField(
                "account",
                mark("个人、组织或企业"),
                mark("仓库地址里的第一段，例如gitee.com/acme/shop里的acme"),
                identifies=True,
            ),
            SetupField(
                "token",
                mark("访问令牌"),
                mark("Gitee → 设置 → 私人令牌，勾选user_info、projects、pull_requests、issues、notes"),
                secret=True,
            ),
            SetupField(
                "webhook_secret",
                mark("Webhook密钥"),
                mark("填到Gitee的WebHook密码/签名密钥里；留空会自动生成一个"),
                secret=True,
                required=False,
                rotates=True,
            ),
            SetupField(
                "api_base",
                mark("API地址"),
                mark("私有部署的Gitee的地址，例如https://gitee.example.com/api/v5"),
                required=False,
                default=GITEE_API,
                operator=True,
            ),
        ),
        steps=(
            SetupStep("values", mark("填账号和凭据"), "saved", done=mark("已保存")),
            SetupStep(
                "credentials",
                mark("让Gitee接受凭据"),
                "vendor",
                mark("令牌没有过期，权限里有user_info、projects、pull_requests、issues和notes"),
                mark("Gitee接受我们的凭据"),
            ),
            SetupStep(
                "permissions",
                mark("让令牌看到仓库"),
                "vendor",
                mark("令牌的主人是仓库成员；开发者以上才能加标签和负责人"),
                mark("能看到仓库"),
            ),
            SetupStep(
                "callback",
                mark("让Gitee通知我们"),
                "webhook",
                mark("在仓库的管理 → WebHooks里填：{callback}，选签名密钥，勾选Issue、Pull Request和评论"),
                mark("收到了Gitee的通知"),
            ),
        ),
        complete=completing(GiteeConfig, GITEE_API),
        # Whoever set another account or key would write to where only the operator lets us call.
        is_operators=lambda values: str(values.get("api_base") or GITEE_API) != GITEE_API,
    ),
    build=_build,
    operators=_operators,
)
