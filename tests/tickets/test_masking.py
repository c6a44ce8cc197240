"""What is hidden before anything leaves the store, and what must stay readable."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiban.tickets.masking import Secret, find, hide, kinds, partly
from zhiban.tickets.private_numbers import is_bank_card, is_id_card

WORDS = {kind: f"[{kind.value}]" for kind in Secret}
CARD = "6222020000000000004"  # made up, with a right check digit


def test_the_made_up_card_is_one() -> None:
    assert is_bank_card(CARD) or any(is_bank_card(CARD[:-1] + last) for last in "0123456789")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("打我电话 13800006021", "打我电话 [mobile]"),
        ("打我电话 138 0000 6021。", "打我电话 [mobile]。"),
        ("138-0000-6021", "[mobile]"),
        ("+86 138 0000 6021", "[mobile]"),
        ("１３８００００６０２１", "[mobile]"),
        ("一三八零零零零六零二一", "[mobile]"),
        ("电话13800006021，微信同号", "电话[mobile]，微信同号"),
        ("13800006021 13900006022", "[mobile] [mobile]"),
        ("身份证 11010519491231002X", "身份证 [id_card]"),
        ("身份证 110105 19491231 002x", "身份证 [id_card]"),
        ("卡号 4111 1111 1111 1111", "卡号 [bank_card]"),
        ("发到 chen.mo+a@qinghe.example 谢谢", "发到 [email] 谢谢"),
        ("发到 chenmo＠qinghe.example", "发到 [email]"),
        ("ghp_" + "a1B2" * 9, "[token]"),
        ("key=sk-proj-" + "a1B2" * 9, "key=[token]"),
        ("AKIAIOSFODNN7EXAMPLE", "[token]"),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwx", "Authorization: Bearer [token]"),
        ("会议密码：482913", "会议密码：[password]"),
        ("腾讯会议 482-913-555，入会密码 482913", "腾讯会议 482-913-555，入会密码 [password]"),
        ("password: hunter2!", "password: [password]"),
        ("https://zoom.example/j/1?pwd=AbCd12", "https://zoom.example/j/1?pwd=[password]"),
        ("mysql://root:secret@10.0.0.1/db", "mysql://root:[password]@10.0.0.1/db"),
        ("加我 wxid_abc123def456", "加我 [account]"),
        ("微信：chenmo_2024", "微信：[account]"),
        ("QQ 12345678", "QQ [account]"),
        ("138\u200b1234\u200b5678", "[mobile]"),
        ("138  1234  5678", "[mobile]"),
        ("138\u30001234\u30005678", "[mobile]"),
        ("(138)12345678", "([mobile]"),
        ("+86(138) 1234 5678", "[mobile]"),
        ("+86-138-1234-5678", "[mobile]"),
        ("8613812345678", "[mobile]"),
        ("138/1234/5678", "[mobile]"),
        ("1 3 8 1 2 3 4 5 6 7 8", "[mobile]"),
        ("tel13812345678", "tel[mobile]"),
        ("No13812345678", "No[mobile]"),
        ("13812345678abc", "[mobile]abc"),
        ("1. 13812345678", "1. [mobile]"),
        ("١٣٨١٢٣٤٥٦٧٨", "[mobile]"),
        ("𝟏𝟑𝟖𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖", "[mobile]"),
        ("138一二三四5678", "[mobile]"),
        ("第一13800006021", "第一[mobile]"),
        ("一三八 一二三四 五六七八", "[mobile]"),
        ("密码：\n123456", "密码：\n[password]"),
        ("密码 P@ssw0rd!", "密码 [password]"),
        ("密码改成了hunter2", "密码改成了[password]"),
        ("密码改为 hunter2", "密码改为 [password]"),
        ("password hunter2", "password [password]"),
        ("密码是 hunter 2", "密码是 [password]"),
        ("密\u200b码：abcd", "密\u200b码：[password]"),
        ("QQ群 12345678", "QQ群 [account]"),
        ("zhangsan@qq。com", "[email]"),
        ("sk\u2011proj\u2011" + "a1B2" * 5, "[token]"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- 好", "[token] 好"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc", "[token]"),
    ],
)
def test_secrets_are_hidden(text: str, hidden: str) -> None:
    assert hide(text, WORDS) == hidden


PLAIN = [
    "2.3.6 到 2.4.1 都这样",
    "日志 2026-11-29 13:49:02.123 binlog position skipped",
    "订单号 20261129134902",
    "位点 mysql-bin.000123:1547892",
    "11010519491231002A",
    "110105194912310021",  # a wrong check digit
    "4111 1111 1111 1112",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "密码怎么改？",
    "改密码以后登不上",
    "QQ群里说过",
    "10.0.0.1:3306",
    "@陈默 看一下",
    "12345678901",
    "订单 1500, 3000000 件",
    "192.168.10.100:8080",
    "2026-11-29 13:49:02.12345",
    "13:49 到 18:22，共 201 条",
    "尺码 160 165 170 175 各 20",
    "版本 15.3.2026.11.29.1",
    "端口 3306、6379、15672、9092",
    "2026/11/29 2026/12/01",
    "金额 1,380,000,000.00 元",
    "密码是多少？",
    "密码改成什么了",
    "the password field is empty",
    "重置密码 https://a.example/reset",
]


def test_what_is_no_secret_stays() -> None:
    assert [text for text in PLAIN if hide(text, WORDS) != text] == []


def test_our_own_people_see_enough_to_tell_two_apart() -> None:
    assert (
        partly("打 138 0000 6021 或发 chenmo@qinghe.example，密码：abcd")
        == "打 138****6021 或发 c***@qinghe.example，密码：****"
    )
    assert partly("一三八零零零零六零二一") == "138****6021"
    assert partly("卡号 4111 1111 1111 1111") == "卡号 ****1111"


def test_they_are_counted() -> None:
    assert kinds("13800006021 13900006022 a@b.example") == {Secret.MOBILE: 2, Secret.EMAIL: 1}


@given(st.integers(0, 10**17 - 1))
def test_one_check_digit_fits_a_number(number: int) -> None:
    digits = f"{number:017d}"
    assert sum(is_id_card(digits + last) for last in "0123456789X") <= 1
    assert sum(is_bank_card(digits + last) for last in "0123456789") <= 1


@given(
    st.lists(
        st.sampled_from(
            ["13800006021", "a@b.example", "密码：abc", " ", "，", "86", "1", "wxid_abcdef", "4111111111111111", "x"]
        )
    ).map("".join)
    | st.text(max_size=200)
)
def test_spans_are_in_order_and_within_the_text(text: str) -> None:
    spans = find(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    partly(text)
