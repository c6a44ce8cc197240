"""Where notices go and what they say."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.kit.errors import Misconfigured
from zhiban.kit.i18n import Texts
from zhiban.notifications.notices import handoff_notice
from zhiban.ports.notifiers import parse_address, parse_addresses


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("telegram:8518085684", ("telegram", "8518085684")),
        (" Telegram:-100123 ", ("telegram", "-100123")),
        ("wecom-robot:693a91f6-7xxx", ("wecom-robot", "693a91f6-7xxx")),
        ("mailto://user:pass@example.com", ("mailto", "//user:pass@example.com")),
    ],
)
def test_addresses(address: str, parsed: tuple[str, str]) -> None:
    assert parse_address(address) == parsed


@pytest.mark.parametrize(
    "address", ["", "telegram", "telegram:", "mailto://", ":1", "1a:b", "tele gram:1", "telegram:1 2"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(Misconfigured, match="telegram:<chat id>"):
        parse_address(address)


def test_several_addresses() -> None:
    assert parse_addresses("telegram:1  slack://a/b\n") == [("telegram", "1"), ("slack", "//a/b")]
    assert parse_addresses("") == []


@given(st.text())
def test_any_text_is_an_address_or_a_sentence(text: str) -> None:
    with contextlib.suppress(Misconfigured):
        scheme, rest = parse_address(text)
        assert scheme
        assert rest


def test_a_notice_says_who_what_and_when() -> None:
    notice = handoff_notice(Texts(), key="h-1", contact_name="王芳", question="怎么退款\n原因：免费",
                            reason="没有找到答案",
                            waiting_since="11月21日 13:05", url="http://desk/c/1", inbox="小店客服",
                            contact_id="wm42\n问题：假")  # fmt: skip
    assert notice.title == "王芳 需要人工处理"
    assert notice.text.splitlines() == [
        "联系人：王芳",
        "编号：wm42 问题：假",
        "所在收件箱：小店客服",
        "问题：怎么退款 原因：免费",
        "原因：没有找到答案",
        "时间：11月21日 13:05",
    ]


def test_a_nameless_contact_with_a_long_hostile_question() -> None:
    notice = handoff_notice(
        Texts(), key="h", contact_name="\u202e\x00", question="长" * 5000, reason="x", waiting_since="y", url=None
    )
    assert notice.title.startswith("联系人")
    assert len(notice.text.encode()) < 1200
