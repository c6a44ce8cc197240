"""Keep the catalogues of texts complete.

    python tools/texts.py check      # says what is missing or stale, exit 1 when anything is
    python tools/texts.py extract    # adds what is missing (untranslated) and drops what is stale

Interface texts are Chinese in templates and code and are translated by locale/en.po. Sentences of errors are
English in the code and are translated by locale/zh.po.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment
from jinja2.ext import extract_from_ast

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "zhiban"
LOCALE = SOURCE / "locale"
PLAIN = {"_", "texts", "_texts", "rich", "mark"}
COUNTED = {"n"}
HEADER = 'msgid ""\nmsgstr ""\n"Language: {locale}\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n{plural}'
CJK = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")


class Found:
    """Every text in use, by catalogue. The value says whether it is counted."""

    def __init__(self) -> None:
        self.en: dict[str, bool] = {}
        self.zh: dict[str, bool] = {}


def templates(found: Found) -> None:
    environment = Environment(autoescape=True)  # only parsed, never rendered
    for path in sorted(SOURCE.rglob("templates/**/*")):
        if path.is_file() and path.suffix in (".html", ".txt", ".svg"):
            tree = environment.parse(path.read_text("utf-8"))
            names = tuple(PLAIN | COUNTED)
            for _line, function, message in extract_from_ast(tree, names):
                text = message[0] if isinstance(message, tuple) and message else message
                if isinstance(text, str) and CJK.search(text):
                    found.en[text] = found.en.get(text, False) or function in COUNTED


def sentence(node: ast.expr) -> str | None:
    """A literal text; what an f-string puts in becomes a named hole."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = []
        for value in node.values:
            if isinstance(value, ast.Constant):
                parts.append(str(value.value))
            elif isinstance(value, ast.FormattedValue):
                words = re.findall(r"[A-Za-z_]\w*", ast.unparse(value.value))
                parts.append("{" + (words[-1] if words else "x") + "}")
        return "".join(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = sentence(node.left), sentence(node.right)
        return left + right if left is not None and right is not None else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "strip":
        return sentence(node.func.value)
    return None


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def errors(trees: dict[Path, ast.Module]) -> set[str]:
    """Names of all classes that derive from ZhibanError."""
    bases = {
        node.name: {name_of(base) for base in node.bases}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {"ZhibanError"}
    while True:
        more = {name for name, parents in bases.items() if parents & known} - known
        if not more:
            return known
        known |= more


def raised(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """The sentences given to our errors, where they are made and in their own constructors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in known:
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__" and call.args:
                    yield from either(call.args[0])
        elif isinstance(node, ast.Call) and name_of(node.func) in known and node.args:
            yield from either(node.args[0])


def either(node: ast.expr) -> Iterator[str]:
    """The sentence, or both of a choice."""
    if isinstance(node, ast.IfExp):
        yield from either(node.body)
        yield from either(node.orelse)
    else:
        yield sentence(node) or ""


def code(found: Found) -> None:
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}
    known = errors(trees)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args:
                function = name_of(node.func)
                if not function and isinstance(node.func, ast.Name):
                    function = node.func.id
                text = sentence(node.args[0])
                calls_self = isinstance(node.func, ast.Name) and node.func.id == "self"
                if text and CJK.search(text) and (function in PLAIN | COUNTED or calls_self):
                    found.en[text] = found.en.get(text, False) or function in COUNTED
                elif text and function == "mark":
                    found.zh[text] = False  # part of an error's sentence
        for text in filter(None, raised(tree, known)):
            bare = re.sub(r"\{\w*\}", "", text)
            # A reason of a few small words is for the log, not for a reader.
            if re.search(r"[A-Za-z]{2}.*\s", bare) and (not text[0].islower() or len(text.split()) > 5):
                found.zh[text] = False


def texts() -> Found:
    found = Found()
    templates(found)
    code(found)
    return found


def read(locale: str) -> Catalog:
    with (LOCALE / f"{locale}.po").open("rb") as file:
        return read_po(file, locale=locale)


def as_tuple(string: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (string,) if isinstance(string, str) else tuple(string)


def by_text(catalogue: Catalog) -> dict[str, Message]:
    return {as_tuple(message.id)[0]: message for message in catalogue if message.id}


def holes(text: str) -> set[str]:
    return set(re.findall(r"\{(\w*)\}", text))


def problems() -> list[str]:
    """One line for each text that is missing, stale, or translated with other holes than its original."""
    found = texts()
    lines = []
    for locale, used in (("en", found.en), ("zh", found.zh)):
        catalogue = read(locale)
        known = by_text(catalogue)
        for text, counted in used.items():
            message = known.get(text)
            strings = () if message is None else as_tuple(message.string)
            if not strings or not all(strings):
                lines.append(f"{locale}.po: not translated: {text!r}")
            elif counted != (len(strings) > 1):
                lines.append(f"{locale}.po: {text!r} must {'have' if counted else 'not have'} a plural")
            elif any(holes(string) - holes(text) for string in strings):
                lines.append(f"{locale}.po: the translation of {text!r} names a hole that the original lacks")
        lines.extend(f"{locale}.po: no longer used: {text!r}" for text in known if text not in used)
    return lines


def extract() -> None:
    found = texts()
    for locale, used in (("en", found.en), ("zh", found.zh)):
        path = LOCALE / f"{locale}.po"
        old = read(locale) if path.exists() else Catalog(locale=locale)
        known = by_text(old)
        fresh = Catalog(locale=locale, project="zhiban", copyright_holder="The Zhiban team", fuzzy=False)
        for text in sorted(used):
            before = known.get(text)
            string = before.string if before is not None else None
            if used[text]:
                fresh.add((text, text), string if isinstance(string, tuple | list) else ("", ""))
            else:
                fresh.add(text, string if isinstance(string, str) else "")
        with path.open("wb") as file:
            plural = '"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n' if locale == "en" else ""
            file.write(HEADER.format(locale=locale, plural=plural).encode())
            file.write(b"\n")
            write_po(file, fresh, omit_header=True, width=0, no_location=True)


def main() -> int:
    match sys.argv[1:]:
        case ["extract"]:
            extract()
            return 0
        case ["check"]:
            lines = problems()
            print("\n".join(lines) or "Every text is translated.")
            return 1 if lines else 0
        case _:
            print(__doc__)
            return 2


if __name__ == "__main__":
    raise SystemExit(main())
