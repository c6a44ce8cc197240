"""The archive of a backup: what may lie in it, and how it is checked before anything in it is believed.

An archive may come from anywhere. So every name is taken apart and judged, only plain files count, and each byte must
match the digests at the end, before a restore looks at it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import msgspec
from psycopg import sql

from zhiban.kit.errors import Misconfigured, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass

FORMAT = 1
PIECE = 1 << 20
PARTIAL = ".partial"  # what is not complete yet
LONGEST_NAME = 1000  # bytes of a file's path in the archive
LONGEST_PART = 240  # bytes of one name; file systems allow 255


class BackupDamaged(ZhibanError):
    """The archive is cut off or changed, or none of ours."""


@frozen_dataclass
class Table:
    schema: str
    name: str
    columns: tuple[str, ...]
    walled: bool = field(default=False, compare=False)

    @property
    def member(self) -> str:
        return f"tables/{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def listed(self) -> sql.Composed:
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))


@frozen_dataclass
class Manifest:
    version: str
    revision: str
    created_at: str
    tables: tuple[Table, ...]
    has_key: bool
    format: int = FORMAT


def inspect(source: Path) -> Manifest:
    """What a backup holds, after every byte and every name of it was checked. Raises BackupDamaged, Misconfigured."""
    digests: dict[str, str] = {}
    ending: dict[str, Any] = {}
    manifest: Manifest | None = None
    with _words_for_damage(source):
        for member, content in members(source):
            digest = hashlib.sha256()
            if member.kind in (EntryKind.MANIFEST, EntryKind.ENDING):
                text = content.read()
                digest.update(text)
                if member.kind is EntryKind.MANIFEST:
                    manifest = _manifest(source, text)
                else:
                    ending = _object(source, text)
            while piece := content.read(PIECE):
                digest.update(piece)
            digests[member.name] = digest.hexdigest()
    digests.pop("complete.json", None)
    if manifest is None or ending.get("sha256") != digests:
        raise BackupDamaged(f"{source} is cut off or was changed: its contents do not match its own list.")
    if manifest.format > FORMAT:
        raise Misconfigured(f"{source} was made by a newer version ({manifest.version}). Upgrade first.")
    listed = {table.member for table in manifest.tables}
    if listed != {name for name in digests if name.startswith("tables/")}:
        raise BackupDamaged(f"{source} was changed: it does not hold the tables that its list names.")
    return manifest


def _object(source: Path, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BackupDamaged(f"{source} is cut off or no backup of ours: {error}") from error
    if not isinstance(found, dict):
        raise BackupDamaged(f"{source} is no backup of ours.")
    return found


def _manifest(source: Path, text: bytes) -> Manifest:
    try:
        return msgspec.convert(_object(source, text), Manifest)
    except msgspec.ValidationError as error:
        raise BackupDamaged(f"{source} is no backup of ours: its list cannot be read.") from error


class EntryKind(StrEnum):
    """What may lie in an archive; everything else makes it a strange one."""

    MANIFEST = "manifest.json"
    TABLE = "tables"
    FILE = "files"
    KEY = "secret.key"
    ENDING = "complete.json"


@frozen_dataclass
class Entry:
    """One entry. `parts`: of a file, the names from our folder down to it, each of them harmless by itself."""

    name: str
    kind: EntryKind
    parts: tuple[str, ...] = ()


_TABLE_NAME = re.compile(r"(?:public|jobs)\.[a-z_][a-z0-9_]{0,62}")
_RESERVED = frozenset(f"{name}{number}" for name in ("com", "lpt") for number in "123456789") | {
    "con",
    "prn",
    "aux",
    "nul",
}


def signed_in_agent(name: str) -> Entry:
    """What an entry's name means. Raises BackupDamaged for every name that we would not have written.

    The name is taken apart and each part judged, so that none of them can lead out of the folder: neither an absolute
    path, nor `..`, nor what another system would read as one.
    """
    for kind in (EntryKind.MANIFEST, EntryKind.KEY, EntryKind.ENDING):
        if name == kind:
            return Entry(name, kind)
    folder, _, rest = name.partition("/")
    if folder == EntryKind.TABLE and _TABLE_NAME.fullmatch(rest):
        return Entry(name, EntryKind.TABLE)
    parts = tuple(rest.split("/"))
    if (
        folder == EntryKind.FILE
        and len(name.encode("utf-8", "surrogatepass")) <= LONGEST_NAME
        and all(map(_plain, parts))
    ):
        return Entry(name, EntryKind.FILE, parts)
    raise BackupDamaged(f"The archive holds an entry that no backup of ours has: {name[:200]!r}")


def _plain(part: str) -> bool:
    """Whether this names one file or folder and nothing else, on every system."""
    encoded = part.encode("utf-8", "surrogatepass")
    return (
        bool(part.strip(" ."))  # "", "." and ".."; Windows drops dots and spaces at the end
        and part[-1] not in " ."
        and len(encoded) <= LONGEST_PART
        and not any(character < " " or character in '\\:*?"<>|\x7f' for character in part)
        and not any("\ud800" <= character <= "\udfff" for character in part)
        and part.split(".")[0].lower() not in _RESERVED
        and not part.endswith(PARTIAL)
    )


def members(source: Path) -> Iterator[tuple[Entry, IO[bytes]]]:
    """Every entry with its content, in order. Raises BackupDamaged at the first one that is not as we write them."""
    seen: set[str] = set()
    with _words_for_damage(source), tarfile.open(source, "r|gz") as archive:
        for entry in archive:
            member = signed_in_agent(entry.name)
            content = archive.extractfile(entry) if entry.isreg() and not entry.issparse() else None
            if content is None:
                raise BackupDamaged(f"{source} holds a link or a device: {entry.name[:200]!r}")
            if member.name in seen:
                raise BackupDamaged(f"{source} holds an entry twice: {entry.name[:200]!r}")
            if (member.kind is EntryKind.MANIFEST) != (not seen) or EntryKind.ENDING in seen:
                raise BackupDamaged(f"{source} is no backup of ours: {entry.name[:200]!r} stands in the wrong place.")
            if entry.size > _SMALL.get(member.kind, entry.size):
                raise BackupDamaged(f"{source} is no backup of ours: {member.name} is too large.")
            seen.add(member.name)
            yield member, content


@contextmanager
def _words_for_damage(source: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise Misconfigured(f"{source} cannot be read: {error.strerror}.") from error
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackupDamaged(f"{source} is cut off or no backup of ours: {error}") from error


_SMALL = {
    EntryKind.MANIFEST: 16 * 2**20,
    EntryKind.ENDING: 256 * 2**20,
    EntryKind.KEY: 64 * 2**10,
}  # bytes, read at once
