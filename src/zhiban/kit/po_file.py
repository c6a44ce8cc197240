"""Read gettext's .po files, as far as ours go: plain and plural messages, fuzzy marks, no contexts.

A compiled .mo would be one more file that can be forgotten or stale; reading ours takes a few milliseconds once. The
tests compare this reader with babel's on the catalogues we ship.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r'(?:(?P<keyword>msgid_plural|msgid|msgstr(?:\[(?P<form>\d+)\])?)\s+)?"(?P<text>(?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_MEANING = {"n": "\n", "t": "\t", "r": "\r"}


class MalformedCatalogue(ValueError):
    """A line is none that we know."""


@dataclass(slots=True)
class Message:
    """One entry. `strings` has one text, or one for each plural form."""

    id: str = ""
    plural: str | None = None
    strings: list[str] = field(default_factory=list)
    fuzzy: bool = False


def messages(path: Path) -> Iterator[Message]:
    """Every message but the header, in the order of the file. Raises MalformedCatalogue with the line's number."""
    for paragraph in _paragraphs(path):
        message = _message(path, paragraph)
        if message is not None and message.id:
            yield message


def _paragraphs(path: Path) -> Iterator[list[tuple[int, str]]]:
    """Lines with their numbers, one message at a time: a `msgid` begins the next, comments before it belong to it."""
    lines: list[tuple[int, str]] = []
    complete = False
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        line = line.strip()
        if complete and (line.startswith("#") or (line.startswith("msgid") and not line.startswith("msgid_plural"))):
            yield lines
            lines, complete = [], False
        complete = complete or line.startswith("msgstr")
        if line:
            lines.append((number, line))
    if lines:
        yield lines


def _message(path: Path, lines: list[tuple[int, str]]) -> Message | None:
    message = Message()
    keyword = ""
    for number, line in lines:
        if line.startswith("#"):
            message.fuzzy = message.fuzzy or (line.startswith("#,") and "fuzzy" in line)
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise MalformedCatalogue(f"{path.name}, line {number}: {line!r} is no line of a catalogue.")
        text = _ESCAPE.sub(lambda escape: _MEANING.get(escape[1], escape[1]), found["text"])
        if found["keyword"]:
            keyword = found["keyword"].partition("[")[0]
            if keyword == "msgstr":
                message.strings.append("")
        match keyword:
            case "msgid":
                message.id += text
            case "msgid_plural":
                message.plural = (message.plural or "") + text
            case "msgstr":
                message.strings[-1] += text
            case _:
                raise MalformedCatalogue(f"{path.name}, line {number}: a text stands before its msgid.")
    return message if keyword else None
