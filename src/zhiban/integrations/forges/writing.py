"""Texts as they leave for a forge, and what it made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from zhiban.kit.text import graphemes
from zhiban.ports import Issue, OpenedIssue, TrackerRefused

BREAK: Final = "\u200b"  # of no width: between a sign and the name or number that would make it a reference

_ADDRESS = re.compile(r"<(https?://[^<>\s`]+)>")
_BARE = re.compile(r"(https?://)(?=(\S+))", re.IGNORECASE)


class Silencer:
    """Takes their meaning from words that only one forge reads, in Markdown that says nothing else any more.

    `signs` fits a sign behind which a reference would begin. `base` is the forge's own address: a link to itself it
    tells to those who follow what it leads to, so it is shown as code, of which it reads nothing.
    """

    def __init__(self, signs: re.Pattern[str], base: str) -> None:
        self._signs = signs
        self._host = host_of(base)

    def body(self, markdown: str) -> str:
        """The same text to whoever reads it."""
        pieces = _ADDRESS.split(markdown)
        for place, piece in enumerate(pieces):
            if place % 2 == 0:
                pieces[place] = self._signs.sub(rf"\g<0>{BREAK}", self._bare(piece))
            else:
                pieces[place] = f"`{piece}`" if self._is_own(piece) else f"<{piece}>"
        return "".join(pieces)

    def title(self, title: str, *, longest: int) -> str:
        """A title, which is no Markdown, of at most so many characters."""
        return cut(self._signs.sub(rf"\g<0>{BREAK}", self._bare(title)), longest)

    def _bare(self, text: str) -> str:
        """An address of its own in the middle of words is none any more."""
        return _BARE.sub(lambda found: found[1] + (BREAK if self._is_own(found[1] + found[2]) else ""), text)

    def _is_own(self, address: str) -> bool:
        return bool(self._host) and host_of(address) == self._host


def host_of(address: str) -> str:
    """The name of the machine, without what does not change where it leads to."""
    try:
        return (urlsplit(address).hostname or "").rstrip(".").removeprefix("www.")
    except ValueError:
        return ""


def cut(text: str, longest: int) -> str:
    """The text, or its beginning and a mark; nothing that a reader sees as one character is cut."""
    if len(text) <= longest:
        return text
    kept, room = "", longest - 1
    for grapheme in graphemes(text):
        if len(kept) + len(grapheme) > room:
            break
        kept += grapheme
    return f"{kept}…"


def within(body: str, limit: int) -> str:
    """The body. Raises TrackerRefused for one that the forge would refuse."""
    if len(body) > limit:
        raise TrackerRefused("invalid", hint=f"A text has at most {limit} characters.")
    return body


def titled(title: str) -> str:
    """The title. Raises TrackerRefused for one that says nothing."""
    if not title.strip():
        raise TrackerRefused("invalid", hint="A title has at least one character.")
    return title


def outcome(issue: Issue, labels: Sequence[str], assignees: Sequence[str]) -> OpenedIssue:
    """What we asked for and is not there, the forge has dropped without a word."""
    given = {name.lower() for name in issue.labels}
    taken = {name.lower() for name in issue.assignees}
    return OpenedIssue(
        issue,
        tuple(name for name in labels if name.lower() not in given),
        tuple(name for name in assignees if name.lower() not in taken),
    )
