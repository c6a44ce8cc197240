"""What is said to a message about an issue that somebody quotes."""

from __future__ import annotations

import pytest

from zhiban.tickets.card_words import (
    AssignIssue,
    CardWord,
    CloseIssue,
    LabelIssue,
    React,
    ReopenIssue,
    SayAtIssue,
    UnknownPicture,
    parse_card_word,
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("关闭", CloseIssue()),
        ("@值班助手 關閉議題。", CloseIssue()),
        ("关闭，不做了", CloseIssue(planned=False)),
        ("close as not planned", SayAtIssue("close as not planned")),
        ("close: not planned", CloseIssue(planned=False)),
        ("关闭🙏🏻", CloseIssue()),
        ("\u200f关\u200b闭[抱拳]", CloseIssue()),
        ("关闭🤔", SayAtIssue("关闭🤔")),
        ("重开", ReopenIssue()),
        ("Reopen issue!", ReopenIssue()),
        ("标签：bug、同步引擎", LabelIssue(("bug", "同步引擎"))),
        ("标签 bug bug", LabelIssue(("bug",))),
        ("去标签 bug", LabelIssue(("bug",), add=False)),
        ("标签打错了", SayAtIssue("标签打错了")),
        ("指派 @chen", AssignIssue(("chen",))),
        ("@值班助手 指派给 @陈默\u2005", AssignIssue(("陈默",))),
        ("👍", React("up")),
        ("👍🏽👍🏽", React("up")),
        ("❤️", React("heart")),
        ("[强]", React("up")),
        ("🦊", UnknownPicture()),
        ("[旺柴]", UnknownPicture()),
        ("关闭之后还是会丢", SayAtIssue("关闭之后还是会丢")),
        ("  @值班助手 第一行\n第二行 ", SayAtIssue("第一行\n第二行")),
        ("12", SayAtIssue("12")),
        ("   ", None),
        ("长" * 5000, None),
    ],
)
def test_words(text: str, word: CardWord | None) -> None:
    assert parse_card_word(text) == word
