"""WeCom's XML, read from untrusted calls and written around other people's text.

The outer envelope of a callback is unauthenticated, so the reader refuses document types before the parser sees them
(nothing else can declare entities), and caps size, depth and the number of nodes.
"""

from __future__ import annotations

import re
from xml.parsers import expat

from zhiban.kit.errors import ZhibanError

MAX_BYTES = 1 << 20
MAX_DEPTH = 24
MAX_NODES = 20_000

# Only a declaration may stand before the root: no DOCTYPE, hence no entities; WeCom never sends comments there.
_PROLOG = re.compile(r"(?:<\?xml(?P<declaration>[^<>]{1,200})\?>\s{0,1000})?<[A-Za-z_]")
_ENCODING = re.compile(r"""encoding\s*=\s*["']([^"']*)["']""")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class UnreadableXml(ZhibanError):
    """The text is not the small, plain XML that WeCom sends."""


class Element:
    """A node with its text and its children. Names are matched without regard to case (`AgentID`, `AgentId`)."""

    __slots__ = ("_children", "_pieces", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._children: dict[str, list[Element]] = {}
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """The node's own text, unstripped, put together across CDATA sections and comments."""
        return "".join(self._pieces)

    @property
    def is_leaf(self) -> bool:
        return not self._children

    def children(self, name: str) -> list[Element]:
        return self._children.get(name.lower(), [])

    def child(self, name: str) -> Element | None:
        """The first child of that name."""
        found = self._children.get(name.lower())
        return found[0] if found else None

    def raw(self, name: str) -> str:
        """The first such child's text as it stands, or an empty string."""
        found = self._children.get(name.lower())
        return found[0].text if found else ""

    def get(self, name: str) -> str:
        """The first such child's text without surrounding blanks, or an empty string."""
        return self.raw(name).strip()

    def all(self, name: str) -> list[str]:
        """The texts of every child of that name, without blanks and empty ones."""
        return [text for node in self.children(name) if (text := node.text.strip())]

    def path(self, *names: str) -> Element | None:
        node: Element | None = self
        for name in names:
            node = node.child(name) if node is not None else None
        return node

    def as_dict(self) -> dict[str, object]:
        """A plain copy, for storing: leaves are strings, repeated nodes are lists."""
        result: dict[str, object] = {}
        for nodes in self._children.values():
            values = [node.text if node.is_leaf else node.as_dict() for node in nodes]
            result[nodes[0].name] = values[0] if len(values) == 1 else values
        return result


class _TreeBuilder:
    __slots__ = ("_count", "_stack", "root")

    def __init__(self) -> None:
        self.root: Element | None = None
        self._stack: list[Element] = []
        self._count = 0

    def start(self, name: str, _attributes: object) -> None:
        self._count += 1
        if self._count > MAX_NODES or len(self._stack) >= MAX_DEPTH:
            raise UnreadableXml("The XML has too many or too deeply nested nodes.")
        element = Element(name)
        if self._stack:
            self._stack[-1]._children.setdefault(name.lower(), []).append(element)  # noqa: SLF001 - its builder
        else:
            self.root = element
        self._stack.append(element)

    def end(self, _name: str) -> None:
        self._stack.pop()

    def data(self, text: str) -> None:
        if self._stack:
            self._stack[-1]._pieces.append(text)  # noqa: SLF001 - its builder


def parse(document: bytes | str) -> Element:
    """The root element. A byte order mark and leading blanks are allowed. Raises UnreadableXml for all else."""
    text = _decoded(document)
    prolog = _PROLOG.match(text)
    if prolog is None:
        raise UnreadableXml("The document does not begin with an XML element.")
    encoding = _ENCODING.search(prolog["declaration"] or "")
    if encoding is not None and encoding[1].lower() not in ("utf-8", "utf8"):
        raise UnreadableXml("The XML declares an encoding other than UTF-8.")
    builder = _TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise UnreadableXml("The XML is not well-formed.") from error
    if builder.root is None:
        raise UnreadableXml("The XML has no element.")
    return builder.root


def _decoded(document: bytes | str) -> str:
    if len(document) > MAX_BYTES:
        raise UnreadableXml("The XML is larger than a callback may be.")
    if isinstance(document, str):
        return document.lstrip("\ufeff \t\r\n")
    try:
        return document.decode("utf-8").lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError as error:
        raise UnreadableXml("The XML is not UTF-8.") from error


def cdata(text: str) -> str:
    """The text as CDATA: characters that XML 1.0 forbids are dropped, and `]]>` is divided between two sections."""
    return "<![CDATA[" + _ILLEGAL.sub("", text).replace("]]>", "]]]]><![CDATA[>") + "]]>"


def write(fields: dict[str, str | int]) -> str:
    """`<xml>` with one child per field; numbers stand bare, texts in CDATA."""
    body = "".join(
        f"<{name}>{value if isinstance(value, int) else cdata(value)}</{name}>" for name, value in fields.items()
    )
    return f"<xml>{body}</xml>"
