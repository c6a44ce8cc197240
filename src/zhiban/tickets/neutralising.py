"""Words of others as Markdown that says nothing but these words.

Whoever writes in a chat must not be able to call people, link to issues, close our own markup or command a bot at the
tracker. So everything that means something in Markdown is escaped, and what is read after Markdown (@name, #12, GH-1)
is broken by a character of no width, which no escape can do.
"""

from __future__ import annotations

import re

from zhiban.assistant.normalising import visible
from zhiban.kit.patterns import lazy_pattern

BREAK = "\u200b"  # of no width: between a sign and the name or number that would make it a reference

_URL = lazy_pattern(r"https?://[^\s<>\\`\"'|，。；：！？）】》、“”\u0000-\u0020]{1,2000}", re.IGNORECASE)
_URL_END = ".,;:!?)]}*_~&"
# A link there from an issue would be told to those who follow what it names; this address of theirs tells nobody.
_GITHUB = lazy_pattern(r"\Ahttps?://(?:[^/@\s]*@)?(?:www\.)?github\.com\.?(?::[0-9]{1,5})?(?=[/?#]|\Z)", re.IGNORECASE)
_QUIET = "https://redirect.github.com"
_BARE_GITHUB = lazy_pattern(r"(github)\.(?=com)", re.IGNORECASE)

_ESCAPED = str.maketrans(
    {"<": "&lt;", ">": "&gt;", "&": "&amp;", **{sign: f"\\{sign}" for sign in "\\`*_[]~|$!^{}"}}
)  # fmt: skip
_AT = re.compile(r"@")
_NUMBER = re.compile(r"#(?=[0-9])")
_GH = re.compile(r"\b(GH)-(?=[0-9])", re.IGNORECASE)
_LEADING = re.compile(r"\A(?P<blank>\s*)(?P<sign>[-+=#/:]|[0-9]{1,9}(?=[.)]))?")
_WWW = re.compile(r"\b(www)\.", re.IGNORECASE)


def neutral(text: str) -> str:
    """Markdown whose rendering shows exactly this text, line by line. Web addresses become plain links."""
    return "\n".join(_line(line) for line in _lines(text))


def neutral_line(text: str) -> str:
    """The same on one line."""
    return _line(" ".join(_lines(text)))


def neutral_words(text: str) -> str:
    """The same on one line and without any link: what a link of ours is called."""
    return _words(" ".join(_lines(text)).strip(), first=False)


def neutral_title(text: str) -> str:
    """A title, which is no Markdown: one line in which nothing refers to anybody or anything."""
    return _broken(" ".join(visible(text).split()))


def _lines(text: str) -> list[str]:
    return visible(text.replace("\r\n", "\n").replace("\r", "\n")).replace("\t", "    ").splitlines() or [""]


def _line(line: str) -> str:
    out: list[str] = []
    end = 0
    line = line.rstrip()
    for match in _URL.finditer(line):
        address = match[0].rstrip(_URL_END)
        link = _link(address)
        if link is None:
            continue
        out += (_words(line[end : match.start()], first=not end), link)
        end = match.start() + len(address)
    out.append(_words(line[end:], first=not end))
    return "".join(out)


def _link(address: str) -> str | None:
    """An address between angle brackets, in which nothing else is read; None for one that would end them."""
    address = _GITHUB.sub(_QUIET, address)
    scheme, _, rest = address.partition("://")
    if not rest or not rest[0].isalnum() or "github.com" in address.removeprefix(_QUIET).casefold():
        return None
    return f"<{scheme.lower()}://{rest}>"


def _words(text: str, *, first: bool) -> str:
    if not first:
        return _broken(text.translate(_ESCAPED))
    leading = _LEADING.match(text)
    assert leading is not None  # the pattern fits the empty text
    sign = leading["sign"] or ""
    rest = text[leading.end() :]
    # Blanks in front would make a block of code; kept, as they order what people paste.
    blank = "&nbsp;" * len(leading["blank"])
    if sign.isdecimal():
        return f"{blank}{sign}\\{_after_sign(rest)}"
    return f"{blank}{chr(92) if sign else ''}{_broken(sign + rest.translate(_ESCAPED))}"


def _after_sign(rest: str) -> str:
    return rest[:1] + _broken(rest[1:].translate(_ESCAPED))


def _broken(text: str) -> str:
    text = _AT.sub(f"@{BREAK}", text)
    text = _NUMBER.sub(f"#{BREAK}", text)
    text = _BARE_GITHUB.sub(rf"\1.{BREAK}", text)
    text = _WWW.sub(rf"\1{BREAK}.", text)
    return _GH.sub(rf"\1-{BREAK}", text)
