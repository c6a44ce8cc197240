"""The job that reads files which somebody sent."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from zhiban.events import SYSTEM, Actor
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound, Unavailable, ZhibanError
from zhiban.kit.file_store import FileMissing, FileStore
from zhiban.kit.i18n import mark
from zhiban.kit.jobs import Task
from zhiban.knowledge import queries, uploads
from zhiban.knowledge.importing import Progress, Removal, RemovalRefused, import_uploads
from zhiban.knowledge.uploads import IMPORT_UPLOADS, ImportRow
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

GONE = mark("The file is not kept any more. Send it again.")
TOLD_EVERY = 0.7  # seconds between two rows of progress


class UploadJobs:
    """What the job needs, and the job."""

    def __init__(self, database: Database, clock: Clock, files: FileStore, embedders: Embedders = NO_EMBEDDERS) -> None:
        self._database = database
        self._clock = clock
        self._files = files
        self._embedders = embedders

    def tasks(self) -> list[Task]:
        return [Task(IMPORT_UPLOADS, self.import_uploads)]

    async def import_uploads(self, workspace_id: int, import_id: int) -> None:
        """Read the files of an import into its base. What goes wrong with them stands in its row.

        Raises Unavailable (the store does not answer), and is tried again.
        """
        async with self._database.transaction(workspace_id) as tx:
            wanted = await uploads.begin(tx, import_id)
            slug = (await queries.base(tx, wanted.base_id)).slug if wanted is not None else ""
        if wanted is None:
            return
        asked: list[Removal] = []

        async def confirm(removal: Removal) -> bool:
            asked.append(removal)
            return wanted.confirmed

        report, failure = None, None
        try:
            with tempfile.TemporaryDirectory(prefix="zhiban-import-") as folder:
                paths = await self._fetch(workspace_id, wanted, Path(folder))
                async with _Teller(self._database, workspace_id, import_id) as teller:
                    report = await import_uploads(
                        self._database,
                        workspace_id,
                        slug,
                        paths,
                        confirm=confirm,
                        embedder=self._embedders.wanted,
                        by=Actor("agent", wanted.agent_id) if wanted.agent_id is not None else SYSTEM,
                        now=self._clock.now(),
                        progress=teller.tell,
                    )
        except RemovalRefused:
            async with self._database.transaction(workspace_id) as tx:
                await uploads.ask(tx, import_id, asked[-1])
            return
        except FileMissing:
            failure = GONE
        except Unavailable:
            raise
        except NotFound:
            return  # the base is gone, and this row with it
        except ZhibanError as error:
            failure = error.sentence
        async with self._database.transaction(workspace_id) as tx:
            await uploads.finish(tx, import_id, report=report, failure=failure, now=self._clock.now())

    async def _fetch(self, workspace_id: int, wanted: ImportRow, folder: Path) -> dict[str, Path]:
        """The files on disk, piece by piece. Raises FileMissing, Unavailable."""
        paths: dict[str, Path] = {}
        for number, file in enumerate(wanted.files):
            path = folder / f"{number}{Path(file['name']).suffix}"
            with path.open("wb") as target:
                async for piece in self._files.read(workspace_id, file["sha256"]):
                    await asyncio.to_thread(target.write, piece)
            paths[file["name"]] = path
        return paths


class _Teller:
    """Writes how far an import is, beside it and not too often."""

    def __init__(self, database: Database, workspace_id: int, import_id: int) -> None:
        self._database, self._workspace_id, self._import_id = database, workspace_id, import_id
        self._latest: Progress | None = None
        self._wanted = asyncio.Event()

    def tell(self, progress: Progress) -> None:
        self._latest = progress
        self._wanted.set()

    async def __aenter__(self) -> _Teller:
        self._task = asyncio.create_task(self._write(), name="import progress")
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancelled([self._task])

    async def _write(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            began = time.monotonic()
            if self._latest is not None:
                async with self._database.transaction(self._workspace_id) as tx:
                    await uploads.tell(tx, self._import_id, self._latest)
            await asyncio.sleep(max(0.0, TOLD_EVERY - (time.monotonic() - began)))
