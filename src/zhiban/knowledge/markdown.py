"""Read Markdown: headings, paragraphs and lists become plain text; tables and code stay as they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from zhiban.knowledge.document import Document, DocumentBuilder, Location, assemble

_FRONT = re.compile(r"\A---\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"maxNesting": 30}).enable(["table", "strikethrough"])


def _front_matter(text: str) -> tuple[dict[str, str], int]:
    """The simple entries before the text, and how many lines they take."""
    found = _FRONT.match(text)
    if not found:
        return {}, 0
    try:
        content = yaml.safe_load(found[1])
    except yaml.YAMLError:
        return {}, 0
    if not isinstance(content, dict):
        return {}, 0
    lines = found[0].count("\n")
    return {str(name).lower(): str(value) for name, value in content.items() if isinstance(value, str | int)}, lines


def inline(tokens: Sequence[Token] | None) -> str:
    """Text without marks; a link keeps its address, because a contact may need it."""
    said: list[str] = []
    links: list[tuple[str, int]] = []
    for token in tokens or ():
        match token.type:
            case "text" | "code_inline":
                said.append(token.content)
            case "softbreak" | "hardbreak":
                said.append("\n")
            case "image":
                said.append(f"[{token.content}]" if token.content else "")
            case "link_open":
                links.append((str(token.attrGet("href") or ""), len(said)))
            case "link_close" if links:
                address, start = links.pop()
                if address.startswith(("http://", "https://", "mailto:", "tel:")) and address not in "".join(
                    said[start:]
                ):
                    said.append(f" ({address})")
            case _:
                pass
    return "".join(said)


class _Walk:
    def __init__(self, tokens: list[Token], lines: list[str], skipped: int) -> None:
        self.tokens, self.lines, self.skipped = tokens, lines, skipped
        self.outline = DocumentBuilder()

    def place(self, token: Token) -> Location:
        return Location("line", (token.map[0] if token.map else 0) + 1 + self.skipped)

    def run(self) -> DocumentBuilder:
        at = 0
        while at < len(self.tokens):
            at = self.step(at)
        return self.outline

    def step(self, at: int) -> int:
        """Take the block that starts here; returns where the next one does."""
        token = self.tokens[at]
        end = self.closing(at) if token.nesting == 1 else at
        match token.type:
            case "heading_open":
                text = inline(self.tokens[at + 1].children).strip()
                self.outline.heading(" ".join(text.split()), int(token.tag[1]), self.place(token))
            case "paragraph_open":
                self.outline.block(inline(self.tokens[at + 1].children), self.place(token))
            case "bullet_list_open" | "ordered_list_open":
                self.outline.block(self.listed(at, end), self.place(token), whole=True)
            case "fence" | "code_block":
                self.outline.block(token.content.rstrip("\n"), self.place(token), whole=True)
            case "table_open":
                self.outline.block(self.source(token), self.place(token), whole=True)
            case "blockquote_open":
                return at + 1  # what it quotes is taken like any other block
            case "html_block":
                self.outline.block(re.sub(r"<!--.*?-->|<[^>]*>", "", token.content, flags=re.DOTALL), self.place(token))
            case _:
                pass
        return end + 1

    def closing(self, at: int) -> int:
        depth = 0
        for position in range(at, len(self.tokens)):
            depth += self.tokens[position].nesting
            if depth == 0:
                return position
        return len(self.tokens) - 1

    def source(self, token: Token) -> str:
        start, stop = token.map or (0, 0)
        return "\n".join(self.lines[start:stop])

    def listed(self, start: int, end: int) -> str:
        """A list, nested ones too, with its bullets or numbers."""
        said: list[str] = []
        counters: list[int | None] = []
        mark = ""
        for token in self.tokens[start : end + 1]:
            match token.type:
                case "bullet_list_open":
                    counters.append(None)
                case "ordered_list_open":
                    counters.append(int(token.attrGet("start") or 1))
                case "bullet_list_close" | "ordered_list_close":
                    counters.pop()
                case "list_item_open":
                    number = counters[-1]
                    mark = "- " if number is None else f"{number}. "
                    if number is not None:
                        counters[-1] = number + 1
                case "inline" | "fence" | "code_block":
                    text = inline(token.children) if token.type == "inline" else token.content.rstrip("\n")
                    indent = "  " * (len(counters) - 1)
                    body = text.replace("\n", "\n" + indent + "  ")
                    said.append(indent + (mark or "  ") + body)
                    mark = ""
                case _:
                    pass
        return "\n".join(said)


def read(text: str, name: str) -> Document:
    """Never fails: any text is Markdown."""
    front, skipped = _front_matter(text)
    rest = _FRONT.sub("", text, count=1) if skipped else text
    outline = _Walk(_parser().parse(rest), rest.split("\n"), skipped).run()
    document = assemble(front.get("title") or outline.title or name, outline.sections())
    document.category = front.get("category") or front.get("分类") or front.get("类别")
    return document
