"""Gitea as an integration: one row of `bootstrap.TRACKERS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.forges.config import completing
from zhiban.integrations.gitea.config import GITEA_API, NAME, GiteaConfig, GiteaSettings
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
    from zhiban.integrations.gitea.tracker import GiteaTracker

    return GiteaTracker(http, clock, GiteaConfig(**{**config, **secrets}), breakers)


def _operators(settings: Settings) -> Values:
    return {"api_base": settings.part(GiteaSettings).gitea_api_base}


GITEA: Final = TrackerIntegration(
    name=NAME,
    label="Gitea / Forgejo",
    setup=Setup(
        fields=(
            SetupField(
                "account", mark("用户或组织"), mark("仓库在谁名下，例如gitea.com/acme里的acme"), identifies=True
            ),
            SetupField(
                "token",
                mark("访问令牌"),
                mark("Gitea → Settings → Applications，权限：issue读写，repository和user只读"),
                secret=True,
            ),
            SetupField(
                "webhook_secret",
                mark("Webhook密钥"),
                mark("填到Gitea的Webhook Secret里；留空会自动生成一个"),
                secret=True,
                required=False,
                rotates=True,
            ),
            SetupField(
                "api_base",
                mark("API地址"),
                mark("Gitea或Forgejo的地址，例如https://git.example.com/api/v1"),
                required=False,
                default=GITEA_API,
                operator=True,
            ),
        ),
        steps=(
            SetupStep("values", mark("填账号和凭据"), "saved", done=mark("已保存")),
            SetupStep(
                "credentials",
                mark("让Gitea接受凭据"),
                "vendor",
                mark("令牌没有被删除，权限里有issue、repository和user"),
                mark("Gitea接受我们的凭据"),
            ),
            SetupStep(
                "permissions",
                mark("让令牌看到仓库"),
                "vendor",
                mark("令牌的主人能看到这些仓库；能写的人才能加标签和负责人"),
                mark("能看到仓库"),
            ),
            SetupStep(
                "callback",
                mark("让Gitea通知我们"),
                "webhook",
                mark(
                    "在仓库或组织的Settings → Webhooks里加Gitea类型：{callback}，格式application/json，"
                    "事件选Issue、Pull Request和Release的各项"
                ),
                mark("收到了Gitea的通知"),
            ),
        ),
        complete=completing(GiteaConfig, GITEA_API),
        # Whoever set another account or key would write to where only the operator lets us call.
        is_operators=lambda values: str(values.get("api_base") or GITEA_API) != GITEA_API,
    ),
    build=_build,
    operators=_operators,
)
