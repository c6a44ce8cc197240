"""Files that somebody sends to be read into a base: kept until a job has read them, with what became of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from zhiban.events import Actor, ImportDecided, ImportRequested
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Job, enqueue
from zhiban.kit.json_safe import json_safe
from zhiban.knowledge import converters
from zhiban.knowledge.document import Unreadable, clean
from zhiban.knowledge.importing import Failure, ImportReport, Progress, Removal

IMPORT_UPLOADS = Job("import_uploads", queue="slow", attempts=10, wait=2.0, longest=60.0)
LONGEST_NAME = 150  # characters of a file's name
MOST_FILES = 50  # of one upload


class ImportStatus(StrEnum):
    WAITING = "waiting"  # for a worker
    RUNNING = "running"
    ASKING = "asking"  # it would take away more than it brings; somebody has to say that this is meant
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (ImportStatus.WAITING, ImportStatus.RUNNING)


@frozen_dataclass
class UploadedFile:
    """A file in the store, and its name in the source of uploads."""

    name: str
    sha256: str
    size: int


@frozen_dataclass
class ImportRow:
    """One import. `refused` are files that were not even kept, `report` what became of the others."""

    id: int
    base_id: int
    status: str
    files: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    progress: dict[str, Any] | None
    removal: dict[str, Any] | None
    confirmed: bool
    report: dict[str, Any] | None
    failure: str | None
    agent_id: int | None
    created_at: datetime
    finished_at: datetime | None

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


_ROWS = """
select i.id, i.base_id, i.status, i.files, i.refused, i.progress, i.removal, i.confirmed, i.report, i.failure,
       i.agent_id, i.created_at, i.finished_at
  from knowledge_import i
"""


def file_name(sent: str) -> str:
    """What a file that was sent is called in the base: its last part, without what a name cannot hold.

    Raises Unreadable for a kind of file that is not read.
    """
    name = " ".join(PurePath(clean(sent).replace("\\", "/")).name.split()).lstrip(".")
    suffix = PurePath(name).suffix
    converters.kind_of(name)
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - len(suffix)] + suffix
    if not PurePath(name).stem.strip():
        raise Unreadable("The file has no name.")
    return name


async def imports(tx: Transaction, base_id: int, *, limit: int = 10) -> list[ImportRow]:
    """The last imports of a base, the newest first."""
    return await tx.objects(
        ImportRow, _ROWS + " where i.base_id = %(base)s order by i.id desc limit %(limit)s", base=base_id, limit=limit
    )


async def import_row(tx: Transaction, import_id: int) -> ImportRow:
    """Raises NotFound."""
    found = await tx.object(ImportRow, _ROWS + " where i.id = %(id)s", id=import_id)
    if found is None:
        raise NotFound("There is no such import.")
    return found


async def request_import(
    tx: Transaction,
    base_id: int,
    files: Sequence[UploadedFile],
    refused: Sequence[Failure],
    *,
    by: Actor,
    now: datetime,
) -> int:
    """Have files read that are in the store. Returns the import's id."""
    import_id: int = await tx.value(
        "insert into knowledge_import (workspace_id, base_id, status, files, refused, agent_id, created_at, "
        "finished_at) values (%(workspace)s, %(base)s, %(status)s, %(files)s::jsonb, %(refused)s::jsonb, %(agent)s, "
        "%(now)s, %(finished)s) returning id",
        workspace=tx.workspace_id,
        base=base_id,
        status=ImportStatus.WAITING if files else ImportStatus.FAILED,
        files=json_safe([asdict(file) for file in files]),
        refused=json_safe([asdict(one) for one in refused]),
        agent=by.id if by.kind == "agent" else None,
        now=now,
        finished=None if files else now,
    )
    if files:
        await enqueue(tx, IMPORT_UPLOADS.of(key=str(import_id), import_id=import_id))
    await event_log.append(
        tx, ImportRequested(actor=by, at=now, base_id=base_id, import_id=import_id, files=len(files))
    )
    return import_id


async def decide_import(tx: Transaction, import_id: int, *, go_on: bool, by: Actor, now: datetime) -> None:
    """Say whether an import that asked may take away what it would. Raises NotFound, Conflict (it does not ask)."""
    await import_row(tx, import_id)
    decided = await tx.run(
        "update knowledge_import set status = %(status)s, confirmed = %(go_on)s, finished_at = %(finished)s "
        "where id = %(id)s and status = 'asking'",
        status=ImportStatus.WAITING if go_on else ImportStatus.CANCELLED,
        go_on=go_on,
        finished=None if go_on else now,
        id=import_id,
    )
    if not decided:
        raise Conflict("Somebody decided about this import meanwhile.")
    if go_on:
        await enqueue(tx, IMPORT_UPLOADS.of(key=str(import_id), import_id=import_id))
    await event_log.append(tx, ImportDecided(actor=by, at=now, import_id=import_id, confirmed=go_on))


# ---------------------------------------------------------------------------------------------- what the job writes


async def begin(tx: Transaction, import_id: int) -> ImportRow | None:
    """Take an import that waits, or that a process which died had begun. None when there is nothing to do."""
    begun = await tx.run(
        "update knowledge_import set status = 'running' where id = %(id)s and status = any(%(active)b::text[])",
        id=import_id,
        active=[str(status) for status in ACTIVE],
    )
    return await import_row(tx, import_id) if begun else None


async def tell(tx: Transaction, import_id: int, progress: Progress) -> None:
    await tx.run(
        "update knowledge_import set progress = %(progress)s::jsonb where id = %(id)s and status = 'running'",
        progress=json.dumps(asdict(progress)),
        id=import_id,
    )


async def ask(tx: Transaction, import_id: int, removal: Removal) -> None:
    await tx.run(
        "update knowledge_import set status = 'asking', progress = null, removal = %(removal)s::jsonb "
        "where id = %(id)s and status = 'running'",
        removal=json_safe(asdict(removal)),
        id=import_id,
    )


async def finish(
    tx: Transaction, import_id: int, *, report: ImportReport | None = None, failure: str | None = None, now: datetime
) -> None:
    """Keep what became of it: a report, or the sentence of what went wrong."""
    await tx.run(
        "update knowledge_import set status = %(status)s, progress = null, report = %(report)s::jsonb, "
        "failure = %(failure)s, finished_at = %(now)s where id = %(id)s and status = 'running'",
        status=ImportStatus.DONE if failure is None else ImportStatus.FAILED,
        report=None if report is None else json_safe(asdict(report)),
        failure=failure,
        now=now,
        id=import_id,
    )
