"""One WeCom app as a vendor: its callback, its customer-service accounts, and itself as a channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final
from urllib.parse import urlencode

from zhiban.integrations.wecom import customer_groups
from zhiban.integrations.wecom.accounts import KfAccounts
from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.app import AppChannel
from zhiban.integrations.wecom.callback import CallbackAuthenticator
from zhiban.integrations.wecom.config import WeComConfig
from zhiban.integrations.wecom.contacts import WELCOME_BYTES, WELCOME_SECONDS, CustomerContacts, FollowEntry
from zhiban.integrations.wecom.customer_groups import CustomerGroups, CustomerGroupsChannel
from zhiban.integrations.wecom.errors import NOT_OPENED_CODES, error_for
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.integrations.wecom.kinds import APP
from zhiban.integrations.wecom.repeats import Repeats
from zhiban.integrations.wecom.setup import checks
from zhiban.integrations.wecom.values import text_of
from zhiban.kit.clock import Clock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http
from zhiban.ports import (
    Acknowledgement,
    Breakers,
    Challenge,
    Channel,
    CheckResult,
    ConnectionBroken,
    ContactFollow,
    FeatureOff,
    InvalidWebhook,
    Refusal,
    SendRefused,
    TokenStore,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)
from zhiban.ports.identity import IdentityRefused

_GONE: Final = 41035  # no such contact way
_WRONG_CODE: Final = 40029
# A page of Tencent's for people, also where calls go through a proxy of one's own.
_SIGN_IN: Final = "https://login.work.weixin.qq.com/wwlogin/sso/login"


class WeCom:
    """Everything that shares one app's secret."""

    contact_kind: ClassVar[str] = KfChannel.kind
    contact_welcome_bytes: ClassVar[int] = WELCOME_BYTES
    contact_welcome_seconds: ClassVar[float] = WELCOME_SECONDS

    def __init__(
        self,
        http: Http,
        config: WeComConfig,
        tokens: TokenStore | None,
        clock: Clock,
        *,
        breakers: Breakers | None = None,
    ) -> None:
        self.config = config
        self.api = WeComApi(
            http, config.corp_id, config.secret.get_secret_value(), config.api_base, tokens, breakers=breakers
        )
        self.kf_accounts = KfAccounts(self.api)
        self.contacts = CustomerContacts(self.api)
        self.customer_groups = CustomerGroups(self.api)
        self._repeats = Repeats()
        self._clock = clock
        self._http = http
        self._authenticator: CallbackAuthenticator | None = None

    def namespace(self, kind: str) -> tuple[str, str]:
        """Members have their own user ids; customers have the ids that this corp sees."""
        return ("wecom_member" if kind == AppChannel.kind else "wecom"), self.config.corp_id

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        if self._authenticator is None:
            try:
                self._authenticator = CallbackAuthenticator(self.config)
            except Misconfigured as error:
                raise InvalidWebhook(error.sentence) from error
        return self._authenticator.authenticate(webhook)

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        """What is refused hears no reason; anything but 200 makes the platform call again, three times in all."""
        return Acknowledgement(status, b"success" if outcome is WebhookOutcome.STORED else b"")

    def account(self, named: str | None) -> VendorAccount:
        if named == customer_groups.ACCOUNT:
            return customer_groups.account()
        if named:
            return VendorAccount(KfChannel.kind, named, named)
        if self.config.agent_id is None:
            return VendorAccount(AppChannel.kind, "app", APP.label, talks=False)
        agent_id = str(self.config.agent_id)
        return VendorAccount(AppChannel.kind, agent_id, agent_id)

    def channel(self, kind: str, external_id: str) -> Channel:
        if kind == KfChannel.kind:
            return KfChannel(self.api, external_id, clock=self._clock, repeats=self._repeats)
        if kind == CustomerGroupsChannel.kind:
            return CustomerGroupsChannel(self.customer_groups, self._clock)
        return AppChannel(self.api, self.config, clock=self._clock)

    async def accounts(self) -> Sequence[VendorAccount]:
        found = [
            VendorAccount(KfChannel.kind, account.open_kfid, account.name or account.open_kfid)
            for account in await self.kf_accounts.accounts()
            if account.managed
        ]
        return [*found, customer_groups.account()] if await self.customer_groups.has_any() else found

    async def checks(self) -> AsyncIterator[CheckResult]:
        works = True
        async for result in checks(self._http, self.config.api_base, self.accounts):
            works = works and result.level != "fail"
            yield result
        if works:
            yield await customer_groups.check(self.customer_groups)

    # ----------------------------------------------------------------------------------------- SignsInMembers

    def sign_in_address(self, *, redirect_uri: str, state: str) -> str:
        if self.config.agent_id is None:
            raise IdentityRefused("Scanning to sign in needs the app's agent id, which this connection does not have.")
        query = {
            "login_type": "CorpApp",
            "appid": self.config.corp_id,
            "agentid": str(self.config.agent_id),
            "redirect_uri": redirect_uri,
            "state": state,
        }
        return f"{_SIGN_IN}?{urlencode(query)}"

    async def signed_in_member(self, code: str) -> str:
        refused, answer = await self.api.attempt("auth/getuserinfo", None, {"code": code})
        if refused == _WRONG_CODE:
            raise IdentityRefused("WeCom does not know this code, or it was used already.")
        if refused:
            raise error_for(refused, text_of(answer, "errmsg"))
        member = answer.get("userid")
        if not isinstance(member, str) or not member:
            raise IdentityRefused("Whoever scanned is no member of the corp.")
        return member

    # ------------------------------------------------------------------------------------------ TendsContacts

    async def welcome_contact(self, code: str, text: str, *, left: float) -> None:
        with _unless_off():
            await self.contacts.welcome(code, text, left=left)

    async def tag_contact(self, member: str, contact: str, group: str, names: Sequence[str]) -> None:
        with _unless_off():
            ids = await self.contacts.tag_ids(group, names)
            await self.contacts.mark(member, contact, add=list(ids.values()))

    async def contact_name(self, contact: str) -> str:
        with _unless_off():
            found = await self.contacts.contact(contact)
        return found[0].profile.name if found else ""

    async def remark_contact(self, member: str, contact: str, remark: str) -> None:
        with _unless_off():
            await self.contacts.remark(member, contact, remark=remark)

    async def contact_way(
        self, members: Sequence[str], *, state: str, remark: str, skip_verify: bool
    ) -> tuple[str, str]:
        way = await self.contacts.add_contact_way(members, state=state, remark=remark, skip_verify=skip_verify)
        return way.config_id, way.qr_code_url

    async def remove_contact_way(self, way_id: str) -> None:
        try:
            await self.contacts.remove_contact_way(way_id)
        except SendRefused as error:
            if error.code != _GONE and error.refusal is not Refusal.UNKNOWN_CONTACT:
                raise

    async def follows(self) -> AsyncIterator[ContactFollow]:
        with _unless_off():
            members = await self.contacts.members()
            async for found in self.contacts.follows(members):
                yield _seen(found)

    async def follows_of(self, contact: str) -> Sequence[ContactFollow]:
        with _unless_off():
            return [_seen(found) for found in await self.contacts.contact(contact)]


@contextmanager
def _unless_off() -> Iterator[None]:
    """客户联系 that is not opened to the app is a choice of the operator, and no failure."""
    try:
        yield
    except ConnectionBroken as error:
        if error.code not in NOT_OPENED_CODES:
            raise
        raise FeatureOff("客户联系 is not opened to this app", code=error.code) from None


def _seen(found: FollowEntry) -> ContactFollow:
    return ContactFollow(
        contact=found.profile.external_id,
        member=found.member,
        name=found.profile.name,
        remark=found.remark,
        tags=found.tags,
        source=found.state or None,
        added_at=found.added_at,
    )
