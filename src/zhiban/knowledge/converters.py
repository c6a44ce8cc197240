"""Files to documents: one function per format, all of them blocking, pure and safe to run on files from outside.

What reads one format only is imported where it is read: a server that answers does without.
`VERSION` grows when a format is read differently; `kb import --refresh` then reads files again that did not change.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from zhiban.kit.spreadsheets import unguard
from zhiban.knowledge.document import (
    MOST_BYTES,
    MOST_TEXT,
    MOST_UNPACKED,
    Document,
    DocumentBuilder,
    Faq,
    Location,
    SkippedRow,
    Unreadable,
    assemble,
    clean,
    decode,
    split_similar,
)

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

VERSION = 1
MOST_ROWS = 200_000
MOST_COLUMNS = 256
MOST_PAGES = 5_000
SHOWN_OF_ROW = 80  # characters of a row that is left out, to know it by

# ------------------------------------------------------------------------------------------------- plain text


def _markdown(content: bytes, name: str) -> Document:
    from zhiban.knowledge import markdown

    return markdown.read(decode(content), name)


def _plain(content: bytes, name: str) -> Document:
    outline = DocumentBuilder()
    line = 1
    for paragraph in re.split(r"(\n[ \t\u3000]*\n+)", decode(content)):
        if paragraph.strip():
            lead = len(paragraph) - len(paragraph.lstrip("\n"))
            outline.block(paragraph, Location("line", line + lead))
        line += paragraph.count("\n")
    return assemble(name, outline.sections())


# ------------------------------------------------------------------------------------------------------- HTML


def _html(content: bytes, name: str) -> Document:
    declared = re.search(rb"charset=[\"']?([\w-]+)", content[:2048], re.IGNORECASE)
    text = ""
    if declared:
        try:
            text = clean(content.decode(declared[1].decode("ascii")))
        except (LookupError, UnicodeDecodeError):
            text = ""
    from zhiban.knowledge.html import read_html

    return read_html(text or decode(content), name)


# ------------------------------------------------------------------------------------- documents of other programs


def _check_archive(content: bytes) -> None:
    """Raises Unreadable when unpacking would take more room than any honest document needs."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
    except BadZipFile as error:
        raise Unreadable("The file is damaged, or is not what its name says.") from error
    if len(infos) > 20_000 or sum(info.file_size for info in infos) > MOST_UNPACKED:
        raise Unreadable(f"The file unpacks to more than {MOST_UNPACKED // 1_048_576} MB.")


def _docx(content: bytes, name: str) -> Document:
    from xml.etree.ElementTree import ParseError

    import mammoth

    from zhiban.knowledge.html import read_html

    _check_archive(content)
    try:
        converted = mammoth.convert_to_html(io.BytesIO(content), convert_image=mammoth.images.img_element(lambda _: {}))
    except (KeyError, ValueError, AttributeError, OSError, ParseError, BadZipFile, RecursionError) as error:
        raise Unreadable("The document is damaged, or is not a Word document.") from error
    return read_html(converted.value, name)


def _pdf(content: bytes, name: str) -> Document:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    outline = DocumentBuilder()
    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("The PDF is protected by a password.")
        if len(reader.pages) > MOST_PAGES:
            raise Unreadable(f"The PDF has more than {MOST_PAGES} pages.")
        for number, page in enumerate(reader.pages, 1):
            for paragraph in _paragraphs(clean(page.extract_text())):
                outline.block(paragraph, Location("page", number))
    except DependencyError as error:
        raise Unreadable("The PDF is protected in a way that we cannot open.") from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, RecursionError) as error:
        raise Unreadable("The PDF is damaged.") from error
    if not any(section.blocks for section in outline.sections()):
        raise Unreadable("The PDF holds no text; it seems to be scanned pictures.")
    return assemble(name, outline.sections())


_SENTENCE_END = ("。", "！", "？", "；", "：", ".", "!", "?", ":", ";")


def _paragraphs(text: str) -> Iterator[str]:
    """Lines of a page joined to paragraphs: a line that does not end a sentence goes on in the next."""
    paragraph = ""
    for line in (line.strip() for line in text.split("\n")):
        if not line:
            if paragraph:
                yield paragraph
            paragraph = ""
            continue
        glue = " " if paragraph and paragraph[-1].isascii() and line[0].isascii() else ""
        paragraph += glue + line
        if line.endswith(_SENTENCE_END):
            yield paragraph
            paragraph = ""
    if paragraph:
        yield paragraph


# ------------------------------------------------------------------------------------------------------ tables

_COLUMNS = {
    "question": "question questions 问题 标准问 标准问题 问 提问 title 标题",
    "similar": "similar_questions similar_question similar 相似问题 相似问 相似问法 similarquestions 扩展问 扩展问题",
    "answer": "answer answers 答案 回答 答 回复 标准答案 content 内容",
    "category": "category 分类 类别 类目 目录",
}
_COLUMN_OF = {alias: column for column, aliases in _COLUMNS.items() for alias in aliases.split()}


def _csv(content: bytes, name: str) -> Document:
    text = decode(content)
    first = text.split("\n", 1)[0]
    delimiter = max(",\t;，", key=first.count)
    csv.field_size_limit(MOST_TEXT)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)

    def rows() -> Iterator[tuple[int, list[str]]]:
        start = 1
        for row in reader:
            yield start, row
            start = reader.line_num + 1

    try:
        return _table(name, rows())
    except csv.Error as error:
        raise Unreadable(f"The table is damaged: {error}.") from error


def _xlsx(content: bytes, name: str) -> Document:
    from xml.etree.ElementTree import ParseError

    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    _check_archive(content)
    document = Document(name)
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        for sheet in book.worksheets:
            part = _table(sheet.title, _sheet_rows(sheet))
            document.faqs += part.faqs
            document.blocks += part.blocks
            document.skipped += part.skipped
        book.close()
    except (
        InvalidFileException,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OSError,
        ParseError,
        BadZipFile,
    ) as error:
        raise Unreadable("The workbook is damaged, or is not an Excel workbook.") from error
    return document


def _sheet_rows(sheet: Worksheet) -> Iterator[tuple[int, list[str]]]:
    """Rows that hold something, as wide as their last cell.

    What the sheet says of its own size is not believed: one stray cell at the far corner would make every row as wide
    as a sheet can be, and reading it takes minutes.
    """
    sheet.reset_dimensions()  # type: ignore[attr-defined]  # only a read-only sheet has it
    for number, row in enumerate(sheet.iter_rows(values_only=True, max_col=MOST_COLUMNS), 1):
        if number > MOST_ROWS:
            raise Unreadable(f"The table has more than {MOST_ROWS} rows.")
        if row.count(None) < len(row):
            width = max(at for at, value in enumerate(row, 1) if value is not None)
            yield number, ["" if value is None else clean(str(value)) for value in row[:width]]


def _table(name: str, rows: Iterable[tuple[int, Sequence[str]]]) -> Document:
    """An FAQ table when it has the columns of one; otherwise each row becomes a block "column: value"."""
    document = Document(name)
    header: Sequence[str] | None = None
    columns: dict[str, int] = {}
    for number, cells in rows:
        if number > MOST_ROWS:
            raise Unreadable(f"The table has more than {MOST_ROWS} rows.")
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            columns = _columns(header)
            continue
        cells = [unguard(cell.strip()) for cell in cells]
        if "question" in columns and "answer" in columns:
            faq = _faq_row(cells, columns, number)
            if isinstance(faq, Faq):
                document.faqs.append(faq)
            else:
                document.skipped.append(faq)
        else:
            said = "\n".join(
                f"{title}: {cell}" if title else cell
                for title, cell in zip([*header, *[""] * len(cells)], cells, strict=False)
                if cell
            )
            _add_row(document, said, name, number)
    return document


def _add_row(document: Document, said: str, name: str, number: int) -> None:
    outline = DocumentBuilder()
    outline.heading(name, 1, Location("row", 1))
    outline.block(said, Location("row", number), whole=True)
    document.blocks += [block for section in outline.sections() for block in section.blocks]


def _columns(header: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at, title in enumerate(header):
        column = _COLUMN_OF.get(re.sub(r"[\s\-]+", "_", title.strip().lower()))
        if column:
            found.setdefault(column, at)
    return found


def _faq_row(cells: Sequence[str], columns: dict[str, int], number: int) -> Faq | SkippedRow:
    def cell(column: str) -> str:
        at = columns.get(column)
        return cells[at] if at is not None and at < len(cells) else ""

    question, answer = cell("question"), cell("answer")
    if not question or not answer:
        said = next(filter(None, cells), "")
        return SkippedRow(number, "answer" if question else "question", said[:SHOWN_OF_ROW])
    similar = tuple(other for other in split_similar(cell("similar")) if other != question)
    return Faq(question, similar, answer, cell("category") or None, Location("row", number))


# ------------------------------------------------------------------------------------------------------ entry

_CONVERTERS: dict[str, tuple[str, Callable[[bytes, str], Document]]] = {
    ".md": ("markdown", _markdown),
    ".markdown": ("markdown", _markdown),
    ".txt": ("text", _plain),
    ".html": ("html", _html),
    ".htm": ("html", _html),
    ".docx": ("docx", _docx),
    ".pdf": ("pdf", _pdf),
    ".csv": ("table", _csv),
    ".tsv": ("table", _csv),
    ".xlsx": ("table", _xlsx),
}
SUFFIXES = frozenset(_CONVERTERS)


def kind_of(name: str) -> str:
    """What kind of file the name promises. Raises Unreadable for one that we do not read."""
    converter = _CONVERTERS.get(PurePath(name).suffix.lower())
    if converter is None:
        raise Unreadable(f"Files of this kind are not read; these are: {', '.join(sorted(SUFFIXES))}.")
    return converter[0]


def convert(content: bytes, name: str) -> Document:
    """What the file says. Raises Unreadable with a sentence for people."""
    kind_of(name)
    if len(content) > MOST_BYTES:
        raise Unreadable(f"The file is larger than {MOST_BYTES // 1_048_576} MB.")
    if not content.strip():
        raise Unreadable("The file is empty.")
    path = PurePath(name)
    document = _CONVERTERS[path.suffix.lower()][1](content, path.stem)
    if not document.faqs and not document.blocks:
        raise Unreadable("The file holds no text.")
    if sum(len(block.text) for block in document.blocks) > MOST_TEXT:
        raise Unreadable(f"The file holds more than {MOST_TEXT // 1_000_000} million characters; split it.")
    return document
