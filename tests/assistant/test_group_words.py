"""What members of a group say to the assistant, and what is no word to it; whom it answers, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.assistant import group_words
from zhiban.assistant.group_decisions import (
    PER_MEMBER,
    PER_MINUTE,
    Explain,
    GroupBudget,
    KeepWish,
    LookUpQuestion,
    MemberWords,
    NoteHelpful,
    TakeBack,
    said_lately,
    step_for,
)
from zhiban.assistant.group_queries import GroupTurn
from zhiban.assistant.group_words import ConsentWish
from zhiban.conversations.group_policy import Consent, GroupAnswers, GroupPolicy
from zhiban.conversations.responder import PendingMessage

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
ZHOU, WANG = 1, 2


@pytest.mark.parametrize(
    ("text", "wished"),
    [
        ("不要保存我的消息", ConsentWish.DO_NOT_STORE),
        ("请勿记录我的发言。", ConsentWish.DO_NOT_STORE),
        ("别再存我的聊天记录", ConsentWish.DO_NOT_STORE),
        ("Don't store my messages", ConsentWish.DO_NOT_STORE),
        ("不要引用我", ConsentWish.DO_NOT_QUOTE),
        ("不想被引用我说的话", ConsentWish.DO_NOT_QUOTE),
        ("可以保存我的消息了", ConsentWish.STORE),
        ("恢复保存我的消息", ConsentWish.STORE),
        ("可以引用我", ConsentWish.QUOTE),
        ("you may quote me", ConsentWish.QUOTE),
        ("怎么才能不要保存我的消息？", None),
        ("不要保存我的消息会怎样", None),
        ("不要保存密码", None),
        ("保存我的消息", None),
    ],
)
def test_a_wish_about_what_is_kept_is_all_that_is_said(text: str, wished: ConsentWish | None) -> None:
    assert group_words.wish(text) is wished


@pytest.mark.parametrize(
    ("wished", "before", "after"),
    [
        (ConsentWish.DO_NOT_QUOTE, Consent.UNSTORED, Consent.UNSTORED),
        (ConsentWish.DO_NOT_QUOTE, Consent.ALL, Consent.UNQUOTED),
        (ConsentWish.QUOTE, Consent.UNQUOTED, Consent.ALL),
        (ConsentWish.QUOTE, Consent.UNSTORED, Consent.UNSTORED),
        (ConsentWish.STORE, Consent.UNSTORED, Consent.ALL),
    ],
)
def test_who_is_not_kept_is_not_quoted(wished: ConsentWish, before: Consent, after: Consent) -> None:
    assert group_words.consent_after(wished, before) is after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@值班 怎么部署？", "怎么部署？"),
        ("@值班\u2005怎么部署？", "怎么部署？"),
        ("怎么部署？ @值班", "怎么部署？"),
        ("@值班", ""),
        ("@小王 @值班 看看", "看看"),
    ],
)
def test_names_are_no_part_of_what_is_said(text: str, words: str) -> None:
    assert group_words.bare(text) == words


@pytest.mark.parametrize(("words", "wrong"), [
    ("不对", True), ("答错了！", True), ("你说的不对吧", True), ("没用", True), ("说的不是这样的", True),
    ("不对称加密怎么配置", False), ("错误码 500 是什么", False), ("对", False),
])  # fmt: skip
def test_only_who_says_nothing_else_says_that_we_were_wrong(words: str, wrong: bool) -> None:
    assert group_words.says_wrong(words) is wrong


@given(st.text())
def test_whatever_is_said_is_read(text: str) -> None:
    words = group_words.bare(text)
    assert group_words.wish(words) is None or len(words) < 60
    group_words.wants_help(words), group_words.says_wrong(words), group_words.asks(words)


# ---------------------------------------------------------------------------------------------------- what to do


def spoken(text: str, *, by: int = ZHOU, us: bool = False, kind: str = "text", **more: object) -> MemberWords:
    message = PendingMessage(9, "m9", kind, text, None, {}, NOW, by, "u", "周周", **more)  # type: ignore[arg-type]
    return MemberWords(message, group_words.bare(text), us)


def answered(by: int | None = ZHOU, *, ago: int = 1, decision: str = "Answer") -> GroupTurn:
    cited = [{"article_id": 5}]
    return GroupTurn(1, "怎么退款？", decision, cited, by, NOW - timedelta(minutes=ago))


ASKED = "怎么申请退款？"
SURE = GroupPolicy(answers=GroupAnswers.SURE)


@pytest.mark.parametrize(
    ("message", "policy", "lately", "step"),
    [
        (spoken(ASKED), SURE, [], LookUpQuestion),
        (spoken(ASKED), GroupPolicy(), [], None),
        (spoken(ASKED, us=True), GroupPolicy(), [], LookUpQuestion),
        (spoken(ASKED, us=True), GroupPolicy(answers=GroupAnswers.NEVER), [], None),
        (spoken(ASKED, mentions=("wang",)), SURE, [], None),
        (spoken(ASKED, reply_to_id=3), SURE, [], None),
        (spoken("大家晚上好"), SURE, [], None),
        (spoken("图片", kind="image", us=True), SURE, [], None),
        (spoken("不对"), SURE, [answered()], TakeBack),
        (spoken("不对"), SURE, [answered(ago=11)], None),
        (spoken("不对"), SURE, [answered(decision="HandOff"), answered()], None),
        (spoken("不对", by=WANG), SURE, [answered()], None),
        (spoken("解决了"), SURE, [answered()], NoteHelpful),
        (spoken("帮助"), SURE, [], None),
        (spoken("帮助", us=True), GroupPolicy(answers=GroupAnswers.NEVER), [], Explain),
        (spoken("", us=True), SURE, [], Explain),
        (spoken("不要引用我", us=True), GroupPolicy(answers=GroupAnswers.NEVER), [], KeepWish),
    ],
)
def test_what_to_do_about_a_message(
    message: MemberWords, policy: GroupPolicy, lately: list[GroupTurn], step: type | None
) -> None:
    found = step_for(message, policy, lately, quiet=False, now=NOW)
    assert (found if found is None else type(found)) is step


def test_in_quiet_hours_only_who_names_us_is_answered() -> None:
    assert step_for(spoken(ASKED), SURE, [], quiet=True, now=NOW) is None
    assert step_for(spoken(ASKED, us=True), SURE, [], quiet=True, now=NOW) is not None
    night = GroupPolicy.model_validate({"quiet": {"start": 22 * 60, "end": 8 * 60}})
    hours = {hour: night.is_quiet(datetime(2026, 11, 20, hour, 30, tzinfo=UTC)) for hour in (0, 6, 13, 14, 23)}
    assert hours == {0: False, 6: False, 13: False, 14: True, 23: True}  # 8, 14, 21, 22 and 7 o'clock in China


def test_one_answer_in_half_an_hour() -> None:
    assert said_lately({5}, [answered(ago=29)], now=NOW)
    assert not said_lately({5}, [answered(ago=31)], now=NOW)
    assert not said_lately({6}, [answered()], now=NOW)
    assert not said_lately({5}, [answered(decision="HandOff")], now=NOW)


def test_a_minute_has_so_many_words() -> None:
    recent = [answered(WANG, ago=0)] * 2 + [answered(ZHOU, ago=1)] * 9
    budget = GroupBudget.of(recent, now=NOW)
    assert [budget.spend(WANG) for _ in range(2)] == [True, False]
    given = sum(budget.spend(member) for member in range(10, 20))
    assert given == PER_MINUTE - 3
    fresh = GroupBudget(PER_MINUTE)
    assert sum(fresh.spend(ZHOU) for _ in range(10)) == PER_MEMBER
