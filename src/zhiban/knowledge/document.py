"""What a converter makes of a file, and the errors it may meet."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field

from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass

MOST_BYTES = 64 * 1024 * 1024
MOST_UNPACKED = 256 * 1024 * 1024
MOST_TEXT = 20_000_000  # characters


class Unreadable(ZhibanError):
    """The file cannot be read; the sentence says why, without its name."""


@frozen_dataclass
class Location:
    """Where in the file something stands: a line, page, row or paragraph, counted from 1."""

    unit: str
    number: int


@frozen_dataclass
class Block:
    """A paragraph, list, table or piece of code. `whole` ones are not cut unless they are huge."""

    text: str
    heading_path: tuple[str, ...]
    place: Location
    whole: bool = False


@frozen_dataclass
class Faq:
    question: str
    similar: tuple[str, ...]
    answer: str
    category: str | None
    place: Location
    heading_path: tuple[str, ...] = ()


@frozen_dataclass
class SkippedRow:
    """A row of a question table that holds something, and no question with an answer. `lacks`: question or answer."""

    number: int
    lacks: str
    text: str


@dataclass(slots=True)
class Document:
    """A file as understood: questions with answers, the text that is neither, and rows that are left out."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    faqs: list[Faq] = field(default_factory=list)
    category: str | None = None
    skipped: list[SkippedRow] = field(default_factory=list)


_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Text that a database takes: no control characters, one kind of line end."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(content: bytes) -> str:
    """The text of bytes in UTF-8, GBK or whatever they turn out to be. Raises Unreadable."""
    for mark, name in _BOMS:
        if content.startswith(mark):
            return _decoded(content, name)
    try:
        return clean(content.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    if _looks_like_gbk(content):
        return _decoded(content, "gb18030")
    import charset_normalizer  # only where a file is neither UTF-8 nor says what it is

    best = charset_normalizer.from_bytes(content[:200_000]).best()
    if best is None:
        raise Unreadable("The text is in no encoding we know; save it as UTF-8.")
    return _decoded(content, best.encoding)


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return clean(content.decode(encoding))
    except (UnicodeDecodeError, LookupError) as error:
        raise Unreadable(f"The text is not the {encoding} that it seems to be; save it as UTF-8.") from error


def _looks_like_gbk(content: bytes) -> bool:
    """Whether it decodes, and mostly to the 3,755 everyday characters (GB 2312 level one: rows B0 to D7)."""
    try:
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        return False
    han = [character for character in text if "\u4e00" <= character <= "\u9fff"]
    everyday = sum(1 for character in han if 0xB0 <= character.encode("gb18030")[0] <= 0xD7)
    return bool(han) and everyday >= 0.8 * len(han)


_QUESTION_WORD = re.compile(
    r"怎么|如何|怎样|多久|多少|是否|能否|可否|什么|为何|为啥|哪|谁|几[天个种号]|能不能|可不可以|有没有|是不是|要不要|会不会|吗$|呢$"
    r"|^(?:how|what|why|when|where|who|which|can|do|does|is|are)\b",
    re.IGNORECASE,
)
_NUMBERING = re.compile(
    r"^(?:(?:Q|问题?)\s*\d*\s*[:：.、]\s*|\d+(?:\.\d+)*\s*[.、)）:：]\s*|[一二三四五六七八九十]+、\s*)", re.IGNORECASE
)


def without_numbering(heading: str) -> str:
    """A heading without "3." or "Q2：" before it."""
    return _NUMBERING.sub("", heading.strip()).strip() or heading.strip()


def is_question(heading: str) -> bool:
    plain = heading.strip()
    if not plain or len(plain) > 80:
        return False
    return (
        plain.endswith(("?", "？"))
        or bool(re.match(r"^(?:Q|问)\s*\d*\s*[:：]", plain, re.IGNORECASE))
        or bool(_QUESTION_WORD.search(without_numbering(plain)))
    )


_SIMILAR_LABEL = re.compile(
    r"^\s*(?:[-*+]\s*)?[*_]*(?:相似问题?|相似问法|类似问题?|其他问法|别的问法|也可以这样问"
    r"|similar questions?|also asked)[*_]*\s*[:：]\s*[*_]*\s*",
    re.IGNORECASE,
)


def take_similar(paragraphs: list[str]) -> tuple[list[str], list[str]]:
    """Split paragraphs into similar questions (after a label such as "相似问题：") and the answer's."""
    similar: list[str] = []
    answer: list[str] = []
    expecting = False
    for paragraph in paragraphs:
        label = _SIMILAR_LABEL.match(paragraph)
        if label:
            rest = paragraph[label.end() :]
            similar += split_similar(rest)
            expecting = not rest.strip()
        elif expecting and all(re.match(r"\s*[-*+•]\s+", line) for line in paragraph.splitlines()):
            similar += split_similar(paragraph)
            expecting = False
        else:
            expecting = False
            answer.append(paragraph)
    return similar, answer


def split_similar(cell: str) -> list[str]:
    """The similar questions of one cell or list: one a line; ；, ; and | part them too."""
    pieces = (re.sub(r"^\s*[-*+•]\s+", "", piece).strip() for piece in re.split(r"[\n；;|]", cell))
    return list(dict.fromkeys(piece for piece in pieces if piece))


@frozen_dataclass
class Section:
    """A heading with what stands directly under it."""

    heading: str
    level: int
    path: tuple[str, ...]  # of the headings above
    place: Location
    blocks: tuple[Block, ...]
    has_children: bool


def faq_of(section: Section) -> Faq | None:
    """The FAQ that a section is, when its heading asks and its text answers."""
    if section.has_children or not section.blocks or not is_question(section.heading):
        return None
    similar, answer = take_similar([block.text for block in section.blocks])
    text = "\n\n".join(answer).strip()
    text = re.sub(r"^(?:A|答)\s*\d*\s*[:：]\s*", "", text)
    if not text:
        return None
    return Faq(
        without_numbering(section.heading),
        tuple(similar),
        text,
        section.path[-1] if section.path else None,
        section.place,
        section.path,
    )


_PAIR = re.compile(
    r"^(?:Q|问)\s*\d*\s*[:：]\s*(?P<question>.+?)\n+(?:A|答)\s*\d*\s*[:：]\s*(?P<answer>.+)$", re.DOTALL | re.IGNORECASE
)


def pair_of(text: str) -> tuple[str, str] | None:
    """Question and answer of a paragraph written as "问：… 答：…" on two lines."""
    found = _PAIR.match(text.strip())
    if not found or len(found["question"]) > 80 or "\n" in found["question"]:
        return None
    return found["question"].strip(), found["answer"].strip()


def assemble(title: str, sections: list[Section]) -> Document:
    """Sections as questions with answers, and the rest as text."""
    document = Document(title)
    for section in sections:
        faq = faq_of(section)
        if faq:
            document.faqs.append(faq)
            continue
        if section.heading and not section.blocks and not section.has_children:
            document.blocks.append(Block(section.heading, section.path, section.place))
        for block in section.blocks:
            pair = pair_of(block.text)
            if pair:
                heads = (*section.path, section.heading) if section.heading else section.path
                document.faqs.append(Faq(pair[0], (), pair[1], heads[-1] if heads else None, block.place, heads))
            else:
                document.blocks.append(block)
    return document


class DocumentBuilder:
    """Collects headings and blocks in order of reading, and knows which section each block is in."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, str]] = []
        self._raw: list[tuple[str, int, tuple[str, ...], Location, list[Block]]] = [
            ("", 0, (), Location("line", 1), [])
        ]
        self.title = ""

    def heading(self, text: str, level: int, place: Location) -> None:
        if not text:
            return
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        self._raw.append((text, level, tuple(name for _, name in self._stack), place, []))
        self._stack.append((level, text))
        if not self.title:
            self.title = text

    def block(self, text: str, place: Location, *, whole: bool = False) -> None:
        if text.strip():
            path = tuple(name for _, name in self._stack)
            self._raw[-1][4].append(Block(text.strip("\n"), path, place, whole))

    def sections(self) -> list[Section]:
        found: list[Section] = []
        for at, (heading, level, path, place, blocks) in enumerate(self._raw):
            has_children = at + 1 < len(self._raw) and level > 0 and self._raw[at + 1][1] > level
            found.append(Section(heading, level, path, place, tuple(blocks), has_children))
        return found
