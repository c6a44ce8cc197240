"""OneBot v11: what programs are asked for besides what they tell, what leaves, and what their refusals mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integrations.test_onebot import GROUP, LI, NOW, THEN, WANG, event, heard, part, said

from zhiban.integrations.onebot import events
from zhiban.integrations.onebot.asking import Asking
from zhiban.integrations.onebot.client import OneBotClient, data_of
from zhiban.integrations.onebot.config import SETUP, OneBotConfig
from zhiban.integrations.onebot.vendor import OneBotVendor
from zhiban.kit.clock import SystemClock
from zhiban.kit.http import Http
from zhiban.ports import (
    ConnectionBroken,
    ContactChanged,
    Entered,
    GroupChanged,
    Incoming,
    IncomingMessage,
    Kind,
    Mention,
    Outgoing,
    Refusal,
    SendRefused,
    TryLater,
    UnusableValues,
)
from zhiban.testing.onebot import BOT, TOKEN, OneBotProgram

# ------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        ({"retcode": 1200, "message": 'EventRet: {"result": 120}'}, Refusal.BLOCKED),
        ({"retcode": 120}, Refusal.BLOCKED),
        ({"retcode": 100, "wording": "send group message failed: blocked by server"}, Refusal.SECURITY_RESTRICTION),
        ({"retcode": 100, "wording": "账号可能被风控"}, Refusal.SECURITY_RESTRICTION),
        ({"retcode": 1404}, Refusal.KIND_FORBIDDEN),
        ({"retcode": 404}, Refusal.KIND_FORBIDDEN),
        ({"retcode": 1400, "message": "x"}, Refusal.BAD_MESSAGE),
        ({"retcode": 1200, "message": "无法获取用户信息"}, Refusal.UNKNOWN_CONTACT),
        ({"retcode": 1200, "message": "发送失败：不在群内"}, Refusal.NOT_IN_GROUP),
        ({"retcode": 100, "wording": "群不存在"}, Refusal.NOT_IN_GROUP),
        ({"retcode": 100, "wording": "你已被移出该群"}, Refusal.NOT_IN_GROUP),
        ({"retcode": 100, "wording": "该群已解散"}, Refusal.NOT_IN_GROUP),
        ({"retcode": 1200}, Refusal.UNKNOWN),
        ({"status": "ok", "retcode": 9}, Refusal.UNKNOWN),
        ({"retcode": True}, Refusal.UNKNOWN),
        ({"retcode": 1200, "message": ["x"]}, Refusal.UNKNOWN),
    ],
)
def test_refusals(answer: dict[str, Any], meaning: Refusal) -> None:
    with pytest.raises(SendRefused) as caught:
        data_of("send_group_msg", {"status": "failed", **answer})
    assert caught.value.refusal is meaning


def test_who_is_not_in_the_group_may_be_somebody_else() -> None:
    with pytest.raises(SendRefused) as caught:
        data_of("get_group_member_info", {"status": "failed", "retcode": 100, "wording": "该成员不在群内"})
    assert caught.value.refusal is Refusal.UNKNOWN_CONTACT


def test_what_is_no_refusal() -> None:
    assert data_of("send_group_msg", {"status": "ok", "retcode": 0, "data": {"message_id": -1}}) == {"message_id": -1}
    assert data_of("send_group_msg", {"status": "async", "retcode": 1, "data": None}) is None
    with pytest.raises(TryLater) as caught:  # NapCat gave it to QQ and has not seen it appear
        data_of("send_group_msg", {"status": "failed", "retcode": 1200, "message": 'Timeout: EventRet: {"result": 0}'})
    assert caught.value.unknown
    with pytest.raises(TryLater) as caught:
        data_of("get_group_list", {"status": "failed", "retcode": 1200, "message": "timeout"})
    assert not caught.value.unknown
    with pytest.raises(TryLater) as caught:
        data_of("send_group_msg", {"status": "failed", "retcode": 1200, "message": "发言过于频繁"})
    assert caught.value.after >= 10
    with pytest.raises(ConnectionBroken):
        data_of("get_status", {"status": "failed", "retcode": 1403})


# -------------------------------------------------------------------------------------------------- asking the program


class Wire:
    """SocketCalls straight to a simulated program, without a network."""

    def __init__(self, program: OneBotProgram) -> None:
        self.program = program

    async def call(self, key: str, frame: str, *, timeout: float) -> str:
        answer = self.program._answer(frame)
        if answer is None:
            raise TryLater(f"no answer to {key} in {timeout}", unknown=True)
        return answer


def asking(program: OneBotProgram, **config: Any) -> Asking:
    client = OneBotClient()
    client.calls = Wire(program)
    return Asking(client, OneBotConfig(source="qq-1", token=TOKEN, **config))


async def told(found: Asking, one: dict[str, Any]) -> list[Incoming]:
    parsed = events.parse(json.dumps(one))
    assert parsed is not None
    return list(await found.complete(parsed, now=NOW))


async def test_a_group_is_introduced_once_and_names_are_read() -> None:
    program = OneBotProgram()
    program.group(GROUP, "青禾用户群", {LI: "李华", WANG: "小 王"})
    found = asking(program)
    group, message = await told(found, said([part("at", qq=str(WANG)), part("text", text="在吗")]))
    assert isinstance(group, GroupChanged)
    assert group.name == "青禾用户群"
    assert group.members is not None
    assert {one.external_id for one in group.members} == {str(LI), str(WANG)}
    assert isinstance(message, IncomingMessage)
    assert message.text == "@小王 在吗"
    assert len(await told(found, said("第二句"))) == 1
    program.members[GROUP][WANG]["card"] = "王经理"
    (changed,) = await told(found, event(post_type="notice", notice_type="group_card", group_id=GROUP, user_id=WANG))
    assert isinstance(changed, GroupChanged)
    assert "王经理" in [one.nickname for one in changed.members or ()]
    # After a reconnection everything is asked anew.
    (known,) = await told(found, {"post_type": "zhiban", "self_id": str(BOT)})
    assert isinstance(known, GroupChanged)
    assert (known.name, known.members) == ("青禾用户群", None)
    assert len(await told(found, said("第三句"))) == 2


async def test_a_program_that_answers_nothing_holds_nothing_up() -> None:
    program = OneBotProgram(always="silent")
    found = asking(program)
    assert [one.text for one in await told(found, said("在吗")) if isinstance(one, IncomingMessage)] == ["在吗"]
    asked = len(program.calls)
    await told(found, said("还在吗"))
    assert len(program.calls) == asked  # nor is it asked again at once
    for always in ("nonsense", "broken"):
        program.always = always  # type: ignore[assignment]
        (one,) = await told(found, said([part("forward", id="f1")]))
        assert isinstance(one, IncomingMessage)
        assert one.text == "[聊天记录]"


@pytest.mark.parametrize("shape", ["napcat", "lagrange", "go-cqhttp"])
async def test_forwarded_chats_are_laid_out(shape: Any) -> None:
    def line(who: str, content: Any) -> dict[str, Any]:
        if shape == "lagrange":
            return part("node", user_id="1", nickname=who, content=content)
        return {"sender": {"nickname": who, "user_id": 1}, "content" if shape == "go-cqhttp" else "message": content}

    program = OneBotProgram(shape=shape)
    program.forwards = {
        "f1": [
            line("李华", "连不上[CQ:face,id=1]"),
            line("小王", [part("image", file="x.jpg", url="https://x.test/1")]),
            line("小王", [part("forward", id="f2")]),
        ],
        "f2": [line("阿雷", [part("text", text="重启一下")]), line("阿雷", [part("forward", id="f2")])],
    }
    (message,) = [
        one for one in await told(asking(program), said([part("forward", id="f1")])) if isinstance(one, IncomingMessage)
    ]
    assert message.kind is Kind.MERGED
    lines = [(one["sender"].strip("　"), one["text"]) for one in message.content["items"]]
    assert lines[:4] == [("李华", "连不上[表情]"), ("小王", "[图片]"), ("小王", "[聊天记录]"), ("阿雷", "重启一下")]
    assert len(lines) == 7  # what forwards itself ends somewhere
    assert "李华：连不上[表情]" in message.text


async def test_friends_and_invitations_by_policy() -> None:
    friend = event(post_type="request", request_type="friend", user_id=LI, comment="我是李华", flag="fl-1")
    invited = event(
        post_type="request", request_type="group", sub_type="invite", group_id=GROUP, user_id=LI, flag="fl-2"
    )
    joining = event(post_type="request", request_type="group", sub_type="add", group_id=GROUP, user_id=LI, flag="fl-3")
    program = OneBotProgram(asking={"fl-1": LI, "fl-2": GROUP})
    found = asking(program)
    # Read again because it could not be stored, and by another process at the same time: accepted once all the same.
    for reader, calls in ((found, 1), (found, 1), (asking(program), 2)):
        kinds = [
            getattr(item, "kind", type(item).__name__)
            for one in (friend, invited, joining)
            for item in await told(reader, one)
        ]
        assert kinds == ["friendship_accepted", "Entered", "group_invitation_accepted", "group_join_requested"]
        assert program.accepted == [("friend", "fl-1"), ("invite", "fl-2")]
        assert program.calls.count("set_friend_add_request") == calls
    gone = event(post_type="request", request_type="friend", user_id=WANG, flag="fl-9")
    assert [item.kind for item in await told(found, gone)] == ["friendship_requested"]  # type: ignore[union-attr]
    for config in ({"read_only": True}, {"accept_friends": False, "accept_invitations": False}):
        quiet = OneBotProgram()
        kinds = [item.kind for one in (friend, invited) for item in await told(asking(quiet, **config), one)]  # type: ignore[union-attr]
        assert kinds == ["friendship_requested", "group_invitation_received"]
        assert quiet.accepted == []


async def test_a_friend_is_welcomed_when_there_is_one() -> None:
    added = event(post_type="notice", notice_type="friend_add", user_id=LI)
    program = OneBotProgram(friends={WANG: "小王"})
    assert await told(asking(program), added) == []  # Lagrange says so as soon as somebody asks
    program.friends[LI] = "李华"
    named, entered = await told(asking(program), added)
    assert isinstance(named, ContactChanged)
    assert named.profile.name == "李华"
    assert isinstance(entered, Entered)
    request = event(post_type="request", request_type="friend", user_id=LI, flag="f")
    again = (await told(asking(OneBotProgram(asking={"f": LI})), request))[-1]
    assert isinstance(again, Entered)
    assert again.event_id == events.entered(str(LI), NOW).event_id


async def test_a_file_that_is_told_twice_comes_once() -> None:
    program = OneBotProgram()
    program.group(GROUP, "群", {LI: "李华"})
    message = said([part("file", file="价目.xlsx", file_id="/u-1")])
    upload = event(
        post_type="notice",
        notice_type="group_upload",
        group_id=GROUP,
        user_id=LI,
        file={"id": "/x", "name": "价目.xlsx", "size": 9},
    )
    for first, second in ((message, upload), (upload, message)):
        found = asking(program)
        assert sum(isinstance(one, IncomingMessage) for one in await told(found, first)) == 1
        assert await told(found, second) == []
    found = asking(program)
    await told(found, upload)
    assert len(await told(found, {**upload, "time": THEN + 5})) == 1  # another of the same name


# -------------------------------------------------------------------------------------------------------------- sending


async def test_what_leaves() -> None:
    program = OneBotProgram(friends={LI: "李华"})
    program.group(GROUP, "群", {LI: "李华"})
    vendor = OneBotVendor(Http(), OneBotConfig(source="qq-1", token=TOKEN), SystemClock())
    vendor.bind(Wire(program))
    channel = vendor.channel("onebot", "qq-1")
    room = f"group:{GROUP}"
    sent = await channel.send(
        Outgoing("k1", room, Kind.TEXT, "看[这里]&", reply_to=f"{room}:-71", mentions=(Mention(str(LI), "李华"),))
    )
    assert program.sent[0].message == [
        part("reply", id="-71"),
        part("at", qq=str(LI)),
        part("text", text=" "),
        part("text", text="看[这里]&"),
    ]
    assert sent == f"{room}:{program.sent[0].id}"
    # What has no id at QQ, as our files, cannot be named by it.
    await channel.send(Outgoing("k1b", room, Kind.TEXT, "见文件", reply_to="z0f3c"))
    assert program.sent[1].message == [part("text", text="见文件")]
    await channel.recall("k1", thread=room)  # type: ignore[attr-defined]
    assert program.sent[0].recalled
    with pytest.raises(SendRefused):
        await channel.recall("k1", thread=room)  # type: ignore[attr-defined]
    with pytest.raises(SendRefused) as caught:
        await channel.send(Outgoing("k2", "group:999", Kind.TEXT, "在吗"))
    assert caught.value.refusal is Refusal.NOT_IN_GROUP
    for fault, refusal in (("muted", Refusal.BLOCKED), ("risk", Refusal.SECURITY_RESTRICTION)):
        program.faults.append(fault)  # type: ignore[arg-type]
        with pytest.raises(SendRefused) as caught:
            await channel.send(Outgoing(f"k-{fault}", room, Kind.TEXT, "在吗"))
        assert caught.value.refusal is refusal
    program.faults.append("timeout")
    with pytest.raises(TryLater) as doubted:
        await channel.send(Outgoing("k3", room, Kind.TEXT, "在吗"))
    assert doubted.value.unknown  # QQ may show it yet: never again
    assert await channel.send(Outgoing("k3", room, Kind.TEXT, "在吗")) == "k3"
    assert len(program.sent) == 2
    with pytest.raises(SendRefused) as caught:
        await channel.send(Outgoing("k4", "anonymous:12", Kind.TEXT, "在吗"))
    assert caught.value.refusal is Refusal.UNKNOWN_CONTACT


async def test_a_file_without_an_address_is_asked_for() -> None:
    program = OneBotProgram(files={"/u-1": b"%PDF-1.7"})
    vendor = OneBotVendor(Http(), OneBotConfig(source="qq-1", token=TOKEN, read_only=True), SystemClock())
    vendor.bind(Wire(program))
    channel: Any = vendor.channel("onebot", "qq-1")
    media = heard([part("file", file="价目.pdf", file_id="/u-1")]).media[0]
    assert [piece async for piece in channel.fetch(media, limit=8).pieces] == [b"%PDF-1.7"]
    for wrong, limit in (
        (media, 7),
        (heard([part("video", file="no.mp4")]).media[0], 100),
        (heard([part("image", file="x", url="http://127.0.0.1/x")]).media[0], 100),
    ):
        with pytest.raises(SendRefused):
            [piece async for piece in channel.fetch(wrong, limit=limit).pieces]
    with pytest.raises(SendRefused) as caught:
        await channel.send(Outgoing("k", "20002", Kind.TEXT, "x"))
    assert caught.value.refusal is Refusal.READ_ONLY


def test_connecting_it() -> None:
    made = SETUP.complete({"source": "qq-1", "token": None})
    assert len(made["token"]) >= 32
    assert made["token"] != SETUP.complete({"source": "qq-1"})["token"]
    for wrong in (
        {"source": "名字"},
        {"source": "qq-1", "token": "short"},
        {"source": "qq-1", "read_only": "maybe"},
        {},
    ):
        with pytest.raises(UnusableValues):
            SETUP.complete(wrong)
