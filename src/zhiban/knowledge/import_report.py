"""What an import tells while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.articles import Changes
from zhiban.knowledge.document import SkippedRow


@frozen_dataclass
class Progress:
    """`stage` is reading, storing, rebuilding, embedding or calibrating; `done` of `total` counts files or chunks."""

    stage: str
    done: int
    total: int
    chunks: int = 0
    file: str | None = None


@frozen_dataclass
class Failure:
    file: str
    sentence: str


@frozen_dataclass
class ReadFile:
    """What stands in the base of a file that was read, and rows that were left out (the first ones of many)."""

    file: str
    articles: int
    skipped: int = 0
    rows: tuple[SkippedRow, ...] = ()


@dataclass(slots=True)
class ImportReport:
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)  # changed, but `refresh` was not asked for
    duplicates: list[str] = field(default_factory=list)  # the same content is there under another name
    removed: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    read: list[ReadFile] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    rebuilt: bool = False
    embedded: int = 0
    embedding_failed: str | None = None
    seconds: float = 0.0


@frozen_dataclass
class Removal:
    """What a refresh would take away, in articles, and what it would bring."""

    removed: int
    added: int
    files: tuple[str, ...]  # that vanished


ConfirmRemoval = Callable[[Removal], Awaitable[bool]]


class RemovalRefused(Conflict):
    """A refresh would take away more than it brings, and nobody said that this is meant. Nothing was changed."""
