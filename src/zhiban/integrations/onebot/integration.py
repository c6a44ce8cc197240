"""OneBot v11 as an integration: one row of `bootstrap.CHANNELS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.onebot.config import LABEL, NAME, SETUP, OneBotConfig, own_account
from zhiban.integrations.onebot.kinds import QQ_GROUP
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.ports import AcceptsSockets, Breakers, Integration, TokenStore, Vendor


def _build(
    http: Http,
    clock: Clock,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
    _tokens: TokenStore,
    _breakers: Breakers,
) -> Vendor:
    from zhiban.integrations.onebot.vendor import OneBotVendor

    return OneBotVendor(http, OneBotConfig(**{**config, **secrets}), clock)


ONEBOT: Final = Integration(
    name=NAME,
    label=LABEL,
    setup=SETUP,
    kinds=(QQ_GROUP,),
    build=_build,
    talents=(AcceptsSockets,),
    own_account=lambda config: own_account(str(config["source"])),
)
