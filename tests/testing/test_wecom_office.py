"""The simulated platform refuses what WeCom refuses: files, messages and cards for members, friends, robots."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from tests.testing.conftest import LI, Wire

from zhiban.integrations.wecom.api import multipart
from zhiban.kit.http import Http
from zhiban.testing.serving import served
from zhiban.testing.wecom import AGENT_ID, OPEN_KFID, WeComSimulator, application

JPEG = b"\xff\xd8\xff picture"
BUTTON = {"text": "接入", "key": "take:1"}


def handoff(task: str, **more: Any) -> dict[str, Any]:
    return {
        "card_type": "button_interaction",
        "main_title": {"title": "客户请求人工"},
        "task_id": task,
        "button_list": [BUTTON],
        **more,
    }


# ------------------------------------------------------------------------------------------------------- files


async def test_uploads_are_looked_into(wire: Wire, sim: WeComSimulator) -> None:
    async def upload(kind: str, data: bytes) -> int:
        boundary, form = multipart(data, filename="a", content_type="")
        content_type = f"multipart/form-data; boundary={boundary}"
        return int((await wire.raw("media/upload", form, content_type, type=kind))["errcode"])

    assert await upload("image", JPEG) == 0
    assert await upload("image", b"\x89PNG\r\n\x1a\n....") == 0
    assert await upload("image", b"GIF89a....") == 40004
    assert await upload("voice", b"#!AMR\n....") == 0
    assert await upload("voice", b"RIFF....WAVE") == 40004
    assert await upload("video", b"\x00\x00\x00\x18ftypisom") == 0
    assert await upload("video", b"\x1aE\xdf\xa3....") == 40004
    assert await upload("file", b"12345") == 40006
    assert await upload("voice", b"#!AMR" + bytes(2 << 20)) == 40006
    assert await upload("gif", JPEG) == 40005
    sim.media.pictures_per_day = 0
    boundary, form = multipart(JPEG, filename="a", content_type="")
    full = await wire.raw("media/uploadimg", form, f"multipart/form-data; boundary={boundary}")
    assert full["errcode"] == 45009


async def test_a_download_names_its_file_only_sometimes(sim: WeComSimulator, wire: Wire) -> None:
    media_id = sim.media.store(JPEG, name="发票 1.jpg")
    seen = set()
    async with served(application(sim)) as address, Http() as http:
        for _ in range(40):
            url = f"{address}/cgi-bin/media/get?access_token={wire.token}&media_id={media_id}"
            answer = await http.request("GET", url)
            assert answer.body == JPEG
            seen.add(answer.headers.get("Content-Disposition", ""))
    assert seen == {
        "",
        "attachment",
        "attachment; filename*=UTF-8''%E5%8F%91%E7%A5%A8%201.jpg",
        next(header for header in seen if 'filename="' in header),
    }


async def test_a_contacts_file_that_is_too_large_arrives_as_words(sim: WeComSimulator) -> None:
    sim.contact_sends_file(LI, bytes((2 << 20) + 1))
    assert sim.kf.accounts[OPEN_KFID].log[0]["msgtype"] == "text"


# --------------------------------------------------------------------------------------------- members and cards


async def test_a_card_that_was_replaced_cannot_be_tapped(wire: Wire, sim: WeComSimulator) -> None:
    await wire.card(handoff("t1"))
    for member, key in (("lihua", "take:1"), ("chen", "take:2")):
        with pytest.raises(RuntimeError, match="sees no button"):
            sim.member_taps(member, key, task_id="t1")
    update = {"agentid": AGENT_ID, "button": {"replace_name": "请在工作台接入"}}
    code = sim.member_taps("omar", "take:1", task_id="t1")
    assert await wire.code("message/update_template_card", {**update, "response_code": code}) == 40058
    mine = {**update, "response_code": code, "userids": ["omar"]}
    assert await wire.code("message/update_template_card", mine) == 0
    assert await wire.code("message/update_template_card", mine) == 42045  # a code serves once
    with pytest.raises(RuntimeError):
        sim.member_taps("omar", "take:1", task_id="t1")
    code = sim.member_taps("chen", "take:1", task_id="t1")
    assert await wire.code("message/update_template_card", {**update, "response_code": code, "atall": 1}) == 0
    with pytest.raises(RuntimeError):
        sim.member_taps("chen", "take:1", task_id="t1")


async def test_a_refused_request_leaves_no_fingerprint(wire: Wire, sim: WeComSimulator) -> None:
    await wire.card(handoff("t1"))
    checked = {"enable_duplicate_check": 1, "duplicate_check_interval": 600}
    again = handoff("t1", sub_title_text="第二次转人工")
    assert [(await wire.card(again, **checked))["errcode"] for _ in range(2)] == [43012, 43012]
    first = await wire.card(handoff("t2"), **checked)
    assert (await wire.card(handoff("t2"), **checked))["msgid"] == first["msgid"]
    assert len(sim.office.messages) == 2
    sim.clock.advance(601)
    assert (await wire.card(handoff("t2"), **checked))["errcode"] == 43012
    assert (await wire.card(handoff("t3"), enable_duplicate_check=1, duplicate_check_interval=14_401))[
        "errcode"
    ] == 40058


@pytest.mark.parametrize(
    "change",
    [
        {"card_type": "sticker"},
        {"task_id": "a b"},
        {"task_id": ""},
        {"button_list": []},
        {"button_list": [BUTTON] * 7},
        {"button_list": [{"text": "接入", "key": "字" * 342}]},
        {"button_list": [{"text": "", "key": "a"}]},
        {"main_title": {}},
        {"horizontal_content_list": [{"keyname": "a"}] * 7},
        {"card_action": {"type": 1, "url": "desk.example"}},
        {"card_type": "text_notice"},
    ],
)
async def test_cards_have_rules(wire: Wire, sim: WeComSimulator, change: dict[str, Any]) -> None:
    assert (await wire.card(handoff("t1", **change)))["errcode"] == 40058
    assert not sim.office.messages


async def test_who_of_the_members_can_be_reached(wire: Wire, sim: WeComSimulator) -> None:
    sim.hire("boss", visible=False)
    text = {"agentid": AGENT_ID, "msgtype": "text", "text": {"content": "有人在等"}}
    found = await wire("message/send", {**text, "touser": "chen|Boss|boss"})
    assert (found["errcode"], found["invaliduser"]) == (0, "boss|boss")
    assert await wire.code("message/send", {**text, "touser": "boss|nobody"}) == 81013
    assert await wire.code("message/send", {**text, "touser": "chen", "agentid": 5}) == 301002
    assert await wire.code("message/send", {**text, "touser": "|".join(["chen"] * 1001)}) == 40058
    assert await wire.code("message/send", {**text, "touser": "chen", "text": {"content": ""}}) == 40063
    picture = {**text, "touser": "chen", "msgtype": "image", "image": {"media_id": "MEDIAGONE"}}
    assert await wire.code("message/send", picture) == 40007
    await wire("message/send", {**text, "touser": "@all"})
    assert sim.office.messages[-1].members == ["chen", "lihua", "omar", "wangwu", "zhaomin"]


async def test_a_member_gets_thirty_messages_a_minute_and_never_hears_of_more(wire: Wire, sim: WeComSimulator) -> None:
    body = {"touser": "chen", "agentid": AGENT_ID, "msgtype": "text", "text": {"content": "有人在等"}}
    assert {await wire.code("message/send", body) for _ in range(31)} == {0}
    assert len(sim.office.messages) == 30


async def test_only_recent_messages_can_be_recalled(wire: Wire, sim: WeComSimulator) -> None:
    body = {"touser": "chen", "agentid": AGENT_ID, "msgtype": "text", "text": {"content": "有人在等"}}
    sent = (await wire("message/send", body))["msgid"]
    assert await wire.code("message/recall", {"msgid": "msg404"}) == 40058
    sim.clock.advance(24 * 3600 + 1)
    await wire.renew()
    assert await wire.code("message/recall", {"msgid": sent}) == 40058


# ----------------------------------------------------------------------------------------------- customer contact


async def test_a_friendship_brings_one_welcome(wire: Wire, sim: WeComSimulator) -> None:
    async def welcome(code: str, **body: Any) -> int:
        body = body or {"text": {"content": "您好"}}
        return await wire.code("externalcontact/send_welcome_msg", {"welcome_code": code, **body})

    half = sim.befriend("lihua", LI, half=True)
    assert half
    assert sim.befriend("lihua", LI, half=True) == ""
    assert await welcome(half) == 0
    assert await welcome(half) == 41051
    assert sim.befriend("lihua", LI) == ""  # the half event's code was used
    late = sim.befriend("chen", LI, half=True)
    assert late
    assert (whole := sim.befriend("chen", LI))  # it was not
    sim.friend_says("chen", LI)
    assert await welcome(whole) == 41051
    assert sim.befriend("chen", LI) == ""
    sim.contacts.native_welcome.add("omar")
    assert sim.befriend("omar", LI) == ""
    assert await welcome("") == 41049
    assert await welcome("WCODE404") == 41050
    sim.part("lihua", LI)
    again = sim.befriend("lihua", LI)
    assert await welcome(again, text={"content": "字" * 1334}) == 40058
    link = {"msgtype": "link", "link": {"title": "指南", "url": "https://e.test"}}
    assert await welcome(again, attachments=[link] * 10) == 41064
    assert await welcome(again, attachments=[{"msgtype": "voice", "voice": {}}]) == 41065
    assert await welcome(again, attachments=[{"msgtype": "image", "image": {"media_id": "x"}}]) == 40007
    sim.clock.advance(21)
    assert await welcome(again) == 41050


async def test_an_event_leaves_out_what_there_is_not(sim: WeComSimulator) -> None:
    sim.configure("http://127.0.0.1:9/wecom/callback")
    sim.callbacks.attempts = 1
    sim.befriend("lihua", LI, half=True)
    sim.befriend("lihua", LI, half=True)
    await sim.callbacks.settle()
    first, second = (delivery.document for delivery in sim.callbacks.log)
    assert "WelcomeCode" in first
    assert "WelcomeCode" not in second
    assert "State" not in first


async def test_half_friends_and_hidden_members_cannot_be_marked(wire: Wire, sim: WeComSimulator) -> None:
    group = (await wire("externalcontact/add_corp_tag", {"group_name": "来源", "tag": [{"name": "海报"}]}))["tag_group"]
    tag = group["tag"][0]["id"]
    pair = {"userid": "lihua", "external_userid": LI}
    sim.befriend("lihua", LI, half=True)
    assert await wire.code("externalcontact/mark_tag", {**pair, "add_tag": [tag]}) == 84061
    assert await wire.code("externalcontact/remark", {**pair, "remark": "李"}) == 84061
    assert await wire.code("externalcontact/get", external_userid=LI) == 84061
    assert await wire.code("externalcontact/batch/get_by_user", {"userid_list": ["lihua"]}) == 84061
    sim.befriend("lihua", LI)
    assert (await wire("externalcontact/get", external_userid=LI))["external_contact"]["unionid"]
    assert await wire.code("externalcontact/mark_tag", {**pair, "add_tag": [tag]}) == 0
    assert await wire.code("externalcontact/mark_tag", {**pair, "remove_tag": ["et404"]}) == 40068
    for wrong in ({"remark": "李" * 21}, {"description": "x" * 151}, {}):
        assert await wire.code("externalcontact/remark", {**pair, **wrong}) == 40058
    sim.staff.hidden.add("lihua")
    assert await wire.code("externalcontact/remark", {**pair, "remark": "李"}) == 60011
    assert await wire.code("externalcontact/list", userid="nobody") == 60111
    assert (await wire("externalcontact/get_follow_user_list"))["follow_user"] == []
    sim.contacts.groups[group["group_id"]]["by_app"] = False
    assert await wire.code("externalcontact/del_corp_tag", {"tag_id": [tag]}) == 48002
    sim.contacts.callable = False
    assert await wire.code("externalcontact/get_follow_user_list") == 48002


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": 3, "scene": 2, "user": ["chen"]}, 41037),
        ({"type": 1, "scene": 3, "user": ["chen"]}, 41038),
        ({"type": 1, "scene": 2, "user": ["chen", "omar"]}, 41039),
        ({"type": 2, "scene": 2, "user": []}, 41039),
        ({"type": 2, "scene": 2, "user": ["chen"] * 101}, 41039),
        ({"type": 1, "scene": 2, "user": ["nobody"]}, 60111),
        ({"type": 1, "scene": 2, "user": ["chen"], "state": "x" * 31}, 40058),
        ({"type": 1, "scene": 2, "user": ["chen"], "state": "x" * 30}, 0),
    ],
)
async def test_links_have_rules(wire: Wire, body: dict[str, Any], code: int) -> None:
    assert await wire.code("externalcontact/add_contact_way", body) == code


# ------------------------------------------------------------------------------------------------------- robots


async def test_robots_have_keys_limits_and_few_kinds(wire: Wire, sim: WeComSimulator) -> None:
    async def say(kind: str, inner: dict[str, Any], key: str = "k1") -> int:
        return await wire.code("webhook/send", {"msgtype": kind, kind: inner}, key=key)

    assert await say("text", {"content": "在"}) == 93000
    sim.add_robot("k1")
    assert await say("text", {"content": "在"}) == 0
    assert await say("text", {"content": "字" * 683}) == 40058
    assert await say("markdown", {"content": "字" * 1366}) == 40058
    assert await say("video", {"media_id": "x"}) == 40058
    assert await say("template_card", {"card_type": "button_interaction"}) == 40058
    picture = {"base64": base64.b64encode(JPEG).decode(), "md5": hashlib.md5(JPEG).hexdigest()}
    assert await say("image", picture) == 0
    assert await say("image", {**picture, "md5": "0"}) == 40058
    assert await say("file", {"media_id": sim.media.store(b"......", kind="file")}) == 40007  # not this robot's
    assert await say("file", {"media_id": sim.media.store(b"......", kind="file", robot="k1")}) == 0
    codes = [await say("text", {"content": "在"}) for _ in range(18)]
    assert codes == [0] * 17 + [45009]


# ----------------------------------------------------------------------------------------------------- signing in


async def test_a_scan_is_told_once_and_of_members_only(wire: Wire, sim: WeComSimulator) -> None:
    sim.trusted_domains.add("desk.example.test")
    page = (
        f"https://login.work.weixin.qq.com/wwlogin/sso/login?login_type=CorpApp&appid={sim.corp_id}"
        f"&agentid={AGENT_ID}&redirect_uri=https%3A%2F%2Fdesk.example.test%2Fback&state=s"
    )
    back = sim.scans(page, "chen")
    assert back.startswith("https://desk.example.test/back?code=")
    assert back.endswith("&state=s")
    code = back.split("code=")[1].split("&")[0]
    assert (await wire("auth/getuserinfo", code=code))["userid"] == "chen"
    assert await wire.code("auth/getuserinfo", code=code) == 40029
    assert await wire.code("auth/getuserinfo", code="made-up") == 40029
    visitor = await wire("auth/getuserinfo", code=sim.office.scan("somebody"))
    assert ("userid" in visitor, "openid" in visitor) == (False, True)
    sim.staff.hidden.add("lihua")
    assert await wire.code("auth/getuserinfo", code=sim.office.scan("lihua")) == 60011
    for wrong in (
        page.replace("desk.example", "evil.example"),
        page.replace("CorpApp", "x"),
        page.replace("ww0", "ww1"),
    ):
        with pytest.raises(RuntimeError):
            sim.scans(wrong, "chen")
