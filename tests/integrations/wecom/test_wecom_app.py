"""The self-built app: texts and cards for members, and the door they come in by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.app import AppChannel, card_task, handoff_card
from zhiban.integrations.wecom.callback import CallbackAuthenticator
from zhiban.integrations.wecom.config import WeComConfig
from zhiban.integrations.wecom.setup import described
from zhiban.kit.errors import Misconfigured
from zhiban.kit.settings import load
from zhiban.ports import (
    CardTapped,
    Channel,
    Choice,
    ContactFollowChanged,
    FetchesMedia,
    IncomingMessage,
    Kind,
    Media,
    Outgoing,
    RecallsMessages,
    Refusal,
    SendRefused,
    UnknownVendorEvent,
    UploadsMedia,
    VerifiedWebhook,
    Webhook,
)
from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, SECRET, TOKEN, WeComSimulator

BUTTONS = (Choice("take:123", "接入"), Choice("skip:123", "忽略"))


@pytest.fixture
def app(api: WeComApi, config: WeComConfig) -> AppChannel:
    return AppChannel(api, config)


def rung(config: WeComConfig, sim: WeComSimulator, number: int = -1) -> VerifiedWebhook:
    """What the door makes of a document that the platform sent."""
    at = datetime.now(UTC)
    query, body = sim.callbacks.envelope.post(
        sim.callbacks.log[number].document, timestamp=int(at.timestamp()), nonce="1"
    )
    found = CallbackAuthenticator(config).authenticate(Webhook("POST", parse_qs(query), body, at))
    assert isinstance(found, VerifiedWebhook)
    return found


async def test_it_plays_all_its_parts(app: AppChannel) -> None:
    for part in (Channel, FetchesMedia, UploadsMedia, RecallsMessages):
        assert isinstance(app, part)
    assert app.limits.reply_window is None


async def test_chen_gets_a_text(app: AppChannel, sim: WeComSimulator) -> None:
    assert await app.send(Outgoing("k1", "chen", Kind.TEXT, "有新的客户咨询"))
    await app.send(Outgoing("k2", "chen", Kind.MARKDOWN, "**新**"))
    assert [(sent.members, sent.msgtype, sent.body) for sent in sim.office.messages] == [
        (["chen"], "text", {"content": "有新的客户咨询"}),
        (["chen"], "markdown", {"content": "**新**"}),
    ]


async def test_a_repeated_request_is_one_message(app: AppChannel, sim: WeComSimulator) -> None:
    card = handoff_card(task_id="handoff-123", title="客户请求人工", buttons=BUTTONS)
    sim.fail("message/send", accept=True, errcode=-1)
    await app.send_card(["chen", "omar"], card)
    await app.send_card(["chen", "omar"], card)
    assert len(sim.office.messages) == 1


async def test_chen_takes_a_handoff_and_the_card_says_so(
    app: AppChannel, sim: WeComSimulator, config: WeComConfig
) -> None:
    sim.configure("http://127.0.0.1:9/wecom/callback")
    sim.callbacks.attempts = 1
    card = handoff_card(
        task_id="handoff-123",
        title="客户请求人工",
        contact="小林",
        summary="退货三次没有成功",
        facts=[("等待", "2分钟")],
        buttons=BUTTONS,
        url="https://desk.example.test/c/123",
    )
    await app.send_card(["chen"], card)
    code = sim.member_taps("chen", "take:123", task_id="handoff-123")
    await sim.callbacks.settle()
    (tapped,) = app.read(rung(config, sim).body)
    assert isinstance(tapped, CardTapped)
    assert (tapped.member, tapped.key, tapped.task, tapped.reply_code) == ("chen", "take:123", "handoff-123", code)
    await app.update_card(code, replace_name="陈已接入")
    assert sim.office.cards["handoff-123"].updates == [{"replace_name": "陈已接入"}]
    with pytest.raises(RuntimeError, match="sees no button"):
        sim.member_taps("chen", "take:123", task_id="handoff-123")
    with pytest.raises(SendRefused) as caught:
        await app.update_card(code, card=card)
    assert caught.value.refusal is Refusal.CODE_EXPIRED


async def test_one_members_copy_is_closed_and_the_others_stay(app: AppChannel, sim: WeComSimulator) -> None:
    await app.send_card(["chen", "omar"], handoff_card(task_id="t", title="客户请求人工", buttons=BUTTONS))
    await app.close_card(sim.member_taps("omar", "take:123", task_id="t"), "请在工作台接入", member="omar")
    with pytest.raises(RuntimeError):
        sim.member_taps("omar", "take:123", task_id="t")
    await app.close_card(sim.member_taps("chen", "take:123", task_id="t"), "已接入")
    for member in ("chen", "omar"):
        with pytest.raises(RuntimeError):
            sim.member_taps(member, "take:123", task_id="t")


async def test_a_member_writes(app: AppChannel, sim: WeComSimulator, config: WeComConfig) -> None:
    sim.configure("http://127.0.0.1:9/wecom/callback")
    sim.callbacks.attempts = 1
    sim.member_says("chen", "今天有几个新会话？")
    await sim.callbacks.settle()
    (message,) = app.read(rung(config, sim).body)
    assert isinstance(message, IncomingMessage)
    assert (message.thread, message.text, message.account) == ("chen", "今天有几个新会话？", str(AGENT_ID))


async def test_a_menu_becomes_buttons(app: AppChannel, sim: WeComSimulator) -> None:
    await app.send(Outgoing("ask:7", "chen", Kind.MENU, "要接入吗？", BUTTONS, "小林在等"))
    body = sim.office.messages[0].body
    assert [button["key"] for button in body["button_list"]] == ["take:123", "skip:123"]
    assert body["task_id"] == card_task("ask:7") != "ask:7"


async def test_nobody_can_be_reached(app: AppChannel, sim: WeComSimulator) -> None:
    sim.staff.hidden.add("chen")
    with pytest.raises(SendRefused) as caught:
        await app.send(Outgoing("k", "chen", Kind.TEXT, "x"))
    assert caught.value.refusal is Refusal.UNKNOWN_CONTACT


@pytest.mark.parametrize(
    "message",
    [
        Outgoing("k", "chen", Kind.TEXT, "字" * 683),
        Outgoing("k", "chen", Kind.TEXT, " "),
        Outgoing("k", "chen", Kind.ORDER, ""),
        Outgoing("k", "chen", Kind.MENU, "x"),
        Outgoing("k", "chen", Kind.MENU, "x", choices=tuple(Choice(str(count), "x") for count in range(7))),
        Outgoing("k", "chen", Kind.MENU, "x", choices=(Choice("k" * 1025, "x"),)),
    ],
)
async def test_what_would_be_cut_is_refused(app: AppChannel, sim: WeComSimulator, message: Outgoing) -> None:
    with pytest.raises(SendRefused):
        await app.send(message)
    assert not sim.office.messages


async def test_files_and_recalls(app: AppChannel, api: WeComApi, sim: WeComSimulator) -> None:
    media_id = await api.upload("file", b"%PDF-1.7", filename="a.pdf", content_type="application/pdf")
    sent = await app.send(Outgoing("k", "chen", Kind.FILE, "", media=Media(media_id, Kind.FILE)))
    got = b"".join([piece async for piece in app.fetch(Media(media_id, Kind.FILE), limit=100).pieces])
    assert got == b"%PDF-1.7"
    await app.recall(sent, thread="chen")
    assert not sim.office.messages


def test_long_words_on_a_card_are_cut_with_a_mark() -> None:
    card = handoff_card(task_id="t", title="标题" * 200, summary="句子" * 900, buttons=BUTTONS)
    assert len(card["main_title"]["title"].encode()) <= 128
    assert card["sub_title_text"].endswith("…")


def test_the_environment_describes_a_connection(api: WeComApi) -> None:
    settings = load(
        env_file=None,
        wecom_corp_id=CORP_ID,
        wecom_agent_id=str(AGENT_ID),
        wecom_agent_secret=SECRET,
        wecom_token=f" {TOKEN}\n",
        WECOM_AES_KEY=AES_KEY,
    )
    values = described(settings)
    assert values is not None
    config = WeComConfig(**values)
    assert (config.agent_id, config.receivers()) == (AGENT_ID, (CORP_ID,))
    assert config.key_pairs()[0].token == TOKEN
    assert SECRET not in repr(config)


async def test_without_an_agent_id_events_are_read_and_nobody_is_written_to(api: WeComApi, deliveries: Path) -> None:
    bare = AppChannel(api, WeComConfig(corp_id=CORP_ID, secret="s"))
    (added,) = bare.read((deliveries / "contact_change__added.xml").read_text(encoding="utf-8"))
    assert isinstance(added, ContactFollowChanged)
    (said,) = bare.read((deliveries / "app_text__plain.xml").read_text(encoding="utf-8"))
    assert isinstance(said, UnknownVendorEvent)
    with pytest.raises(SendRefused, match="WECOM_AGENT_ID") as caught:
        await bare.send(Outgoing("k", "chen", Kind.TEXT, "好"))
    assert caught.value.refusal is Refusal.MISCONFIGURED


def test_a_door_without_keys_says_what_is_missing() -> None:
    with pytest.raises(Misconfigured, match="WECOM_TOKEN"):
        CallbackAuthenticator(WeComConfig(corp_id=CORP_ID, agent_id=1, secret="s"))
    with pytest.raises(ValueError, match="previous_until"):
        WeComConfig(corp_id=CORP_ID, secret="s", previous_token="x")
