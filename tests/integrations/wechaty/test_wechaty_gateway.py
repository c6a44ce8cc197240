"""A real gateway in the words of the ports: what it tells, what it does, what its errors mean, and its limits."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.integrations.wechaty import gateways
from tests.integrations.wechaty.gateways import BOT, BOT_NAME, Gateway

from zhiban.conversations import sending
from zhiban.integrations.wechaty.channel import WechatyChannel
from zhiban.integrations.wechaty.client import GatewayClient
from zhiban.integrations.wechaty.config import WechatyConfig
from zhiban.integrations.wechaty.vendor import WechatyVendor
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    ConnectionBroken,
    ContactChanged,
    Entered,
    GatewayState,
    GroupChanged,
    IncomingMessage,
    Kind,
    LinkCard,
    Media,
    MembersJoined,
    MembersLeft,
    Mention,
    Outgoing,
    Recalled,
    Refusal,
    SendRefused,
    TryLater,
    UnknownVendorEvent,
)

LI, WANG = "wxid_li", "wxid_wang"


class Heard:
    """Everything that one gateway told, as it comes, over all interruptions."""

    def __init__(self, gateway: Gateway, http: Http, **values: Any) -> None:
        self.gateway = gateway
        self.vendor = WechatyVendor(http, WechatyConfig(**gateway.config(**values)), SystemClock())
        self.items: list[Any] = []
        self._news = asyncio.Condition()

    @property
    def channel(self) -> WechatyChannel:
        found = self.vendor.channel("wechaty", "wx-1")
        assert isinstance(found, WechatyChannel)
        return found

    async def listen(self) -> None:
        while True:
            with suppress(TryLater):
                async for batch in self.vendor.listen():
                    async with self._news:
                        self.items += [one.item for one in batch]
                        self._news.notify_all()
            await asyncio.sleep(0.05)

    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.items if isinstance(one, kind)]

    async def until(self, holds: Callable[[], Any]) -> Any:
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(holds)
        return holds()

    async def message(self, id_: str) -> IncomingMessage:
        found = await self.until(lambda: [one for one in self.of(IncomingMessage) if one.external_id == id_])
        assert isinstance(found[0], IncomingMessage)
        return found[0]


@pytest.fixture
async def heard(request: pytest.FixtureRequest) -> AsyncIterator[Heard]:
    """An account that is logged in and in a group of three; `heard` may be given values of the configuration."""
    gateway = gateways.fresh()
    async with Http() as http:
        found = Heard(gateway, http, **getattr(request, "param", {}))
        listening = asyncio.create_task(found.listen())
        try:
            await found.until(lambda: found.items)
            await gateway.play("login")
            await found.until(lambda: [one for one in found.of(GatewayState) if one.state == "online"])
            for id_, name in ((LI, "李华"), (WANG, "小王")):
                await gateway.play("contact", id=id_, name=name)
            yield found
        finally:
            await cancelled([listening])


async def group(heard: Heard) -> str:
    """A group of its own for each test, because the gateway remembers groups."""
    room = f"r{datetime.now(UTC).timestamp()}@chatroom"
    await heard.gateway.play("room", id=room, topic="青禾会员群", memberIdList=[LI, WANG, BOT])
    return room


async def test_a_group_is_introduced_before_its_first_message_and_its_members_follow(heard: Heard) -> None:
    room = await group(heard)
    said = await heard.message(await heard.gateway.says(LI, "大家好", room=room))
    assert (said.thread, said.sender, said.sender_name, said.group) == (room, LI, "李华", True)
    names = [one for one in heard.items if isinstance(one, GroupChanged | IncomingMessage)]
    assert isinstance(names[0], GroupChanged)
    assert (names[0].thread, names[0].name) == (room, "青禾会员群")
    full = await heard.until(lambda: [one for one in heard.of(GroupChanged) if one.members])
    assert {(one.external_id, one.name, one.role) for one in full[0].members} == {
        (LI, "李华", "owner"),
        (WANG, "小王", "member"),
    }


async def test_mentions_with_and_without_ids(heard: Heard) -> None:
    room = await group(heard)
    say = heard.gateway.says
    with_ids = await heard.message(await say(LI, f"@{BOT_NAME}\u2005怎么退", room=room, mentionIdList=[BOT, WANG]))
    assert (with_ids.mentions_us, with_ids.mentions) == (True, (WANG,))
    by_name = await heard.message(await say(LI, f"@{BOT_NAME}\u2005@小王\u2005看一下", room=room))
    assert (by_name.mentions_us, by_name.mentions) == (True, (WANG,))
    for text in ("@小王\u2005看一下", f"@{BOT_NAME}怎么退", "写信到 a@b.example", "@所有人\u2005通知"):
        assert not (await heard.message(await say(LI, text, room=room))).mentions_us
    everybody = await heard.message(await say(LI, "通知", room=room, mentionIdList=["announcement@all"]))
    assert (everybody.mentions_us, everybody.mentions) == (False, ())


async def test_a_flattened_quote_finds_its_message(heard: Heard) -> None:
    room, rule = await group(heard), "- - - - - - - - - - - - - - -"
    asked = await heard.gateway.says(LI, "运费谁出？", room=room)
    answer = await heard.message(await heard.gateway.says(WANG, f"「李华：运费谁出？」\n{rule}\n店家出", room=room))
    assert (answer.text, answer.reply_to, answer.content) == ("店家出", asked, {})
    lost = await heard.message(await heard.gateway.says(WANG, f"「李华：很久以前」\n{rule}\n记得", room=room))
    assert (lost.reply_to, lost.content) == (None, {"quoted": {"name": "李华", "text": "很久以前"}})


async def test_order_is_kept_though_one_message_takes_long(heard: Heard) -> None:
    room = await group(heard)
    await heard.gateway.says(LI, "0", room=room, wait=700)
    for number in range(1, 30):
        last = await heard.gateway.says(LI, str(number), room=room)
    await heard.message(last)
    assert [one.text for one in heard.of(IncomingMessage)] == [str(number) for number in range(30)]


async def test_coming_going_and_the_name(heard: Heard) -> None:
    room, play = await group(heard), heard.gateway.play
    await play("join", room=room, who=["wxid_zhao"], by=LI)
    await play("leave", room=room, who=[WANG], by=LI)
    await play("topic", room=room, topic="青禾老会员", by=LI)
    await heard.until(lambda: [one for one in heard.of(GroupChanged) if one.event_id])
    (joined,), (left,) = heard.of(MembersJoined), heard.of(MembersLeft)
    assert ([one.external_id for one in joined.members], joined.inviter, joined.ourselves) == (["wxid_zhao"], LI, False)
    assert (left.members, left.remover, left.ourselves) == ((WANG,), LI, False)
    assert heard.of(GroupChanged)[-1].name == "青禾老会员"
    await play("leave", room=room, who=[BOT], by=LI)
    await heard.until(lambda: len(heard.of(MembersLeft)) == 2)
    assert heard.of(MembersLeft)[1].ourselves


async def test_friends_and_groups_are_accepted_and_greeted(heard: Heard) -> None:
    room, play = await group(heard), heard.gateway.play
    await play("friendship", id="f-1", contactId="wxid_new", hello="我是赵敏")
    entered = (await heard.until(lambda: heard.of(Entered)))[0]
    assert entered.thread == "wxid_new"
    assert entered.welcome_code
    assert await heard.channel.reply_to_event(entered.welcome_code, Outgoing("k1", "wxid_new", Kind.TEXT, "您好"))
    assert (await heard.gateway.sent())[0]["to"] == "wxid_new"
    await play("invite", id="i-1", inviterId=LI, roomId=room, topic="青禾会员群")
    joined = (await heard.until(lambda: heard.of(MembersJoined)))[0]
    assert (joined.thread, joined.ourselves, joined.inviter) == (room, True, LI)
    assert (await heard.gateway.play("state"))["accepted"] == ["f-1", "i-1"]


@pytest.mark.parametrize("heard", [{"read_only": True}], indirect=True)
async def test_reading_only_sends_and_accepts_nothing(heard: Heard) -> None:
    await heard.gateway.play("friendship", id="f-2", contactId="wxid_new", hello="hi")
    await heard.gateway.play("invite", id="i-2", inviterId=LI, roomId="r9@chatroom", topic="群")
    kinds = await heard.until(lambda: [one.kind for one in heard.of(UnknownVendorEvent)][1:] and heard.items)
    assert kinds
    assert {one.kind for one in heard.of(UnknownVendorEvent)} == {"friendship_requested", "room_invitation_received"}
    with pytest.raises(SendRefused) as caught:
        await heard.channel.send(Outgoing("k2", LI, Kind.TEXT, "您好"))
    assert caught.value.refusal is Refusal.READ_ONLY
    state = await heard.gateway.play("state")
    assert (state["accepted"], state["sent"]) == ([], [])


@pytest.mark.parametrize("heard", [{"accept_friends": False, "accept_invitations": False}], indirect=True)
async def test_who_accepts_nothing_by_policy_may_still_speak(heard: Heard) -> None:
    await heard.gateway.play("friendship", id="f-3", contactId="wxid_new", hello="hi")
    await heard.gateway.play("invite", id="i-3", inviterId=LI, roomId="r9@chatroom", topic="群")
    await heard.until(lambda: len(heard.of(UnknownVendorEvent)) == 2)
    assert {one.kind for one in heard.of(UnknownVendorEvent)} == {"friendship_requested", "room_invitation_received"}
    await heard.channel.send(Outgoing("k9", LI, Kind.TEXT, "您好"))
    state = await heard.gateway.play("state")
    assert (state["accepted"], [one["text"] for one in state["sent"]]) == ([], ["您好"])


async def test_taken_back(heard: Heard) -> None:
    room = await group(heard)
    wrong = await heard.gateway.says(LI, "说错了", room=room)
    await heard.gateway.says(LI, wrong, room=room, type=13)
    recalled = (await heard.until(lambda: heard.of(Recalled)))[0]
    assert (recalled.external_id, recalled.thread) == (wrong, room)


async def test_files_come_inside_by_name_and_by_address(heard: Heard) -> None:
    async def fetched(media: Media, limit: int = 1 << 20) -> bytes:
        return b"".join([piece async for piece in heard.channel.fetch(media, limit=limit).pieces])

    async def sends(content: bytes, **values: Any) -> IncomingMessage:
        file = {"name": "图.png", "base64": base64.b64encode(content).decode()}
        return await heard.message(await heard.gateway.says(LI, "", to=BOT, file=file, **values))

    small = await sends(b"small", type=6)
    assert (small.kind, small.media[0].filename) == (Kind.IMAGE, "图.png")
    assert await fetched(small.media[0]) == b"small"
    large = os.urandom(300_000)  # more than a gateway passes on inside a message
    assert await fetched((await sends(large, type=1)).media[0]) == large
    with pytest.raises(SendRefused):
        await fetched((await sends(large, type=1)).media[0], limit=1000)
    outside = await heard.message(
        await heard.gateway.says(LI, "", to=BOT, type=1, url="http://127.0.0.1:1/secret", file={"name": "x"})
    )
    with pytest.raises(SendRefused) as caught:  # somebody in the group chose it: it must not lead into our network
        await fetched(outside.media[0])
    assert "private network" in caught.value.sentence


async def test_what_leaves(heard: Heard) -> None:
    room, channel = await group(heard), heard.channel
    mentions = (Mention(LI, "李华"),)
    await channel.send(Outgoing("k3", room, Kind.TEXT, "已经退了", mentions=mentions))
    large = os.urandom(3_000_000)
    media = await channel.upload(large, kind=Kind.FILE, filename="账单.pdf", content_type="application/pdf")
    assert media.reference.startswith("uuid:")
    await channel.send(Outgoing("k4", room, Kind.FILE, "", media=media))
    text, file = await heard.gateway.sent()
    assert (text["text"], text["mentionIdList"]) == ("@李华\u2005已经退了", [LI])
    assert (file["size"], file["file"]) == (len(large), "账单.pdf")
    await heard.gateway.play("fault", next=["nameless"])
    assert await channel.send(Outgoing("k5", room, Kind.TEXT, "没有编号")) == "k5"


async def test_a_gateway_without_cards_refuses_them_and_takes_words(heard: Heard) -> None:
    card = LinkCard("acme/shop #7 丢数据", "lin新开", "https://github.test/acme/shop/issues/7")
    message = Outgoing("k7", await group(heard), Kind.LINK, "acme/shop #7 丢数据", link=card)
    await heard.gateway.play("links", none=True)
    with pytest.raises(SendRefused) as caught:
        await heard.channel.send(message)
    assert caught.value.refusal in sending._OF_THE_CARD
    await heard.channel.send(replace(message, kind=Kind.TEXT, link=None))
    (sent,) = await heard.gateway.sent()
    assert sent["text"] == message.text
    # One that fails for no known reason may stand there: no words follow it, and no card comes after it.
    await heard.gateway.play("links", none=False)
    await heard.gateway.play("fault", next=["refused"])
    channel, doubtful = heard.channel, replace(message, key="k8")
    for reason in (Refusal.UNKNOWN, Refusal.KIND_FORBIDDEN):
        with pytest.raises(SendRefused) as caught:
            await channel.send(doubtful)
        assert caught.value.refusal is reason
    assert len(await heard.gateway.sent()) == 1


async def test_errors_tell_what_to_do_and_never_what_the_gateway_wrote(heard: Heard) -> None:
    meanings = {"refused": SendRefused, "busy": TryLater, "logged out": TryLater}
    for number, (fault, meant) in enumerate(meanings.items()):
        await heard.gateway.play("fault", next=[fault])
        with pytest.raises(meant) as caught:
            await heard.channel.send(Outgoing(f"k6{number}", LI, Kind.TEXT, "您好"))
        assert gateways.TOKEN not in str(caught.value)
        assert "gateway.mjs" not in str(caught.value)


async def test_the_same_contact_is_introduced_once(heard: Heard) -> None:
    for text in ("一", "二"):
        await heard.message(await heard.gateway.says(LI, text, to=BOT))
    assert [one.profile.name for one in heard.of(ContactChanged)] == ["李华"]


async def test_a_contact_whom_the_gateway_does_not_know_yet_is_introduced_later(heard: Heard) -> None:
    await heard.gateway.play("hide", id="wxid_new")
    await heard.message(await heard.gateway.says("wxid_new", "一", to=BOT))
    assert heard.of(ContactChanged) == []
    await heard.gateway.play("contact", id="wxid_new", name="新来的")
    await heard.message(await heard.gateway.says("wxid_new", "二", to=BOT))
    assert [one.profile.name for one in heard.of(ContactChanged)] == ["新来的"]


async def test_a_gateway_that_hangs_is_noticed_by_asking() -> None:
    gateways.node()
    other = gateways.start()
    try:
        client = GatewayClient(WechatyConfig(**other.config()), probe_every=0.2, probe_seconds=0.5)
        events = client.events()
        await anext(events)
        other.process.send_signal(signal.SIGSTOP)  # its connections stay open and nothing answers
        async with asyncio.timeout(30):
            with pytest.raises(TryLater) as caught:
                await _last(events)
        assert caught.value.unknown
        await client.close()
    finally:
        other.process.send_signal(signal.SIGCONT)
        other.end()


async def _last(events: AsyncIterator[object]) -> None:
    async for _ in events:
        pass


async def test_a_gateway_in_a_private_network_needs_the_operator() -> None:
    gateway = gateways.fresh()
    client = GatewayClient(WechatyConfig(**gateway.config(private_hosts="")))
    with pytest.raises(ConnectionBroken) as caught:
        await client.call("Version")
    assert "private network" in caught.value.sentence


async def test_over_tls_only_with_the_right_certificate(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "insecure")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now.replace(year=now.year - 1))
        .not_valid_after(now.replace(year=now.year + 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("insecure")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    gateways.node()
    gateway = gateways.start(
        {
            "GATEWAY_TLS": "1",
            "WECHATY_PUPPET_SERVICE_TLS_SERVER_CERT": pem,
            "WECHATY_PUPPET_SERVICE_TLS_SERVER_KEY": private,
        }
    )
    try:
        in_one_line = " ".join(pem.split("\n"))  # as a form gives it
        right = GatewayClient(WechatyConfig(**gateway.config(tls=True, ca=in_one_line)))
        assert (await right.call("Version")).version
        await right.close()
        with pytest.raises(TryLater):  # not signed by anybody known
            await GatewayClient(WechatyConfig(**gateway.config(tls=True))).call("Version")
    finally:
        gateway.end()
