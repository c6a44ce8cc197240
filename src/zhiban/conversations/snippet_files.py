"""Snippets as a file, YAML or CSV by its name, to be kept, edited together or taken to another workspace."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from zhiban.conversations.snippets import Snippet, SnippetInFile
from zhiban.kit.errors import Conflict
from zhiban.kit.spreadsheets import csv_text, unguard
from zhiban.kit.yaml_files import LONGEST, as_yaml, plain_values

COLUMNS = ("name", "text")


class BadSnippetFile(Conflict):
    """The file holds no snippets; the sentence says where and why. Nothing of it was taken."""


def written(snippets: Iterable[Snippet], *, as_csv: bool) -> str:
    """The snippets as `read` reads them."""
    if not as_csv:
        return as_yaml([{"name": one.name, "text": one.text} for one in snippets])
    return csv_text((COLUMNS, *((one.name, one.text) for one in snippets)), line_end="\n")


def read(text: str, *, as_csv: bool) -> list[SnippetInFile]:
    """The snippets of a file. Raises BadYaml, BadSnippetFile."""
    return _from_csv(text.removeprefix("\ufeff")) if as_csv else _from_yaml(text)


def _from_yaml(text: str) -> list[SnippetInFile]:
    found = plain_values(text)
    if not isinstance(found, list):
        raise BadSnippetFile("A file of snippets is a list, each with name and text.")
    for number, one in enumerate(found, 1):
        if not isinstance(one, dict) or set(one) != set(COLUMNS) or not all(isinstance(v, str) for v in one.values()):
            raise BadSnippetFile(f"Snippet {number} of the file is not a name and a text.")
    return [SnippetInFile(one["name"], one["text"]) for one in found]


def _from_csv(text: str) -> list[SnippetInFile]:
    if len(text) > LONGEST:
        raise BadSnippetFile(f"Such a file has at most {LONGEST} characters.")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise BadSnippetFile(f"This is not CSV: {error}") from None
    if not rows or tuple(cell.strip().lower() for cell in rows[0]) != COLUMNS:
        raise BadSnippetFile("The first line of a CSV file of snippets is: name,text")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(COLUMNS):
            raise BadSnippetFile(f"Snippet {number} of the file is not a name and a text.")
    return [SnippetInFile(unguard(name), unguard(body)) for name, body in rows[1:]]
