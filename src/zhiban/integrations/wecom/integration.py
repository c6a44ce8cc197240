"""WeCom as an integration: one row of `bootstrap.CHANNELS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhiban.integrations.wecom.config import WeComConfig
from zhiban.integrations.wecom.kinds import APP, CUSTOMER_GROUPS, KF
from zhiban.integrations.wecom.setup import LABEL, NAME, SETUP, described, operators
from zhiban.kit.clock import Clock
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.ports import Breakers, Integration, OffersContactWays, TokenStore, Vendor, VendorAccount
from zhiban.ports.setup import Values


def _build(
    http: Http,
    clock: Clock,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
    tokens: TokenStore,
    breakers: Breakers,
) -> Vendor:
    from zhiban.integrations.wecom.vendor import WeCom

    known = {name: config[name] for name in WeComConfig.model_fields if name in config}
    return WeCom(http, WeComConfig(**known, **secrets), tokens, clock, breakers=breakers)


def _own_account(config: Values) -> VendorAccount | None:
    agent_id = config.get("agent_id")
    return VendorAccount(APP.kind, str(agent_id), APP.label) if agent_id else None


WECOM: Final = Integration(
    name=NAME,
    label=LABEL,
    setup=SETUP,
    kinds=(KF, APP, CUSTOMER_GROUPS),
    build=_build,
    talents=(OffersContactWays,),
    # The first for the first app that was connected, the second for any.
    addresses=("/wecom/callback", "/wecom/callback/{public_id}"),
    member_label=mark("企业微信账号"),
    environment=described,
    operators=operators,
    own_account=_own_account,
)
