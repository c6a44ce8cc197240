"""The simulated platform refuses what WeCom refuses, with the codes that WeCom publishes: customer service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.testing.conftest import LI, Wire

from zhiban.testing.wecom import CORP_ID, OPEN_KFID, WeComSimulator

JPEG = b"\xff\xd8\xff picture"


# ------------------------------------------------------------------------------------------------- calling at all


async def test_requests_are_json_posts_in_plain_utf8(wire: Wire) -> None:
    assert (await wire("kf/account/list"))["errcode"] == 40058
    assert (await wire.raw("kf/account/list", b"{"))["errcode"] == 40058
    assert (await wire.raw("kf/account/list", b"[]"))["errcode"] == 40058
    escaped = json.dumps({"name": "客服"}).encode()
    assert (await wire.raw("kf/account/list", escaped))["errcode"] == 40033
    assert (await wire.raw("kf/account/list", rb'{"a":"\\u5ba2","b":"\u000b"}'))["errcode"] == 0
    wire.token = ""
    assert await wire.code("kf/account/list", {}) == 41001


async def test_one_endpoint_may_be_called_so_often_a_minute(wire: Wire, sim: WeComSimulator) -> None:
    sim.quota.per_minute = 3
    assert [await wire.code("kf/account/list", {}) for _ in range(4)] == [0, 0, 0, 45009]
    assert await wire.code("externalcontact/get_follow_user_list") == 0
    sim.clock.advance(59)
    assert await wire.code("kf/account/list", {}) == 45009  # the block lasts a whole minute
    sim.clock.advance(2)
    assert await wire.code("kf/account/list", {}) == 0


async def test_a_wrong_secret_is_not_for_trying(wire: Wire, sim: WeComSimulator) -> None:
    sim.gate.wrong_per_hour = 2
    codes = [await wire.code("gettoken", corpid=CORP_ID, corpsecret="wrong") for _ in range(3)]
    assert codes == [40001, 40001, 45009]


# -------------------------------------------------------------------------------------------- customer service


async def test_pulling_without_a_token_is_for_once_a_minute_and_account(wire: Wire, sim: WeComSimulator) -> None:
    sim.add_account("wkOTHER", "别家")
    pull = {"open_kfid": OPEN_KFID}
    assert [await wire.code("kf/sync_msg", pull) for _ in range(2)] == [0, 45009]
    assert await wire.code("kf/sync_msg", {"open_kfid": "wkOTHER"}) == 0
    assert await wire.code("kf/sync_msg", {**pull, "token": sim.kf.fresh_token()}) == 0
    sim.clock.advance(61)
    assert await wire.code("kf/sync_msg", pull) == 0
    assert await wire.code("kf/sync_msg", {**pull, "token": "ENCold"}) == 95007
    assert await wire.code("kf/sync_msg", {}) == 40058
    for wrong in ({"limit": 0}, {"limit": 1001}, {"cursor": "x"}, {"voice_format": 2}):
        assert await wire.code("kf/sync_msg", {**pull, "token": sim.kf.fresh_token(), **wrong}) == 40058


async def test_pages_are_not_always_in_the_order_of_time(wire: Wire, sim: WeComSimulator) -> None:
    sim.kf.page_size = 10
    said = [sim.contact_says(f"wm{number}", "在吗") for number in range(25)]
    cursor, found, pages = "", [], []
    while True:
        body = {"open_kfid": OPEN_KFID, "cursor": cursor, "token": sim.kf.fresh_token()}
        answer = await wire("kf/sync_msg", body)
        pages.append([entry["msgid"] for entry in answer["msg_list"]])
        found += pages[-1]
        cursor = answer["next_cursor"]
        if not answer["has_more"]:
            break
    assert sorted(found) == sorted(said)
    assert found != said
    assert all(page == sorted(page) for page in pages)
    again = await wire("kf/sync_msg", {"open_kfid": OPEN_KFID, "cursor": "c-10", "token": sim.kf.fresh_token()})
    assert [entry["msgid"] for entry in again["msg_list"]] == pages[1]  # what was given out stays where it is


async def test_sessions_move_only_as_documented(wire: Wire, sim: WeComSimulator) -> None:
    sim.hire("away")
    sim.kf.accounts[OPEN_KFID].servicers.update(lihua=0, away=1)
    sim.contact_says(LI, "人工")
    assert (await wire.trans(4))["errcode"] == 95016
    assert (await wire.trans(0))["errcode"] == 95016
    assert (await wire.trans(1)) == {"errcode": 0, "errmsg": "ok"}
    assert (await wire.trans(4))["errcode"] == 95016
    assert (await wire.trans(2))["msg_code"]
    assert (await wire.trans(1))["errcode"] == 95016
    assert (await wire.trans(4))["errcode"] == 95016
    assert (await wire.trans(3))["errcode"] == 40058
    assert (await wire.trans(3, "nobody"))["errcode"] == 95014
    assert (await wire.trans(3, "away"))["errcode"] == 95019
    assert (await wire.trans(3, "lihua"))["msg_code"]
    assert "msg_code" not in await wire.trans(3, "lihua")
    assert (await wire.trans(2))["errcode"] == 95016
    assert (await wire.trans(4))["msg_code"]
    assert (await wire.trans(3, "lihua"))["errcode"] == 95013
    assert await wire.code("kf/service_state/trans", {"open_kfid": "wkGONE", "external_userid": LI}) == 95004


async def test_an_unverified_corp_has_a_quota_of_receptions(wire: Wire, sim: WeComSimulator) -> None:
    sim.kf.accounts[OPEN_KFID].servicers["lihua"] = 0
    sim.kf.reception_quota = 0
    sim.contact_says(LI, "人工")
    assert (await wire.trans(3, "lihua"))["errcode"] == 95003


async def test_a_session_is_over_after_two_days(wire: Wire, sim: WeComSimulator) -> None:
    sim.contact_says(LI, "在吗")
    sim.clock.advance(47 * 3600)
    sim.contact_says(LI, "还在吗")
    await wire.renew()
    assert await wire.send("a") == 0
    sim.clock.advance(2 * 3600)
    await wire.renew()
    assert sim.state(LI) == 4
    assert await wire.send("b") == 95018
    sim.contact_says(LI, "喂")
    assert sim.state(LI) == 0
    assert await wire.send("b") == 0


async def test_who_may_be_written_to(wire: Wire, sim: WeComSimulator) -> None:
    assert await wire.send("a", to="wmNOBODY") == 40096
    sim.contact_enters(LI)
    assert await wire.send("a") == 95018
    sim.contact_says(LI, "在吗")
    assert [await wire.send(f"m{number}") for number in range(6)] == [0, 0, 0, 0, 0, 95001]
    for msgid in ("", "a b", "x" * 33, 5):
        assert await wire.send(msgid) == 40058  # type: ignore[arg-type]
    sim.servicer_takes(LI, servicer="lihua")
    assert await wire.send("z") == 95018


async def test_a_repeated_msgid_is_refused_in_words_that_say_nothing(wire: Wire, sim: WeComSimulator) -> None:
    """The platform publishes neither code nor words, so nothing may be built on either."""
    sim.contact_says(LI, "在吗")
    assert await wire.send("a") == 0
    assert await wire.send("a") == 95099
    assert "msgid" not in sim.kf.duplicate[1]
    assert len(sim.sent(LI)) == 1


@pytest.mark.parametrize(
    ("kind", "inner", "code"),
    [
        ("text", {"content": ""}, 40063),
        ("text", {}, 40063),
        ("markdown", {"content": "**x**"}, 40058),
        ("image", {"media_id": "MEDIAGONE"}, 40007),
        ("voice", {"media_id": "picture"}, 40004),
        ("image", {"media_id": "picture"}, 0),
        ("link", {"title": "t", "url": "https://e.test", "thumb_media_id": "picture"}, 0),
        ("link", {"title": "t", "url": "e.test", "thumb_media_id": "picture"}, 40058),
        ("link", {"title": "t", "url": "https://e.test"}, 40007),
        ("link", {"title": "字" * 43, "url": "https://e.test", "thumb_media_id": "picture"}, 40058),
        ("miniprogram", {"appid": "wx1", "pagepath": "a", "thumb_media_id": "picture"}, 40058),
        ("miniprogram", {"appid": "wx1", "pagepath": "a.html?x=1", "thumb_media_id": "picture"}, 0),
        ("location", {"latitude": 31, "longitude": 121}, 0),
        ("location", {"latitude": 91, "longitude": 121}, 95022),
        ("location", {"latitude": "31", "longitude": 121}, 95022),
        ("ca_link", {"link_url": "https://e.test/ca/1"}, 40058),
        ("msgmenu", {"head_content": "字" * 342, "list": []}, 40058),
        ("msgmenu", {"list": [{"type": "click", "click": {"id": "a#b", "content": "x"}}]}, 40058),
        ("msgmenu", {"list": [{"type": "click", "click": {"id": "x" * 129, "content": "x"}}]}, 40058),
        ("msgmenu", {"list": [{"type": "click", "click": {"id": "a", "content": ""}}]}, 40058),
        ("msgmenu", {"list": [{"type": "click", "click": {"id": "a", "content": "x"}}] * 11}, 95008),
        ("msgmenu", {"list": [{"type": "tap"}]}, 95009),
        ("msgmenu", {"list": [{"type": "view", "view": {"url": "x", "content": "y"}}]}, 40058),
        ("msgmenu", {"list": [{"type": "text", "text": {"content": "字" * 86}}]}, 40058),
    ],
)
async def test_what_a_contact_can_be_sent(
    wire: Wire, sim: WeComSimulator, kind: str, inner: dict[str, Any], code: int
) -> None:
    sim.contact_says(LI, "在吗")
    picture = sim.media.store(JPEG)
    inner = {name: picture if value == "picture" else value for name, value in inner.items()}
    assert await wire.send("a", inner, kind=kind) == code


async def test_a_text_that_is_too_long_is_cut_without_a_word(wire: Wire, sim: WeComSimulator) -> None:
    sim.contact_says(LI, "在吗")
    assert await wire.send("a", {"content": "字" * 900}) == 0
    assert len(sim.sent(LI)[0].text.encode()) == 2046


async def test_codes_of_events_serve_once_and_for_their_state(wire: Wire, sim: WeComSimulator) -> None:
    async def say(code: str, kind: str = "text") -> int:
        body = {"code": code, "msgtype": kind, kind: {"content": "欢迎", "list": []}}
        return await wire.code("kf/send_msg_on_event", body)

    welcome = sim.contact_enters(LI)
    assert welcome
    assert await say(welcome, "image") == 40058
    assert [await say(welcome) for _ in range(2)] == [0, 40058]
    assert sim.contact_enters(LI) is None  # welcomed within two days
    sim.contact_says(LI, "人工")
    pool = (await wire.trans(2))["msg_code"]
    assert await say(pool, "msgmenu") == 40058
    sim.servicer_takes(LI, servicer="lihua")
    assert await say(pool) == 95018
    sim.contact_says("wmOTHER", "在吗")
    assert sim.contact_enters("wmOTHER") is None  # who has written is not welcomed


async def test_accounts_that_the_console_keeps_or_that_are_half_visible(wire: Wire, sim: WeComSimulator) -> None:
    sim.give_accounts(removed=(OPEN_KFID,))
    for path in ("kf/sync_msg", "kf/add_contact_way", "kf/servicer/add"):
        assert await wire.code(path, {"open_kfid": OPEN_KFID}) == 95017
    sim.give_accounts(added=(OPEN_KFID,))
    sim.hire("boss", visible=False)
    sim.kf.accounts[OPEN_KFID].servicers["boss"] = 0
    assert await wire.code("kf/add_contact_way", {"open_kfid": OPEN_KFID}) == 60030


async def test_servicers_come_and_go_one_by_one(wire: Wire, sim: WeComSimulator) -> None:
    sim.hire("boss", visible=False)
    body = {"open_kfid": OPEN_KFID, "userid_list": ["chen", "boss", "nobody"]}
    added = await wire("kf/servicer/add", body)
    assert [entry["errcode"] for entry in added["result_list"]] == [0, 60011, 60111]
    assert (await wire("kf/servicer/add", body))["result_list"][0]["errmsg"] == "ignored"
    assert await wire.code("kf/servicer/add", {"open_kfid": OPEN_KFID}) == 40058
    sim.servicer_pauses("chen")
    listed = await wire("kf/servicer/list", open_kfid=OPEN_KFID)
    assert listed["servicer_list"] == [{"userid": "chen", "status": 1, "stop_type": 0}]
    assert sim.kf.accounts[OPEN_KFID].log[-1]["event"]["status"] == 2  # the event numbers it otherwise
    for wrong in ({"limit": 0}, {"limit": 101}, {"offset": -1}):
        assert await wire.code("kf/account/list", wrong) == 40058


async def test_who_contacts_are_and_where_they_came_from(wire: Wire, sim: WeComSimulator) -> None:
    sim.contact_enters(LI, scene="live", channels={"nickname": "小店", "scene": 2})
    assert sim.kf.accounts[OPEN_KFID].log[-1]["event"]["wechat_channels"] == {"nickname": "小店", "scene": 2}
    body = {"external_userid_list": [LI, "wmNOBODY"]}
    assert (await wire("kf/customer/batchget", body))["invalid_external_userid"] == [LI, "wmNOBODY"]
    sim.contact_says(LI, "多少钱")
    (plain,) = (await wire("kf/customer/batchget", body))["customer_list"]
    assert plain["unionid"] == f"ounion_{LI}"
    assert "enter_session_context" not in plain
    (told,) = (await wire("kf/customer/batchget", {**body, "need_enter_session_context": 1}))["customer_list"]
    assert told["enter_session_context"]["scene"] == "live"
    assert told["enter_session_context"]["wechat_channels"]["nickname"] == "小店"
    sim.kf.tells_unionid = False
    (plain,) = (await wire("kf/customer/batchget", body))["customer_list"]
    assert "unionid" not in plain


async def test_people_cannot_do_the_impossible(sim: WeComSimulator) -> None:
    sim.contact_says(LI, "在吗")
    with pytest.raises(RuntimeError, match="nobody holds"):
        sim.servicer_ends(LI)
    sim.servicer_takes(LI, servicer="lihua")
    sim.servicer_ends(LI)
    sim.servicer_says(LI, "忘了说", servicer="lihua")  # which opens the ended session again
    log = sim.kf.accounts[OPEN_KFID].log
    assert [entry.get("event", {}).get("change_type") for entry in log] == [None, 1, 3, 4, None]
    for action in (lambda: sim.member_says("nobody", "x"), lambda: sim.befriend("nobody", LI)):
        with pytest.raises(RuntimeError, match="hire"):
            action()
