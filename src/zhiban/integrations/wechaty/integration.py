"""Wechaty gateways as an integration: one row of `bootstrap.CHANNELS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.wechaty.config import LABEL, NAME, SETUP, WechatyConfig, operators, own_account
from zhiban.integrations.wechaty.kinds import WECHAT_GROUP
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.ports import Breakers, Integration, Streams, TokenStore, Vendor


def _build(
    http: Http,
    clock: Clock,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
    _tokens: TokenStore,
    _breakers: Breakers,
) -> Vendor:
    from zhiban.integrations.wechaty.vendor import WechatyVendor

    return WechatyVendor(http, WechatyConfig(**{**config, **secrets}), clock)


WECHATY: Final = Integration(
    name=NAME,
    label=LABEL,
    setup=SETUP,
    kinds=(WECHAT_GROUP,),
    build=_build,
    talents=(Streams,),
    operators=operators,
    own_account=lambda config: own_account(str(config["source"])),
)
