"""What people say to a draft, and what they say about something else."""

from __future__ import annotations

from zhiban.tickets.draft_words import Cancel, Confirm, JoinTo, LeaveOut, Retitle, Undo, parse_word

MEANT = [
    ("1", Confirm(plainly=False)),
    ("１", Confirm(plainly=False)),
    ("确认", Confirm(plainly=True)),
    ("@值班助手 确认。", Confirm(plainly=True)),
    ("确认🙏🏻", Confirm(plainly=True)),
    ("取消 [抱拳]", Cancel(plainly=True)),
    ("确\u200b认\u200f", Confirm(plainly=True)),
    ("OK", Confirm(plainly=False)),
    ("yes!", Confirm(plainly=False)),
    ("2", Cancel(plainly=False)),
    ("取消", Cancel(plainly=True)),
    ("改标题 主从切换后丢数据", Retitle("主从切换后丢数据")),
    ("标题改成：丢  数据\n了", Retitle("丢 数据 了")),
    ("標題：丟資料", Retitle("丟資料")),
    ("去掉第3条", LeaveOut((3,))),
    ("去掉第三条", LeaveOut((3,))),
    ("删除第1、3条", LeaveOut((1, 3))),
    ("不要第2和第4条", LeaveOut((2, 4))),
    ("去掉最后一条", LeaveOut((0,))),
    ("remove 2, 3", LeaveOut((2, 3))),
    ("除了第3条", LeaveOut((3,))),
    ("第3条不要", LeaveOut((3,))),
    ("加到 #12", JoinTo("#12", ticket=False)),
    ("加到 12", JoinTo("#12", ticket=False)),
    ("加到 #I1ICN6", JoinTo("#I1ICN6", ticket=False)),
    ("并到 #i1icn6。", JoinTo("#I1ICN6", ticket=False)),
    ("加到 !7", JoinTo("!7", ticket=False)),
    ("加到工单 12", JoinTo("#12", ticket=True)),
    ("add to ticket 12", JoinTo("#12", ticket=True)),
    ("撤销", Undo()),
    ("撤销工单 327", Undo(327)),
    ("undo", Undo()),
]
ELSE = [
    "", "11", "1个", "好的", "确认一下版本", "是", "取消订单怎么弄", "标题党", "去掉缓存", "不要第三方", "加到购物车",
    "撤销合同", "不要了", "去掉第0条", "加到", "加到 Issue", "加到 I1ICN6 里", "除了第3条都好", "改标题", "2.3.6", "12",
    "确认🤔", "确认[疑问]", "确认❓", "🙏",
]  # fmt: skip


def test_what_is_meant() -> None:
    assert [(text, parse_word(text)) for text, _ in MEANT] == MEANT


def test_what_is_said_about_something_else() -> None:
    assert [text for text in ELSE if parse_word(text) is not None] == []
