"""Hostile words come out of a real Markdown parser as these words and nothing else."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from zhiban.assistant.normalising import visible
from zhiban.tickets.neutralising import BREAK, neutral, neutral_line, neutral_title, neutral_words

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HARMLESS = {"paragraph_open", "paragraph_close", "inline", "text", "softbreak", "hardbreak", "link_open", "link_close"}
# What the tracker reads in the text after Markdown.
REFERENCES = (
    re.compile(r"@[A-Za-z0-9]"),
    re.compile(r"#[0-9]"),
    re.compile(r"\bGH-[0-9]", re.IGNORECASE),
    re.compile(r"github\.com", re.IGNORECASE),
    re.compile(r"\bwww\.", re.IGNORECASE),
)


def flat(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *flat(token.children or []))]


def check(markdown: str) -> str:
    """The text that is shown; fails when anything but plain text and plain links comes out."""
    shown: list[str] = []
    inside_link = False
    for token in flat(PARSER.parse(markdown)):
        assert token.type in HARMLESS, (token.type, markdown)
        if token.type == "link_open":
            href = str(token.attrs["href"])
            assert token.markup == "autolink"
            assert href.startswith(("http://", "https://"))
            assert "github.com" not in href.replace("https://redirect.github.com", "").lower()
            inside_link = True
        elif token.type == "link_close":
            inside_link = False
        elif token.type == "text":
            shown.append(token.content)
            if not inside_link:
                assert not any(pattern.search(token.content) for pattern in REFERENCES), token.content
        elif token.type in ("softbreak", "hardbreak", "paragraph_close"):
            shown.append("\n")
    assert not re.search(r"^\s*/", markdown, re.MULTILINE), "a bot would obey"
    return "".join(shown).replace(BREAK, "")


def squeezed(text: str) -> str:
    return "".join(text.split())


NASTY = [
    "@octocat 看一下", "@qinghe/core", "&#64;octocat", "&#x40;octocat", "&commat;octocat", "\\@octocat", "a@b.example",
    "#123", "见 #96 和 #112", "GH-1", "gh-12", "qinghe/sync#1", "&#35;123", "&num;123", "fixes #12",
    "https://github.com/qinghe/sync/issues/1", "http://www.github.com/a/b/pull/2", "HTTPS://GITHUB.COM/a/b/issues/3",
    "https://github.com:443/a/b/issues/1", "https://github.com./a/b/issues/1", "https://x@github.com/a/b/issues/1",
    "github.com/a/b/issues/1", "www.github.com/a/b/issues/1", "www.evil.example",
    "https://a.example/?u=https://github.com/a/b/issues/1",
    "<b>x</b>", "<script>alert(1)</script>", "<!-- zhiban:draft=1 -->", "</details>", "<img src=x onerror=y>",
    "<https://a.example>",
    "![x](https://a.example/x.png)", "[x](javascript:alert(1))", "[x]: https://a.example", "[^1]", "[[x]]",
    "```\n/close\n```", "~~~\nx\n~~~", "`code`", "``` js", "\u2003/close", "\u205f \u1680/close",
    "    indented", "\tindented", "\u3000/close",
    "/close", "  /approve", "x\n/lgtm cancel\ny", "\u00a0/close",
    "# heading", "#heading", "> quote", "- item", "+ item", "* item", "1. item", "1) item", "123456789. x",
    "---", "***", "___", "===",
    "title\n===", "title\n---", "|a|b|\n|-|-|\n|1|2|", "a | b\n--- | ---", ":-- | --:", "*em* _em_ **b** ~~s~~",
    "$x$ $$y$$",
    "> [!NOTE]\n> x", "\\", "\\\\", "a\\\nb", "a  \nb", "&lt;b&gt;", "&amp;#64;x", "\u200b@\u200boctocat",
    "\u202e/close",
    "- [ ] task", "https://a.example/a_b*c(d)", "https://a.example/x#123", "见https://a.example。",
    "https://a.example/<b>", "https://", "http://@x",
    "---\nfoo: bar\n---", "a\r\n/close", "a\r/close", "a\u2028/close", "a\x0b/close", "a\x85/close", ":::note",
    "x\n\n\n\ny",
    "-\n-", "2.", "3)", "  1. x", "\ufeff# x", "\x00/close", "^", "{{x}}", "!", "![", "&nbsp;/close", "=", "=-",
    "+1，等修", "http://www.x.example",
]  # fmt: skip


def test_nothing_in_it_means_anything() -> None:
    for text in NASTY:
        check(neutral(text))
        check(neutral_line(text))


@given(st.sampled_from(NASTY) | st.text(max_size=120))
def test_what_a_link_of_ours_is_called_makes_no_other_link(text: str) -> None:
    tokens = flat(PARSER.parse(f"[{neutral_words(text) or 'x'}](https://desk.example/f/1)"))
    assert {token.type for token in tokens} <= HARMLESS
    assert [token.attrGet("href") for token in tokens if token.type == "link_open"] == ["https://desk.example/f/1"]
    shown = "".join(token.content for token in tokens if token.type == "text")
    assert not any(pattern.search(shown) for pattern in REFERENCES)


def test_all_of_it_is_shown() -> None:
    for text in NASTY:
        if "github" not in text.lower():
            assert squeezed(check(neutral(text))) == squeezed(visible(text.replace("\r", "\n"))), text


def test_addresses_stay_links_that_tell_nobody() -> None:
    assert neutral("见 https://docs.qinghe.example/a_b?x=1。") == "见 <https://docs.qinghe.example/a_b?x=1>。"
    assert neutral("https://github.com/qinghe/sync/issues/1") == "<https://redirect.github.com/qinghe/sync/issues/1>"


def test_a_title_refers_to_nobody() -> None:
    title = neutral_title("@octocat\n见 #12")
    assert not any(pattern.search(title) for pattern in REFERENCES)
    assert title.replace(BREAK, "") == "@octocat 见 #12"


@given(st.lists(st.sampled_from([*NASTY, "\n", " ", "x", "一"]), max_size=6).map("".join) | st.text(max_size=120))
@example("1\n.")
def test_nothing_that_anybody_writes_means_anything(text: str) -> None:
    shown = check(neutral(text))
    if "github" not in text.lower():
        assert squeezed(shown) == squeezed("\n".join(visible(text.replace("\r", "\n")).splitlines()))
    check(neutral_line(text))


@given(st.lists(st.sampled_from(["@a", "#1", "/close", "<b>", "- x", "    x", "```", "一"]), max_size=8).map("\n".join))
def test_inside_a_quotation_it_means_nothing_either(text: str) -> None:
    markdown = "\n".join(f"> {line}" for line in neutral(text).split("\n"))
    kinds = {token.type for token in flat(PARSER.parse(markdown))}
    assert kinds <= HARMLESS | {"blockquote_open", "blockquote_close"}
