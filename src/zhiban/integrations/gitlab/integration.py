"""GitLab as an integration: one row of `bootstrap.TRACKERS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.forges.config import completing
from zhiban.integrations.gitlab.config import GITLAB_API, NAME, GitLabConfig, GitLabSettings, new_secret
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
    from zhiban.integrations.gitlab.tracker import GitLabTracker

    return GitLabTracker(http, clock, GitLabConfig(**{**config, **secrets}), breakers)


def _operators(settings: Settings) -> Values:
    return {"api_base": settings.part(GitLabSettings).gitlab_api_base}


GITLAB: Final = TrackerIntegration(
    name=NAME,
    label="GitLab",
    setup=Setup(
        fields=(
            SetupField(
                "account",
                mark("用户、群组或项目"),
                mark("路径，例如gitlab.com/acme/web里的acme，或acme/web"),
                identifies=True,
            ),
            SetupField(
                "token",
                mark("访问令牌"),
                mark("GitLab → 项目或群组的Settings → Access tokens，角色Reporter以上，scope勾api"),
                secret=True,
            ),
            SetupField(
                "webhook_secret",
                mark("Webhook密钥"),
                mark("填到GitLab的Signing token或Secret token里；留空会自动生成一个"),
                secret=True,
                required=False,
                rotates=True,
            ),
            SetupField(
                "api_base",
                mark("API地址"),
                mark("自建GitLab的地址，例如https://gitlab.example.com/api/v4"),
                required=False,
                default=GITLAB_API,
                operator=True,
            ),
        ),
        steps=(
            SetupStep("values", mark("填账号和凭据"), "saved", done=mark("已保存")),
            SetupStep(
                "credentials",
                mark("让GitLab接受凭据"),
                "vendor",
                mark("令牌没有过期，scope里有api"),
                mark("GitLab接受我们的凭据"),
            ),
            SetupStep(
                "permissions",
                mark("让令牌看到项目"),
                "vendor",
                mark("令牌的角色在项目或群组里是Reporter以上"),
                mark("能看到项目"),
            ),
            SetupStep(
                "callback",
                mark("让GitLab通知我们"),
                "webhook",
                mark(
                    "在项目或群组的Settings → Webhooks里填：{callback}，勾选Issues events、Comments、"
                    "Merge request events、Releases events；保密的（Confidential）不要勾"
                ),
                mark("收到了GitLab的通知"),
            ),
        ),
        complete=completing(GitLabConfig, GITLAB_API, secret=new_secret),
        # Whoever set another account or key would write to where only the operator lets us call.
        is_operators=lambda values: str(values.get("api_base") or GITLAB_API) != GITLAB_API,
    ),
    build=_build,
    operators=_operators,
)
