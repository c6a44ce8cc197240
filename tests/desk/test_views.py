"""How a thread is put together from rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from zhiban.conversations.queries import MessageRow, ThreadHead
from zhiban.desk.channel_limits import reply_allowance
from zhiban.desk.snooze_menu import snooze_times
from zhiban.desk.views import (
    ActivityLine,
    DateDivider,
    MessageView,
    UnreadDivider,
    activity_view,
    entries,
    message_view,
    sources_of,
)
from zhiban.ports import Limits, ReplyWindow

CHINA = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
LIMITS = Limits(2000, reply_window=ReplyWindow(hours=48, messages=5))


def row(id_: int, text: str = "", *, minutes: float = 0, **fields: Any) -> MessageRow:
    shown: dict[str, Any] = {
        "direction": "in",
        "author": "contact",
        "agent_id": None,
        "agent_name": None,
        "kind": "text",
        "choice": None,
        "content": {},
        "state": "handled",
        "failure": None,
        "client_key": None,
        "delivered_at": None,
        "recalled_at": None,
        "turn_id": None,
        "confidence": None,
        "zone": None,
        "citations": None,
    }
    return MessageRow(id=id_, text=text, sent_at=NOON + timedelta(minutes=minutes), **{**shown, **fields})


def ours(id_: int, text: str, *, minutes: float = 0, **fields: Any) -> MessageRow:
    return row(
        id_,
        text,
        minutes=minutes,
        **{"direction": "out", "author": "agent", "agent_id": 4, "agent_name": "林晓", "state": "sent", **fields},
    )


LABELS = {7: "缺陷", 8: "退款"}


def test_a_line_says_why_the_contact_was_not_told() -> None:
    said = {"what": "resolved", "by": "timer", "reason": "idle"}
    for unsaid, words in (("window_closed", "没有告诉对方：{unsaid}"), ("", "解决了会话{why}"), ("new", "会话{why}")):
        line = activity_view(row(1, content={**said, "unsaid": unsaid}), contact="", names={}, teams={}, labels={})
        assert line is not None
        assert (line.words.endswith(words), bool(line.unsaid)) == (True, unsaid == "window_closed")


def test_a_program_is_named_by_its_token() -> None:
    said = {"what": "resolved", "by": "api", "rule": "订单系统"}
    line = activity_view(row(1, kind="activity", content=said), contact="", names={}, teams={}, labels={})
    assert line is not None
    assert line.who == "「订单系统」"
    by_it = {"direction": "out", "author": "api", "state": "sent", "content": {"program": "订单系统"}}
    message = message_view(row(2, "包裹已到站", **by_it), "周予安", "9")
    assert (message.who, message.side, message.by) == ("订单系统", "us", "agent")


def shown(*rows: MessageRow, unread_after: int = 0) -> list[Any]:
    message_views = [message_view(one, "周予安", "9") for one in rows if one.kind != "activity"]
    lines = [
        line
        for one in rows
        if one.kind == "activity"
        and (line := activity_view(one, contact="周予安", names={4: "林晓"}, teams={3: "售后"}, labels=LABELS))
    ]
    return list(entries(message_views, lines, unread_after=unread_after, zone=CHINA))


def test_messages_of_one_sender_within_three_minutes_share_a_name() -> None:
    _day, first, second, third = shown(row(1, "一"), row(2, "二", minutes=2), row(3, "三", minutes=9))
    assert [first.more, second.more, third.more] == [False, True, False]


def test_a_new_day_gets_its_line_and_a_new_name() -> None:
    found = shown(row(1, minutes=0), row(2, minutes=60 * 24))
    assert [type(one) for one in found] == [DateDivider, MessageView, DateDivider, MessageView]
    assert not found[3].more


def test_the_unread_line_stands_before_the_first_message_not_read() -> None:
    found = shown(row(1), ours(2, "好", minutes=1), row(3, minutes=2), row(4, minutes=3), unread_after=2)
    assert [type(one) for one in found] == [
        DateDivider,
        MessageView,
        MessageView,
        UnreadDivider,
        MessageView,
        MessageView,
    ]
    assert found[3].n == 2
    assert not any(isinstance(one, UnreadDivider) for one in shown(row(1), unread_after=1))


def test_only_our_last_message_carries_a_receipt() -> None:
    _, first, _, last = shown(ours(1, "一"), row(2, minutes=1), ours(3, "三", minutes=2))
    assert (first.receipt, last.receipt, last.sent) == (False, True, True)


def test_states_of_what_we_sent() -> None:
    found = shown(
        ours(1, "排队", state="queued"),
        ours(2, "失败", state="failed", failure="window_closed", minutes=5),
        row(3, "撤回", recalled_at=NOON, minutes=9),
    )
    assert [one.state for one in found[1:]] == ["sending", "failed", "recalled"]
    assert found[2].failure == "window_closed"


def test_a_note_is_a_note_and_the_assistant_shows_how_sure_it_is() -> None:
    _, note, answer = shown(
        ours(1, "像是解压的问题", direction="internal", kind="note", state="stored"),
        row(
            2,
            "答案 [1]",
            minutes=5,
            direction="out",
            author="assistant",
            state="sent",
            confidence=0.923,
            citations=[{"title": "退款规则", "url": "javascript:alert(1)"}],
        ),
    )
    assert (note.by, note.side) == ("note", "us")
    assert (answer.by, answer.sure, answer.sources[0].title, answer.sources[0].url) == (
        "assistant",
        92,
        "退款规则",
        None,
    )


def test_sources_that_the_words_name_are_not_listed_again() -> None:
    named = row(
        1, "七天内。\n\n参考：[1] 退款规则", author="assistant", direction="out", citations=[{"title": "退款规则"}]
    )
    assert message_view(named, "周予安", "9").unnamed_sources == ()
    silent = row(1, "七天内。", author="assistant", direction="out", citations=[{"title": "退款规则"}])
    assert [source.title for source in message_view(silent, "周予安", "9").unnamed_sources] == ["退款规则"]


def test_a_menu_shows_what_was_chosen() -> None:
    menu = row(
        1,
        "您是不是想问：",
        direction="out",
        author="assistant",
        kind="menu",
        state="sent",
        content={
            "choices": [{"id": "a:1", "label": "运费"}, {"id": "person", "label": "转人工"}],
            "footer": "都不是？",
        },
    )
    made = message_view(menu, "周予安", "9", chosen={"person"})
    assert [(pick.number, pick.label, pick.chosen) for pick in made.choices_shown] == [
        ("1", "运费", False),
        ("2", "转人工", True),
    ]
    assert made.footer == "都不是？"


def test_activities_name_who_did_it_and_why() -> None:
    def line(**content: Any) -> Any:
        found = shown(
            row(
                1,
                kind="activity",
                direction="internal",
                author="system",
                agent_id=4,
                agent_name="林晓",
                content=content,
            )
        )
        return found[1].activity if len(found) > 1 else None

    handed = line(what="handed_off", by="assistant", reason="asked")
    assert (handed.who, handed.words, handed.why) == ("值班助手", "{who}转交人工{why}", "对方要求人工")
    assert line(what="assigned", by="agent", to=4).words == "{who}开始处理"
    assert line(what="assigned", by="agent", to=5).words == "{who}分配给{whom}{why}"
    given = line(what="assigned", by="policy", to=5, reason="balanced")
    assert (given.who, given.why) == ("收件箱的策略", "在线且手上最少")
    team = line(what="team_assigned", by="agent", to=3)
    assert (team.words, team.whom) == ("{who}交给小组{whom}", "售后")
    assert line(what="team_assigned", by="agent").words == "{who}取消了小组"
    assert line(what="assigned", by="agent").words == "{who}取消了分配{why}"
    assert line(what="opened", by="agent", reason="taken") is None
    assert line(what="something_new", by="agent") is None
    added = line(what="labels_changed", by="agent", added=[7, 8, 9], removed=[])
    assert (added.words, added.labels) == ("{who}加上标签{labels}", ("缺陷", "退款"))
    assert line(what="labels_changed", by="agent", added=[], removed=[7]).words == "{who}去掉标签{labels}"
    assert line(what="labels_changed", by="rule", added=[7], removed=[8]).words == "{who}修改了标签：{labels}"
    assert [line(what="priority_changed", by="agent", priority=n).words[-2:] for n in range(5)] == [
        "先级",
        "为低",
        "普通",
        "为高",
        "紧急",
    ]
    assert isinstance(shown(row(1, kind="activity", content={"what": "resolved", "by": "timer"}))[1], ActivityLine)


def head(**fields: Any) -> ThreadHead:
    base: dict[str, Any] = {
        "id": 1,
        "kind": "direct",
        "name": "周予安",
        "tag": "0001",
        "external_id": "wm0001",
        "contact_id": 1,
        "contact_blocked": False,
        "inbox_id": 1,
        "channel": "wecom_kf",
        "inbox_name": "客服",
        "status": "open",
        "assignee_id": None,
        "assignee_name": None,
        "team_id": None,
        "team_name": None,
        "snoozed_until": None,
        "handoff_reason": None,
        "waiting_since": None,
        "last_incoming_at": NOON,
        "replies_used": 1,
        "priority": 0,
        "labels": [],
        "attributes": {},
        "created_at": NOON,
    }
    return ThreadHead(**{**base, **fields})


def test_the_reply_window_is_counted_for_the_agent() -> None:
    may = reply_allowance(head(), LIMITS, NOON + timedelta(minutes=30))
    assert (may.messages, may.left, may.closed) == (4, timedelta(hours=47, minutes=30), "")
    assert reply_allowance(head(), LIMITS, NOON + timedelta(hours=48)).closed == "window_closed"
    assert reply_allowance(head(replies_used=5), LIMITS, NOON).closed == "allowance_used"
    assert reply_allowance(head(contact_blocked=True), LIMITS, NOON).closed == "blocked"
    assert reply_allowance(head(), Limits(2000), NOON).closed == ""


def test_snoozing_offers_times_that_lie_ahead() -> None:
    for hour in range(24):
        now = datetime(2026, 11, 20, hour, 30, tzinfo=CHINA)
        assert all(at > now for _key, _words, at in snooze_times(now, CHINA))
    assert [key for key, *_ in snooze_times(datetime(2026, 11, 20, 19, 30, tzinfo=CHINA), CHINA)] == [
        "hour",
        "three",
        "morning",
    ]


def test_sources_without_a_title_fall_back() -> None:
    assert [source.title for source in sources_of([{"source": "退款.md"}, {"url": "https://a.example/"}, {}])] == [
        "退款.md",
        "https://a.example/",
    ]
