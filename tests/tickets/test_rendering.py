"""What a tracker gets to read, and what it never gets to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.tickets.test_neutralising import HARMLESS, PARSER, REFERENCES, flat
from zhiban.kit.i18n import Texts
from zhiban.tickets.frozen import LONGEST, FrozenFile, FrozenLine, frozen_words
from zhiban.tickets.neutralising import BREAK
from zhiban.tickets.rendering import BUDGET, Heading, Signature, bodies, comment_body, shortened_title, title_of
from zhiban.tickets.titling import extracted

ZH, EN = Texts("zh"), Texts("en")
AT = datetime(2026, 11, 27, 5, 48, tzinfo=UTC)


def line(n: int, who: str, text: str, *, quoted: tuple[str, str] = ("", ""), recalled: bool = False) -> FrozenLine:
    names = {"1": ("杨帆", "老杨"), "2": ("陆知行", ""), "3": ("老杨", "老杨")}[who]
    return FrozenLine(n, who, *names, AT + timedelta(minutes=n), text, *quoted, recalled)


TALK = [
    line(0, "1", "昨晚主库切了一次，增量同步丢了两三秒的数据"),
    line(1, "2", "我这边也是", quoted=("老杨", "昨晚主库切了一次")),
    line(2, "1", "日志里有 `skipped`，打我电话 13800006021"),
    line(3, "2", "别写出来", recalled=True),
]
HEADING = Heading("切换后丢数据", "客户很急", "青禾交流 1 群", "梁小满")


def test_a_transcript_reads_well() -> None:
    (body,) = bodies(TALK, HEADING, signature=Signature.ALIAS, texts=ZH)
    assert body == (
        "切换后丢数据\n\n客户很急\n\n*青禾交流 1 群 · 由梁小满提出*\n\n"
        "**老杨** 2026-11-27 13:48\n\n昨晚主库切了一次，增量同步丢了两三秒的数据\n\n"
        "**成员2** 2026-11-27 13:49\n\n> 老杨: 昨晚主库切了一次\n\n我这边也是\n\n"
        "**老杨** 2026-11-27 13:50\n\n日志里有 \\`skipped\\`，打我电话 \\[手机号已隐去\\]\n\n"
        "**成员2** 2026-11-27 13:51\n\n这条消息已撤回"
    )


def test_speakers_are_named_as_far_as_wanted() -> None:
    real = "".join(bodies(TALK, Heading(), signature=Signature.REAL, texts=ZH))
    assert "**杨帆**" in real
    assert "**老杨**" not in real
    nobody = "".join(bodies(TALK, Heading(), signature=Signature.ANONYMOUS, texts=ZH))
    assert "**成员1**" in nobody
    assert "**成员2**" in nobody
    assert "> 成员1: 昨晚" in nobody
    assert not any(name in nobody for name in ("杨", "知行"))


def test_two_of_one_name_are_told_apart() -> None:
    body = "".join(bodies([line(0, "1", "a"), line(1, "3", "b")], Heading(), signature=Signature.ALIAS, texts=ZH))
    assert "**老杨**" in body
    assert "**老杨 (2)**" in body


def test_every_place_is_masked_and_neutral() -> None:
    bad = "@octocat #12 13800006021 </details>\n/close"
    lines = [FrozenLine(1, "x", bad, bad, AT, bad, bad, bad)]
    for body in (
        *bodies(lines, Heading(bad, bad, bad, bad), signature=Signature.ALIAS, texts=ZH),
        comment_body(bad, ZH),
    ):
        assert "13800006021" not in body
        tokens = flat(PARSER.parse(body))
        allowed = HARMLESS | {
            "strong_open",
            "strong_close",
            "em_open",
            "em_close",
            "blockquote_open",
            "blockquote_close",
        }
        assert {token.type for token in tokens} <= allowed
        assert not any(
            pattern.search(token.content) for token in tokens for pattern in REFERENCES if token.type == "text"
        )
        assert "\n/" not in body


def test_a_long_talk_overflows_in_order() -> None:
    lines = [line(n, "1", f"第{n}句" + "&" * 3900) for n in range(40)]
    written = bodies(lines, HEADING, signature=Signature.REAL, texts=ZH)
    assert len(written) > 2
    assert all(len(body) <= BUDGET for body in written)
    places = ["".join(written).index(f"第{n}句") for n in range(40)]
    assert places == sorted(places)


def test_the_worst_message_fits() -> None:
    (one,) = [FrozenLine(1, "x", "n", "n", AT, "&" * LONGEST)]
    assert all(len(body) <= BUDGET for body in bodies([one], Heading(), signature=Signature.REAL, texts=ZH))
    assert len(comment_body("&" * 100_000, ZH)) <= BUDGET


def test_a_long_comment_is_whole_or_says_that_it_is_not() -> None:
    assert comment_body("一二三四。" * 4000, ZH).count("一二三四") == 4000
    assert comment_body("&" * 20_000, ZH).endswith("（后面的内容太长，没有写上）")


def test_no_secret_is_cut_through() -> None:
    for place in range(105, 125):
        assert "138" not in title_of("中" * place + "13800006021", ZH)
        short = shortened_title("中" * place + "13800006021" + "文" * 40)
        assert "138" not in short.replace("13800006021", "")
    assert "1380" not in frozen_words("text", "中" * (LONGEST - 5) + "13800006021", {}, [], ZH)


def test_a_tracker_takes_the_longest_title() -> None:
    assert len(title_of("👩‍💻" * 121, ZH)) <= 256
    assert len(title_of("e\u0301\u0302\u0303" * 121, ZH)) <= 256
    assert len(title_of("@a#1" * 60, ZH)) <= 256


def test_who_has_no_name_in_the_group_is_named_by_a_number() -> None:
    lines = [line(0, "2", "a"), line(1, "1", "b", quoted=("陆知行", "a")), line(2, "1", "c", quoted=("外人", "d"))]
    body = "".join(bodies(lines, Heading(), signature=Signature.ALIAS, texts=ZH))
    assert "陆知行" not in body
    assert "外人" not in body
    assert "> 成员1: a" in body


def test_titles_are_short_and_whole() -> None:
    assert title_of("  主从\n切换 ", ZH) == "主从 切换"
    assert shortened_title("👩‍💻" * 121) == "👩‍💻" * 119 + "…"
    assert title_of("@octocat 打 13800006021 #1", ZH) == f"@{BREAK}octocat 打 [手机号已隐去] #{BREAK}1"


@pytest.mark.parametrize(
    ("kind", "text", "content", "files", "words"),
    [
        ("text", " 你好 ", {}, [], "你好"),
        ("image", "", {}, [FrozenFile("a.png", 12_345)], "[图片 12 KB]"),
        ("image", "看这里", {}, [FrozenFile("a.png")], "[图片]\n看这里"),
        ("voice", "", {}, [FrozenFile("v.amr", 9000, 12)], "[语音 12秒]"),
        ("voice", "明天发货", {}, [FrozenFile("v.amr", 9000, 12)], "[语音 12秒]\n明天发货"),
        ("other", "[红包]", {"type": "wechat_12"}, [], "[红包]"),
        ("file", "", {}, [FrozenFile("日志.zip", 3_565_158)], "[文件 日志.zip 3.4 MB]"),
        ("file", "", {}, [FrozenFile("日志.zip", fetched=False)], "[文件 日志.zip 没有取到]"),
        ("location", "", {"name": "总部", "address": "海淀"}, [], "[位置] 总部 海淀"),
        ("link", "", {"title": "文档", "url": "https://a.example"}, [], "[链接] 文档 https://a.example"),
        ("merged", "", {"title": "群聊", "items": [{"sender": "甲", "text": "一"}, {"text": "二"}, 3]}, [],
         "[聊天记录] 群聊\n甲: 一\n二"),
        ("other", "", {"raw": 1}, [], "[其他消息]"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_said_in_words(
    kind: str, text: str, content: dict[str, object], files: list[FrozenFile], words: str
) -> None:
    assert frozen_words(kind, text, content, files, ZH) == words


@pytest.mark.parametrize(
    ("texts", "title"),
    [
        (
            ["大家好，请问", "昨晚主库切了一次，增量同步丢了两三秒的数据", "+1"],
            "昨晚主库切了一次，增量同步丢了两三秒的数据",
        ),
        (["@陈默 你好，导出报表支持按团队筛选吗？谢谢"], "导出报表支持按团队筛选吗？"),
        (["打我电话 13800006021，授权码激活失败"], "打我电话 ，授权码激活失败"),
        (["[图片 12 KB]"], "[图片 12 KB]"),
        ([""], "来自对话的工单"),
        (["一" * 100 + "报错"], "一" * 39 + "…"),
        (
            ["中文路径下备份失败，日志里写的是编码错误，重启以后还是一样，我们试了三台机器都是这样的"],
            "中文路径下备份失败，日志里写的是编码错误，重启以后还是一样",
        ),
    ],
)
def test_a_title_is_taken_from_what_was_said(texts: list[str], title: str) -> None:
    assert extracted([line(n, "1", text) for n, text in enumerate(texts)], ZH).title == title
