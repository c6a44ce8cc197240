"""Our own checks, for what no other linter sees.

* No module is longer than 500 lines.
* No tracked file names a package registry or a path of somebody's machine.
* Lock files name versions and hashes only, and npm's lock file no addresses. What runs is tested: developers' packages
  are those of the product, in the same versions, and more.
* No sentence is left unfinished: no to-do marks.
* One name of a class or of a type has one meaning in the whole program.
* Only a table's owner names it in SQL (`sql_owners.py`).
* A vendor that we live beside is named in its integration, its simulator and `bootstrap`, nowhere else in the program.
* What is read first says what it promises: ports, facts and `kit/db.py` have docstrings on all that is public.
* No row of the database is indexed by number: a column added in the middle would shift the others.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import sql_owners

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 500
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".lock",
    ".json",
    ".html",
    ".css",
    ".js",
    ".po",
    ".yaml",
    ".yml",
    ".sh",
    ".txt",
    ".csv",
    "",
}

# Taken apart, so that this file passes its own check.
_REGISTRIES = ("py" + "pi.org", "python" + "hosted.org", "registry.npm" + "js.org", "registry.npm" + "mirror.com")
_PATHS = (
    "/wo" + "rk/(?:main|shared|[.])",
    "/ro" + "ot/[a-z.]",
    "/tmp/z" + "b/",
    "/ho" + "me/(?!zhiban|you)[a-z]+/",
    "/Use" + "rs/[a-z]+/",
)
FORBIDDEN = re.compile("|".join([*map(re.escape, _REGISTRIES), *_PATHS]))
UNFINISHED = re.compile(r"\b(?:" + "TO" + "DO|FIX" + "ME|XX" + "X)\\b")
_VENDOR = re.compile("wecom", re.IGNORECASE)
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+(?:\[[A-Za-z0-9,._-]+\])?==[^\s;]+(?: ; [^\\]+)? \\")
_HASH = re.compile(r" {4}--hash=sha256:[0-9a-f]{64}(?: \\)?")


def tracked() -> list[Path]:
    """What is, or would be, in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def too_long(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        if path.suffix == ".py":
            lines = path.read_text("utf-8").count("\n")
            if lines > LONGEST:
                yield f"{path.relative_to(ROOT)}: {lines} lines, {LONGEST} are allowed; split it by noun or verbs"


def strange_words(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        if path.suffix not in TEXT:
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            found = FORBIDDEN.search(line)
            if found:
                yield f"{path.relative_to(ROOT)}:{number}: {found.group()!r} belongs to one machine or registry"
            if path.suffix == ".py" and (mark := UNFINISHED.search(line)):
                yield f"{path.relative_to(ROOT)}:{number}: {mark.group()}: finish it or open an issue"


def vendor_words(paths: list[Path]) -> Iterator[str]:
    """What is true of every channel is said of every channel. Catalogues translate what integrations say."""
    program = ROOT / "src" / "zhiban"
    own = [program / name for name in ("integrations", "testing", "locale", "bootstrap.py")]
    for path in paths:
        if path.suffix not in TEXT or not path.is_relative_to(program) or any(path.is_relative_to(one) for one in own):
            continue
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            if _VENDOR.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: the vendor is named outside its integration"


def wrong_locks(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        if path.suffix == ".lock" and path.name.startswith("requirements"):
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                if not (_REQUIREMENT.fullmatch(line) or _HASH.fullmatch(line)):
                    yield f"{path.name}:{number}: a lock line is a version or a hash, not {line!r}"
        if path.name == "package-lock.json":
            yield from _wrong_npm_lock(path)
        if path.name == "requirements-dev.lock" and (runtime := path.with_name("requirements.lock")).exists():
            for pinned in sorted(_pinned(runtime) - _pinned(path)):
                yield f"{path.name}: {pinned} of {runtime.name} is missing; compile both from pyproject.toml"


def _pinned(path: Path) -> set[str]:
    return {line.split()[0] for line in path.read_text("utf-8").splitlines() if _REQUIREMENT.fullmatch(line)}


def _wrong_npm_lock(path: Path) -> Iterator[str]:
    packages: dict[str, dict[str, object]] = json.loads(path.read_text("utf-8"))["packages"]
    for name, package in packages.items():
        if "resolved" in package:
            yield f"{path.relative_to(ROOT)}: {name} has an address; run npm install with frontend/.npmrc in place"
        if "funding" in package:
            yield f"{path.relative_to(ROOT)}: {name} names where to give money, an address as well; take it out"
        if name and "integrity" not in package:
            yield f"{path.relative_to(ROOT)}: {name} has no integrity hash"


# How a page or a command reads one field: it declares a parameter beside its default, and is no word of the program.
_DECLARES = {"Argument", "Body", "Cookie", "Depends", "File", "Form", "Header", "Option", "Path", "Query"}


def homonyms(paths: list[Path]) -> Iterator[str]:
    """Classes and types of one name in two modules of the program: a reader would have to guess which is meant.

    A leading underscore tells nobody apart. Aliases that are written alike mean the same.
    """
    seen: dict[str, dict[str, str]] = {}
    for path in sorted(paths):
        name = str(path.relative_to(ROOT))
        if path.suffix != ".py" or not name.startswith("src/zhiban/"):
            continue
        for line, called, meaning in type_names(path.read_text("utf-8")):
            others = seen.setdefault(called.lstrip("_"), {})
            first = next((other for other, what in others.items() if other != name and what != meaning), None)
            if first is not None:
                yield f"{name}:{line}: {first} has a type {called.lstrip('_')} too; rename one of them"
            others.setdefault(name, meaning)


def type_names(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, name and meaning of every class, and of every alias at the top of a module.

    The meaning of an alias is what it stands for, that of a class the place where it is.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.lineno, node.name, f"class {node.name}:{node.lineno}"
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(
                target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias"), value=ast.expr() as value
            ):
                pass
            case _ if type(node).__name__ == "TypeAlias":  # `type X = …`, which Python 3.11 does not read
                name, value = node.name.id, node.value  # type: ignore[attr-defined]
            case _:
                continue
        if _is_type(name) and not _declares_parameter(value):
            yield node.lineno, name, ast.unparse(value)


def _is_type(name: str) -> bool:
    """By how it is written: constants are in capitals, and so are the parameters of generic code."""
    bare = name.lstrip("_")
    return bare[:1].isupper() and not bare.isupper()


def _declares_parameter(value: ast.expr) -> bool:
    match value:
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[_, *details])):
            calls = [one.func for one in details if isinstance(one, ast.Call)]
            names = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in calls}
            return not names.isdisjoint(_DECLARES)
    return False


def without_promise(paths: list[Path]) -> Iterator[str]:
    """Public classes and functions without a docstring, where a newcomer begins to read."""
    for path in paths:
        name = str(path.relative_to(ROOT))
        if _READ_FIRST.fullmatch(name):
            for line, called in _undescribed(ast.parse(path.read_text("utf-8"))):
                yield f"{name}:{line}: say what {called} promises, in a docstring"


_READ_FIRST = re.compile(r"src/zhiban/(?:ports/\w+|events|event_\w+|kit/db)\.py")


def _undescribed(node: ast.Module | ast.ClassDef) -> Iterator[tuple[int, str]]:
    for one in node.body:
        if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not one.name.startswith("_"):
            if ast.get_docstring(one) is None:
                yield one.lineno, one.name
            if isinstance(one, ast.ClassDef):
                yield from _undescribed(one)


def numbered_rows(paths: list[Path]) -> Iterator[str]:
    """Rows that are read by position. Unpack them, or read them as objects of a dataclass."""
    for path in paths:
        name = str(path.relative_to(ROOT))
        if path.suffix != ".py" or not name.startswith("src/zhiban/") or name == "src/zhiban/kit/db.py":
            continue
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from (f"{name}:{line}: name the columns of this row" for line in _numbered(function))


def _numbered(function: ast.AST) -> Iterator[int]:
    single: set[str] = set()
    many: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.NamedExpr(ast.Name(id=name), value):
                if _asks_for(value, "row"):
                    single.add(name)
                elif _asks_for(value, "rows"):
                    many.add(name)
    for node in ast.walk(function):
        match node:
            case ast.For(target=ast.Name(id=name), iter=source) | ast.comprehension(ast.Name(id=name), source):
                if _asks_for(source, "rows") or (isinstance(source, ast.Name) and source.id in many):
                    single.add(name)
    for node in ast.walk(function):
        match node:
            case ast.Subscript(ast.Name(id=name), ast.Constant(value=int()) | ast.Slice()) if name in single:
                yield node.lineno
            case ast.Subscript(ast.Subscript(ast.Name(id=name)), ast.Constant(value=int()) | ast.Slice()) if (
                name in many
            ):
                yield node.lineno


def _asks_for(value: ast.expr, verb: str) -> bool:
    match value:
        case ast.Await(ast.Call(ast.Attribute(attr=attr))):
            return attr == verb
        case ast.IfExp(body=body, orelse=other):
            return _asks_for(body, verb) or _asks_for(other, verb)
    return False


def main() -> int:
    paths = tracked()
    problems = [
        *too_long(paths),
        *strange_words(paths),
        *vendor_words(paths),
        *wrong_locks(paths),
        *homonyms(paths),
        *without_promise(paths),
        *numbered_rows(paths),
        *sql_owners.problems(ROOT),
    ]
    for problem in problems:
        print(problem)
    print(f"{len(paths)} files checked, {len(problems)} problems.")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
