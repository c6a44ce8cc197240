"""What only one forge reads means nothing there either, in texts and in titles, whatever people write."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.tickets.test_neutralising import HARMLESS, NASTY, flat

from zhiban.assistant.normalising import visible
from zhiban.integrations.forges.writing import BREAK, Silencer, cut
from zhiban.integrations.gitea.tracker import SIGNS as GITEA_SIGNS
from zhiban.integrations.gitee.tracker import SIGNS as GITEE_SIGNS
from zhiban.integrations.gitlab.tracker import SIGNS as GITLAB_SIGNS
from zhiban.tickets.neutralising import neutral, neutral_title

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
BASE = "https://git.example:8443/api"
# What each reads in the text after Markdown, by its own description of references.
READS = {
    "gitea": (r"[!#][0-9]", r"@\w"),
    "gitee": (r"[!#][0-9]", r"#[Ii][0-9A-Za-z]", r"@\w"),
    "gitlab": (
        r"[!$&#][0-9]", r"~[\"\w]", r"%[\"\w]", r"\^alert", r"\*iteration:", r"\[\[", r"\[\w+:", r"GL-[0-9]",
        r"@\w",
    ),
}  # fmt: skip
SILENCERS = {
    "gitlab": Silencer(GITLAB_SIGNS, BASE),
    "gitea": Silencer(GITEA_SIGNS, BASE),
    "gitee": Silencer(GITEE_SIGNS, BASE),
}
LIVE = [
    "!12", "acme/shop!12", "~bug", '~"two words"', "~12", "%v1", '%"two words"', "100%完成", "$12", "&12", "group&12",
    "&amp;12", "[vulnerability:12]", "[feature_flag:a/b/1]", "[work_item:3]", "[cadence:\"x\"]", "^alert#12",
    '*iteration:"x"', "[[Wiki]]", "GL-12", "@all", "/close", "/assign @me", "/label ~bug", "x\n/merge", "#I2YRAH",
    "#i2yrah", "acme/shop#I2YRAH", "#12", "!I2YRAH", "&#33;12", "!&#8203;12",
    "https://git.example/acme/shop/-/issues/1", "HTTPS://GIT.EXAMPLE:8443/a/b/-/merge_requests/3",
    "https://git.example./a/b/issues/1", "https://x@git.example/a/b/issues/1", "https://www.git.example/a/b/pulls/1",
    "https://git.example/a/b/-/issues/1?github.com", "http://git.example/a/b/issues/1#x.github.com",
    "https://git.example/a/b/issues/1`@github.com", "https://other.example/a/b/issues/1", "见https://git.example/a/b/issues/1。",
]  # fmt: skip
PIECES = st.lists(st.sampled_from([*LIVE, *NASTY, "\n", " ", "x", "一"]), max_size=6)
WRITTEN = PIECES.map("".join) | st.text(max_size=120)


def check(name: str, markdown: str) -> str:
    """The text that is shown; fails when something in it is read."""
    shown: list[str] = []
    for token in flat(PARSER.parse(markdown)):
        assert token.type in HARMLESS | {"code_inline"}, (token.type, markdown)
        if token.type == "link_open":
            assert "git.example" not in str(token.attrs["href"]).lower().partition("?")[0].split("/")[2]
        elif token.type == "text" and not (shown and shown[-1] == "<link>"):
            shown.append(token.content)
            assert not re.search(r"https?://[^\s\u200b/?#]*git\.example", token.content, re.IGNORECASE), markdown
            for pattern in READS[name]:
                assert not re.search(pattern, token.content), (pattern, token.content)
        elif token.type in ("text", "code_inline"):
            shown.append(token.content)
        elif token.type in ("softbreak", "hardbreak", "paragraph_close"):
            shown.append("\n")
        if token.type == "link_open":
            shown.append("<link>")
    assert not re.search(r"(?m)^\s*/", markdown), "it would be obeyed"
    return "".join(one for one in shown if one != "<link>").replace(BREAK, "")


def check_title(name: str, title: str) -> None:
    for pattern in READS[name]:
        assert not re.search(pattern, title), (pattern, title)
    assert not re.search(r"https?://[^\s\u200b]*git\.example", title, re.IGNORECASE), title


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("name", SILENCERS)
def test_what_it_reads_it_reads_no_more(name: str) -> None:
    for text in (*LIVE, *NASTY):
        shown = check(name, SILENCERS[name].body(neutral(text)))
        if "github" not in text.lower():
            assert squeezed(shown).casefold() == squeezed(visible(text.replace("\r", "\n"))).casefold(), text
        check_title(name, SILENCERS[name].title(neutral_title(text), longest=255))


@pytest.mark.parametrize("name", SILENCERS)
@settings(max_examples=80)
@given(text=WRITTEN)
def test_whatever_anybody_writes(name: str, text: str) -> None:
    check(name, SILENCERS[name].body(neutral(text)))
    check_title(name, SILENCERS[name].title(neutral_title(text), longest=255))


def test_an_address_of_its_own_is_shown_and_others_lead_there() -> None:
    body = SILENCERS["gitlab"].body(neutral("见 https://git.example/a/-/issues/1 和 https://x.example/a!1"))
    assert body == "见 `https://git.example/a/-/issues/1` 和 <https://x.example/a!1>"


def test_what_is_cut_keeps_whole_characters() -> None:
    family = "👨‍👩‍👧"
    assert cut("短", 255) == "短"
    assert cut(family * 3, 9) == f"{family}…"
    assert len(cut("字" * 300, 191)) == 191
