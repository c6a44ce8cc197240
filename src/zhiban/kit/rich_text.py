"""Text with a few marks of Markdown, which its writer chose to mean as such: **strong**, *emphasis*, `code`, links,
lists and code between three backticks. Everything else, and a mark behind a backslash, is a letter like any other.

Other than in Markdown, marks need no blank beside Chinese, and in 2*3*4 or snake_case there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class InlineCode:
    text: str


@frozen_dataclass
class Link:
    """`url` is http or https."""

    text: str
    url: str


@frozen_dataclass
class Strong:
    inside: tuple[Inline, ...]


@frozen_dataclass
class Emphasis:
    inside: tuple[Inline, ...]


Inline = str | InlineCode | Link | Strong | Emphasis


@frozen_dataclass
class Paragraph:
    lines: tuple[tuple[Inline, ...], ...]


@frozen_dataclass
class Item:
    """`mark` is what it begins with: a dash, or a number with its point as the writer wrote them."""

    mark: str
    words: tuple[Inline, ...]


@frozen_dataclass
class Listing:
    ordered: bool
    items: tuple[Item, ...]


@frozen_dataclass
class CodeBlock:
    text: str


RichBlock = Paragraph | Listing | CodeBlock

_FENCE = re.compile(r"^\s{0,3}```[^`]*$")
_ITEM = re.compile(r"^\s{0,6}(?:[-*]|(?P<number>\d{1,3}[.)、]))[ \t]+(?P<words>.*\S.*)$")
_PIECE = re.compile(
    r"(?P<escaped>\\[\\`*\[\]])"
    r"|(?P<code>`[^`\n]+`)"
    r"|\[(?P<words>[^\[\]\n]+)\]\((?P<url>https?://[^\s()<>]+(?:\([^\s()<>]*\)[^\s()<>]*)*)\)"
    r"|(?P<bare>https?://[^\s<>\"'`*，。；：！？）】》、“”]+[^\s<>\"'`*，。；：！？）】》、“”.,;:!?)\]])"
    r"|(?P<strong>(?<![A-Za-z0-9*])\*\*(?=[^\s*]))"
    r"|(?P<emphasis>(?<![A-Za-z0-9*])\*(?=[^\s*]))"
)
_END = {"**": re.compile(r"(?<![\s*\\])\*\*(?![A-Za-z0-9*])"), "*": re.compile(r"(?<![\s*\\])\*(?![A-Za-z0-9*])")}
_SPECIAL = re.compile(r"[\\`*\[\]]")


def escaped(text: str) -> str:
    """The text so that nothing of it is a mark."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def blocks(source: str) -> tuple[RichBlock, ...]:
    """What the text says, block by block."""
    found: list[RichBlock] = []
    lines = source.replace("\r\n", "\n").strip("\n").split("\n")
    at = 0
    while at < len(lines):
        end = _closing(lines, at)
        if end is not None:
            found.append(CodeBlock("\n".join(lines[at + 1 : end])))
            at = end + 1
            continue
        same = at
        while same < len(lines) and _kind(lines, same) == _kind(lines, at):
            same += 1
        kind = _kind(lines, at)
        if kind in ("ordered", "bullets"):
            found.append(Listing(kind == "ordered", tuple(_item(line) for line in lines[at:same])))
        elif kind == "words":
            found.append(Paragraph(tuple(tuple(inline(line)) for line in lines[at:same])))
        at = same
    return tuple(found)


def _closing(lines: list[str], at: int) -> int | None:
    """The line that ends the code which begins here; None where none does."""
    if not _FENCE.match(lines[at]):
        return None
    return next((n for n in range(at + 1, len(lines)) if lines[n].strip() == "```"), None)


def _kind(lines: list[str], at: int) -> str:
    if not lines[at].strip():
        return "empty"
    if _closing(lines, at) is not None:
        return f"code {at}"
    item = _ITEM.match(lines[at])
    return "words" if item is None else "ordered" if item["number"] else "bullets"


def _item(line: str) -> Item:
    found = _ITEM.match(line)
    assert found is not None
    return Item(found["number"] or "-", tuple(inline(found["words"])))


def inline(line: str) -> Iterator[Inline]:
    """The words of one line."""
    letters = ""
    at = 0
    while piece := _PIECE.search(line, at):
        letters += line[at : piece.start()]
        at = piece.end()
        whole = piece[0]
        made: Inline
        if piece["escaped"]:
            letters += whole[1]
            continue
        if piece["code"]:
            made = InlineCode(whole[1:-1])
        elif piece["url"]:
            made = Link(_bare(piece["words"]), piece["url"])
        elif piece["bare"]:
            made = Link(whole, whole)
        else:
            end = _END[whole].search(line, at)
            if end is None:
                letters += whole
                continue
            inside = tuple(inline(line[at : end.start()]))
            made = Strong(inside) if whole == "**" else Emphasis(inside)
            at = end.end()
        if letters:
            yield letters
        letters = ""
        yield made
    if letters + line[at:]:
        yield letters + line[at:]


def _bare(text: str) -> str:
    return re.sub(r"\\([\\`*\[\]])", r"\1", text)


def plain(source: str) -> str:
    """The words without the marks, for where no formatting can be shown; the address of a link stands behind it."""
    return "\n\n".join(_plain_block(block) for block in blocks(source))


def _plain_block(block: RichBlock) -> str:
    match block:
        case Paragraph(lines=lines):
            return "\n".join(map(_plain_words, lines))
        case Listing(items=items):
            return "\n".join(f"{item.mark} {_plain_words(item.words)}" for item in items)
        case CodeBlock(text=text):
            return text


def _plain_words(words: tuple[Inline, ...]) -> str:
    return "".join(map(_plain_word, words))


def _plain_word(word: Inline) -> str:
    match word:
        case str():
            return word
        case InlineCode(text=text):
            return text
        case Link(text=text, url=url):
            return url if text == url else f"{text}（{url}）"
        case Strong(inside=inside) | Emphasis(inside=inside):
            return _plain_words(inside)
