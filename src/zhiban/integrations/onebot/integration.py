"""OneBot v11 as an integration: one row of `bootstrap.CHANNELS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.onebot.channel import OneBotChannel
from zhiban.integrations.onebot.config import LABEL, NAME, SETUP, OneBotConfig
from zhiban.integrations.onebot.vendor import OneBotVendor, own_account
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
    return OneBotVendor(http, OneBotConfig(**{**config, **secrets}), clock)


ONEBOT: Final = Integration(
    name=NAME,
    label=LABEL,
    setup=SETUP,
    channels=(OneBotChannel,),
    vendor=OneBotVendor,
    build=_build,
    own_account=lambda config: own_account(str(config["source"])),
)
