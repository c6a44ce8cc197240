"""One AI bot (智能机器人) as an integration of its own: one row of `bootstrap.CHANNELS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.wecom.bot_config import LABEL, NAME, SETUP, BotConfig, operators, own_account
from zhiban.integrations.wecom.kinds import BOT
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.ports import Breakers, Integration, TokenStore, Vendor


def _build(
    http: Http,
    clock: Clock,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
    _tokens: TokenStore,
    _breakers: Breakers,
) -> Vendor:
    from zhiban.integrations.wecom.bot_vendor import WeComBot

    return WeComBot(http, BotConfig(**{**config, **secrets}), clock)


WECOM_BOT: Final = Integration(
    name=NAME,
    label=LABEL,
    setup=SETUP,
    kinds=(BOT,),
    build=_build,
    operators=operators,
    own_account=lambda config: own_account(str(config["bot"])),
)
