"""Two languages, complete; times as people say them; text that others wrote, made safe."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from zhiban.kit.i18n import Texts, to_locale
from zhiban.web.prose import prose
from zhiban.web.render import filesize, hue, initials

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)  # two in the afternoon in China
ZH, EN = Texts("zh"), Texts("en")


@pytest.mark.parametrize(
    ("at", "chinese", "english"),
    [
        (NOW - timedelta(seconds=20), "刚刚", "now"),
        (NOW - timedelta(minutes=3), "13:57", "13:57"),
        (NOW - timedelta(days=1), "昨天", "Yesterday"),
        (datetime(2026, 9, 12, 1, 0, tzinfo=UTC), "9月12日", "12 Sep"),
        (datetime(2025, 3, 31, 1, 0, tzinfo=UTC), "2025-03-31", "2025-03-31"),
    ],
)
def test_a_time_is_said_as_short_as_it_can_be(at: datetime, chinese: str, english: str) -> None:
    assert ZH.when(at, NOW) == chinese
    assert EN.when(at, NOW) == english


def test_the_day_turns_at_midnight_in_china() -> None:
    assert ZH.day(datetime(2026, 11, 19, 16, 1, tzinfo=UTC), NOW) == "今天"
    assert ZH.day(datetime(2026, 11, 19, 15, 59, tzinfo=UTC), NOW) == "昨天"


def test_waiting_and_what_is_left() -> None:
    assert [ZH.waiting(NOW - timedelta(minutes=m), NOW) for m in (0, 2, 125, 3000)] == [
        "刚刚",
        "等2分",
        "等2小时",
        "等2天",
    ]
    assert ZH.span(timedelta(hours=47, minutes=59)) == "47小时"
    assert ZH.span(timedelta(seconds=3)) == "1分"


def test_english_counts_one_and_many() -> None:
    assert EN.n("{n}条新消息", 1) == "1 new message"
    assert EN.n("{n}条新消息", 2) == "2 new messages"
    assert ZH.n("{n}条新消息", 2) == "2条新消息"


def test_a_raised_sentence_is_read_in_chinese_with_its_values() -> None:
    assert ZH.error("The password needs at least 10 characters.") == "密码至少要10个字符。"
    assert EN.error("There is no such conversation.") == "There is no such conversation."
    assert ZH.error("A sentence nobody has translated.") == "A sentence nobody has translated."


@pytest.mark.parametrize(
    ("header", "locale"), [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-GB,en", "en"), ("fr,en;q=0.5", "en"), ("", "zh")]
)
def test_the_browser_asks_for_a_language(header: str, locale: str) -> None:
    assert to_locale(header) == locale


def test_what_people_write_cannot_become_markup() -> None:
    written = '<img src=x onerror=alert(1)> `a<b` https://x.example/?a=1&b="2 [1] [9]\n第二行'
    html = str(prose(written, sources=1))
    assert "<img" not in html
    assert "<code>a&lt;b</code>" in html
    assert '<span class="cite">1</span>' in html
    assert "[9]" in html
    assert "<br>第二行" in html
    assert 'rel="noopener noreferrer nofollow"' in html
    assert "javascript:" not in str(prose("javascript:alert(1)")).replace("javascript:alert(1)", "", 1)


def test_a_link_ends_before_chinese_punctuation() -> None:
    assert 'href="https://a.example/退款"' in str(prose("请看https://a.example/退款，谢谢"))


def test_avatars() -> None:
    assert [initials(name) for name in ("周予安", "林晓", "Ada Lovelace", "bob", "")] == [
        "予安",
        "林晓",
        "AL",
        "BO",
        "?",
    ]
    assert hue(7) == hue("7")
    assert {hue(key) for key in range(200)} == {1, 2, 3, 4, 5, 6}
    assert [filesize(size) for size in (None, 12, 3277, 5_000_000)] == ["", "12 B", "3.2 KB", "4.8 MB"]


def test_every_icon_in_use_is_in_the_sprite_and_none_is_left_over() -> None:
    named = set(json.loads((ROOT / "frontend" / "icons.json").read_text("utf-8")))
    source = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "src" / "zhiban").rglob("*") if path.suffix in (".html", ".py")
    )
    used = {word for call in re.findall(r"icon\(([^()]*)\)", source) for word in re.findall(r'"([a-z-]+)"', call)}
    sizes = {"s", "xs", "l"}
    assert not {word for word in used - sizes if word not in named} - {"tonight", "morning", "wecom", "group", "file"}
    words = set(re.findall(r'"([a-z-]+)"', source))
    assert named <= words


def test_no_template_styles_or_scripts_inline() -> None:
    for path in (ROOT / "src" / "zhiban").rglob("templates/**/*.html"):
        text = path.read_text("utf-8")
        assert " style=" not in text, path
        assert not re.search(r'<script(?![^>]*\b(?:src=|type="application/json"))', text), path  # data does not run
        assert not re.search(r"\son[a-z]+=", text), path
        assert "hx-on" not in text, path
        assert '"js:' not in text, path
