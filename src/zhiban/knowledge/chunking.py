"""Blocks to chunks of about 500 characters that never cross a heading. Together they hold every word of the blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.document import Block, Location

WANTED = 500
WHOLE = 2_000  # tables, lists and code are kept together up to this
_SENTENCES = re.compile(r"[^。！？!?；;\n]*[。！？!?；;\n]+[”’」』）)]*|[^。！？!?；;\n]+$")


@frozen_dataclass
class Piece:
    text: str
    heading_path: tuple[str, ...]
    place: Location


def chunks(blocks: Iterable[Block]) -> list[Piece]:
    found: list[Piece] = []
    texts: list[str] = []
    first: Block | None = None
    size = 0
    for block in blocks:
        for part in _parts(block):
            fits = first is not None and first.heading_path == block.heading_path and size + len(part) <= WANTED
            if first is not None and not fits:
                found.append(Piece("\n\n".join(texts), first.heading_path, first.place))
                first = None
            if first is None:
                texts, size, first = [], 0, block
            texts.append(part)
            size += len(part)
    if first is not None:
        found.append(Piece("\n\n".join(texts), first.heading_path, first.place))
    return found


def _parts(block: Block) -> Iterator[str]:
    limit = WHOLE if block.whole else WANTED
    if len(block.text) <= limit:
        yield block.text
    elif block.whole:
        yield from _gathered(_lines(block.text), WANTED, _head(block.text))
    else:
        yield from _gathered(_SENTENCES.findall(block.text), WANTED, "")


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")]


def _head(text: str) -> str:
    """The title row of a Markdown table, which every part of it repeats."""
    lines = text.split("\n", 2)
    if len(lines) == 3 and lines[0].lstrip().startswith("|") and re.fullmatch(r"[\s|:\-]+", lines[1]):
        return lines[0] + "\n" + lines[1] + "\n"
    return ""


def _gathered(pieces: Iterable[str], limit: int, head: str) -> Iterator[str]:
    """Pieces joined up to the limit; one that alone is longer is cut hard."""
    gathered = ""
    for piece in pieces:
        if gathered and len(gathered) + len(piece) > limit:
            yield gathered.strip("\n")
            gathered = head
        rest = gathered + piece
        while len(rest) > 2 * limit:
            yield rest[:limit].strip("\n")
            rest = rest[limit:]
        gathered = rest
    if gathered.strip("\n"):
        yield gathered.strip("\n")
