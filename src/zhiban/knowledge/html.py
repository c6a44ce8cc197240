"""Web pages and what word processors export as such: headings, paragraphs, lists and tables, without the frame around.

Imported where a page is read: the parser takes 4 MB that a server which only answers does not need.
"""

from __future__ import annotations

import re
import warnings

from bs4 import BeautifulSoup, Comment, Tag, XMLParsedAsHTMLWarning
from bs4.element import NavigableString

from zhiban.knowledge.document import Document, DocumentBuilder, Location, assemble

# fmt: off
_DROPPED = [
    "script", "style", "noscript", "template", "nav", "header", "footer", "aside", "form", "button", "select",
    "svg", "iframe", "object", "canvas", "video", "audio", "head",
]
# fmt: on
_BREAKING = frozenset(
    re.split(
        r"\s+",
        "address article blockquote body center dd details div dl dt fieldset figcaption figure h1 h2 h3 h4 "
        "h5 h6 hr html li main ol p pre section summary table tbody td th thead tr ul",
    )
)
_WHOLE = frozenset(("ul", "ol", "table", "pre"))
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6, "summary": 6, "dt": 6}


def read_html(text: str, name: str) -> Document:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        soup = BeautifulSoup(text, "lxml")
    page_title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup.find_all(_DROPPED):
        tag.decompose()
    root = soup.find("main") or soup.find("article") or soup.body or soup
    outline = _outline_of(root) if isinstance(root, Tag) else DocumentBuilder()
    return assemble(outline.title or page_title or name, outline.sections())


def _outline_of(root: Tag) -> DocumentBuilder:
    """Walk without recursion, so that deep nesting harms nobody."""
    outline = DocumentBuilder()
    running: list[str] = []
    paragraph = 0

    def flush() -> None:
        nonlocal paragraph
        text = _tidy("".join(running))
        running.clear()
        if text:
            paragraph += 1
            outline.block(text, Location("paragraph", paragraph))

    waiting: list[object] = list(reversed(root.contents))
    while waiting:
        node = waiting.pop()
        if isinstance(node, Comment):
            continue
        if isinstance(node, NavigableString):
            running.append(re.sub(r"\s+", " ", node))
        elif node is None:
            flush()
        elif isinstance(node, Tag):
            if node.name == "br":
                running.append("\n")
            elif node.name in _HEADINGS:
                flush()
                outline.heading(
                    _tidy(node.get_text(" ")).replace("\n", " "),
                    _HEADINGS[node.name],
                    Location("paragraph", paragraph + 1),
                )
            elif node.name in _WHOLE:
                flush()
                paragraph += 1
                outline.block(_whole(node), Location("paragraph", paragraph), whole=True)
            elif node.name in _BREAKING:
                flush()
                waiting.append(None)
                waiting.extend(reversed(node.contents))
            else:
                waiting.extend(reversed(node.contents))
    flush()
    return outline


def _tidy(text: str) -> str:
    return "\n".join(line for line in (re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")) if line)


def _whole(tag: Tag) -> str:
    if tag.name == "pre":
        return tag.get_text()
    if tag.name == "table":
        rows = ([_cell(cell) for cell in row.find_all(["td", "th"])] for row in tag.find_all("tr"))
        return "\n".join("| " + " | ".join(cells) + " |" for cells in rows if any(cells))
    lines: list[str] = []
    for number, item in enumerate(tag.find_all("li"), 1):
        mark = f"{number}. " if tag.name == "ol" and item.parent is tag else "- "
        own = "".join(
            piece.get_text(" ") if isinstance(piece, Tag) else str(piece)
            for piece in item.contents
            if not (isinstance(piece, Tag) and piece.name in ("ul", "ol"))
        )
        if own.strip():
            lines.append(mark + " ".join(own.split()))
    return "\n".join(lines) or _tidy(tag.get_text(" "))


def _cell(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())
