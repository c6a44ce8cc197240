"""Text as the wire and the database want it: cut by bytes, never inside what a reader sees as one character."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_LINE_ENDS = frozenset(("\n", "\r\n", "\r"))
_SENTENCE_ENDS = frozenset("。！？!?；;…")
_CLAUSE_ENDS = frozenset("，、,：: \t\u3000")
_CLOSERS = frozenset("”’」』）)】》")


def clean(text: str) -> str:
    """The text without NUL and lone surrogates, which PostgreSQL refuses to store."""
    return _UNSTORABLE.sub("", text)


@cache
def _grapheme() -> regex.Pattern[str]:
    # Two megabytes that a process has no need of before the first text that has to be cut; then 6 ms, once.
    import regex

    return regex.compile(r"\X")


def graphemes(text: str) -> Iterator[str]:
    """What a reader sees as one character each, in order."""
    return (match.group() for match in _grapheme().finditer(text))


def split_text(text: str, limit: int, *, size: Callable[[str], int]) -> list[str]:
    """Pieces of at most `limit` by `size` that join back to `text`; an empty text gives one empty piece.

    Cuts after a paragraph, a line, a sentence or a clause when one ends in the second half of a piece, and otherwise
    between graphemes. A grapheme is cut only when it alone is larger than `limit`.
    """
    if size(text) <= limit:
        return [text]
    units = _units(text, limit, size)
    sizes = [size(unit) for unit in units]
    pieces: list[str] = []
    start = end = used = 0
    while end < len(units):
        if used + sizes[end] <= limit:
            used += sizes[end]
            end += 1
            continue
        cut = _good_cut(units, start, end)
        pieces.append("".join(units[start:cut]))
        used = sum(sizes[cut:end])
        start = cut
    pieces.append("".join(units[start:]))
    return pieces


def cut_bytes(text: str, limit: int, *, mark: str = "…") -> str:
    """The text itself when it has at most `limit` bytes, else its beginning followed by `mark`."""
    if size_of(text) <= limit:
        return text
    room = limit - size_of(mark)
    if room <= 0:
        mark, room = "", limit
    kept: list[str] = []
    for grapheme in graphemes(text):
        room -= size_of(grapheme)
        if room < 0:
            break
        kept.append(grapheme)
    return "".join(kept) + mark


def size_of(text: str) -> int:
    """How many bytes of UTF-8. Lone surrogates count three, so that any string has a size."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _units(text: str, limit: int, size: Callable[[str], int]) -> list[str]:
    """Graphemes; those that no piece could hold are broken into code points."""
    units: list[str] = []
    for grapheme in graphemes(text):
        if len(grapheme) > 1 and size(grapheme) > limit:
            units.extend(grapheme)
        else:
            units.append(grapheme)
    return units


def _good_cut(units: Sequence[str], start: int, end: int) -> int:
    """Where to cut units[start:end], which fit while units[start:end + 1] do not."""
    earliest = start + (end - start) // 2
    line = sentence = clause = 0
    for cut in range(end, earliest, -1):
        last, before = units[cut - 1], units[cut - 2] if cut - 2 >= start else ""
        if last in _LINE_ENDS:
            if before in _LINE_ENDS:
                return cut
            line = line or cut
        elif not sentence and units[cut] not in _CLOSERS and _ends_sentence(last, before):
            sentence = cut
        elif not clause and last in _CLAUSE_ENDS:
            clause = cut
    return line or sentence or clause or end


def _ends_sentence(last: str, before: str) -> bool:
    return last in _SENTENCE_ENDS or (last in _CLOSERS and before in _SENTENCE_ENDS) or (last == " " and before == ".")
