"""One WeCom app as a vendor: its door, its places, and who is connected with whom."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from zhiban.integrations.wecom.app import AppChannel
from zhiban.integrations.wecom.config import WECOM_API, WeComConfig
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.integrations.wecom.setup import SETUP
from zhiban.integrations.wecom.vendor import WeCom
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    Choice,
    InvalidWebhook,
    Notice,
    Refusal,
    SendRefused,
    UnusableValues,
    VerifiedWebhook,
    Webhook,
)
from zhiban.testing.wecom import AGENT_ID, CORP_ID, OPEN_KFID, WeComSimulator
from zhiban.testing.wecom.callbacks import Envelope, Target, document


@pytest.fixture
def vendor(http: Http, base: str, config: WeComConfig) -> WeCom:
    return WeCom(http, config.model_copy(update={"api_base": base}), None, SystemClock())


def test_the_address_of_the_api_is_one_of_the_web() -> None:
    given = {"corp_id": CORP_ID, "secret": "s"}
    for wrong in ("qyapi.weixin.qq.com/cgi-bin", "file:///etc/passwd", "gopher://127.0.0.1:6379/x"):
        with pytest.raises(UnusableValues) as caught:
            SETUP.complete({**given, "api_base": wrong})
        assert caught.value.fields == ("api_base",)
    assert SETUP.complete({**given, "api_base": "http://proxy.example/cgi-bin"})["api_base"].startswith("http://proxy")
    assert SETUP.complete(given)["api_base"] == WECOM_API


def test_a_doorbell_leads_to_its_place(vendor: WeCom, config: WeComConfig) -> None:
    at = datetime.now(UTC)
    envelope = Envelope(
        Target("", config.token.get_secret_value(), config.encoding_aes_key.get_secret_value(), CORP_ID, AGENT_ID)
    )
    bell = document({"MsgType": "event", "Event": "kf_msg_or_event", "Token": "t", "OpenKfId": OPEN_KFID})
    query, body = envelope.post(bell, timestamp=int(at.timestamp()), nonce="1")
    found = vendor.authenticate(Webhook("POST", parse_qs(query), body, at))
    assert isinstance(found, VerifiedWebhook)
    account = vendor.account(found.account)
    assert (account.kind, account.external_id) == (KfChannel.kind, OPEN_KFID)
    assert isinstance(vendor.channel(account.kind, account.external_id), KfChannel)
    own = vendor.account(None)
    assert (own.kind, own.external_id) == (AppChannel.kind, str(AGENT_ID))
    assert isinstance(vendor.channel(own.kind, own.external_id), AppChannel)


def test_members_and_customers_have_ids_of_their_own(vendor: WeCom) -> None:
    assert vendor.namespace(AppChannel.kind) != vendor.namespace(KfChannel.kind)


def test_without_keys_nothing_is_genuine(http: Http) -> None:
    bare = WeCom(http, WeComConfig(corp_id=CORP_ID, secret="s"), None, SystemClock())
    with pytest.raises(InvalidWebhook, match="WECOM_TOKEN"):
        bare.authenticate(Webhook("POST", {"a": ["b"]}, b"", datetime.now(UTC)))


async def test_only_accounts_given_to_the_api_are_ours(vendor: WeCom, sim: WeComSimulator) -> None:
    sim.add_account("wkNATIVE", "原生", manage=False)
    assert [account.external_id for account in await vendor.accounts()] == [OPEN_KFID]


async def test_new_contacts_are_welcomed_tagged_named_and_found_again(vendor: WeCom, sim: WeComSimulator) -> None:
    code = sim.befriend("chen", "wmLIN", state="poster7")
    await vendor.welcome_contact(code, "您好", left=20)
    await vendor.tag_contact("chen", "wmLIN", "来源", ["海报", "广州"])
    await vendor.remark_contact("chen", "wmLIN", "小林")
    (seen,) = [relation async for relation in vendor.follows()]
    assert (seen.contact, seen.member, seen.remark, seen.source, len(seen.tags)) == (
        "wmLIN",
        "chen",
        "小林",
        "poster7",
        2,
    )
    assert seen.added_at is not None
    assert abs((datetime.now(UTC) - seen.added_at).total_seconds()) < 60


async def test_what_is_not_to_be_taken_is_a_card_that_leads_somewhere_or_words(
    vendor: WeCom, sim: WeComSimulator
) -> None:
    app = vendor.channel(AppChannel.kind, str(AGENT_ID))
    assert isinstance(app, AppChannel)
    for notice in (
        Notice("n-1", "试一试", "发到这里", "https://desk.example.test/me"),
        Notice("n-2", "试一试", "这里"),
    ):
        await app.send_handoff(["chen"], notice, button=None)
    card, words = (message.body for message in sim.office.messages)
    assert (card["card_type"], card["sub_title_text"], "button_list" in card) == ("text_notice", "发到这里", False)
    assert card["card_action"]["url"] == "https://desk.example.test/me"
    assert words["content"] == "试一试\n这里"


async def test_a_handoff_becomes_a_card_that_closes_once(vendor: WeCom, sim: WeComSimulator) -> None:
    app = vendor.channel(AppChannel.kind, str(AGENT_ID))
    assert isinstance(app, AppChannel)
    notice = Notice("handoff-7", "客户请求人工", "客户：小林\n等待：2分钟\n没有冒号", "https://desk.example.test/c/7")
    await app.send_handoff(["chen"], notice, button=Choice("take:7", "接入"))
    (message,) = sim.office.messages
    assert message.members == ["chen"]
    assert message.body["horizontal_content_list"] == [
        {"keyname": "客户", "value": "小林"},
        {"keyname": "等待", "value": "2分钟"},
    ]
    code = sim.office.response_code("handoff-7")
    await app.close_card(code, "陈已接入")
    await app.close_card(code, "陈已接入")
    assert sim.office.cards["handoff-7"].updates == [{"replace_name": "陈已接入"}]
    sim.fail("message/update_template_card", errcode=40058, errmsg="invalid button")
    with pytest.raises(SendRefused) as caught:
        await app.close_card(sim.office.response_code("handoff-7"), "x")
    assert caught.value.refusal is Refusal.BAD_MESSAGE
