"""Import files into a base: what is new goes in, what is known stays, what changed follows when asked.

Every file is whole in the base or not there at all, so an import that was killed is completed by running it again.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

from zhiban.events import SYSTEM, Actor, SourcesImported
from zhiban.kit import event_log
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import enqueue
from zhiban.knowledge import articles, calibration, converters, embedding, maintenance, queries
from zhiban.knowledge.articles import Changes, NewArticle
from zhiban.knowledge.document import MOST_BYTES, SkippedRow, Unreadable
from zhiban.knowledge.embedding_ahead import EmbeddedAhead
from zhiban.knowledge.import_report import (
    ConfirmRemoval,
    Failure,
    ImportReport,
    Progress,
    ReadFile,
    Removal,
    RemovalRefused,
)
from zhiban.knowledge.models import SavedFrom
from zhiban.knowledge.queries import BaseRow, SourceRow
from zhiban.knowledge.sources import Selection, SourceFile, SourceFolder, select
from zhiban.knowledge.vectors import Embedders, text_to_embed
from zhiban.knowledge.versions import Saving
from zhiban.ports import Embedder

GROUP_CHUNKS = 2_000  # small files share a transaction up to this; the base is locked meanwhile
GROUP_FILES = 200
AHEAD_FROM = 2 * GROUP_CHUNKS  # so many are embedded while they are stored, and not after it
KEPT_CHUNKS = 4_000  # that are kept in memory instead of being read a second time
MANY = 500  # chunks, from which on the planner should be told
SHOWN_ROWS = 20  # of a file, that were left out
UPLOADS = "uploads"  # the source of files that somebody sent
DRIFT = 0.02  # how far mean lengths may move before the index is rebuilt with the new ones


@frozen_dataclass
class _Parsed:
    name: str
    folder: SourceFolder
    kind: str
    digest: bytes
    articles: list[NewArticle]
    skipped: list[SkippedRow]
    known: SourceRow | None

    @property
    def size(self) -> int:
        return sum(len(article.chunks) for article in self.articles)


def _read(path: Path) -> tuple[bytes, bytes]:
    """Content and digest. Raises Unreadable."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Unreadable(f"The file is larger than {MOST_BYTES // 1_048_576} MB.")
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"The file cannot be read: {error.strerror}.") from error
    return content, sha256(content).digest()


_Content = tuple[list[NewArticle], list[SkippedRow]]
Selecting = Callable[[Sequence[SourceFolder]], Selection]


def _parse(content: bytes, name: str, category: str | None) -> _Content:
    document = converters.convert(content, name)
    return articles.articles_of(document, category=category), document.skipped


async def import_paths(
    database: Database,
    workspace_id: int,
    base: str,
    paths: Sequence[Path],
    *,
    category: str | None = None,
    refresh: bool = False,
    source: str | None = None,
    confirm: ConfirmRemoval | None = None,
    embedder: Embedder | None = None,
    now: datetime,
    progress: Callable[[Progress], None] | None = None,
) -> ImportReport:
    """Import files and folders into the base with this slug, which is made when it does not exist.

    Without `refresh` a file that changed since is only reported. With it, changed files are updated and files that
    vanished from a given folder are removed. A file that cannot be read is reported, and the others go in.

    `source` names where the files come from, see `sources`. `confirm` is asked before a refresh that takes away more
    articles than it brings; without it such a refresh is refused. Raises RemovalRefused, Misconfigured.
    """
    run = _Run(database, workspace_id, category, refresh, now, progress or (lambda _: None), SYSTEM)
    return await _import(run, base, partial(select, paths, source=source), confirm, embedder)


async def import_uploads(
    database: Database,
    workspace_id: int,
    base: str,
    files: Mapping[str, Path],
    *,
    confirm: ConfirmRemoval | None = None,
    embedder: Embedder | None = None,
    by: Actor,
    now: datetime,
    progress: Callable[[Progress], None] | None = None,
) -> ImportReport:
    """Import files that somebody sent, by their names; one of the same name is replaced. They belong to the source
    `UPLOADS`, which lies nowhere. As `import_paths` with `refresh`; no other file is removed. Raises RemovalRefused.
    """
    folder = SourceFolder(UPLOADS, "")
    sent = [SourceFile(path, f"{UPLOADS}/{name}", folder) for name, path in files.items()]
    run = _Run(database, workspace_id, None, True, now, progress or (lambda _: None), by)
    return await _import(run, base, lambda _known: Selection(files=sent), confirm, embedder)


async def _import(
    run: _Run, base: str, selecting: Selecting, confirm: ConfirmRemoval | None, embedder: Embedder | None
) -> ImportReport:
    started, report = time.perf_counter(), run.report
    async with run.embedding(embedder):
        await run.everything(base, selecting, confirm)
    if report.changes != Changes():
        await run.settle()
    if embedder is not None:
        await run.embed(embedder)
    if report.changes != Changes() or report.embedded:
        await run.calibrate(Embedders(embedder))
    report.seconds = time.perf_counter() - started
    return report


class _Run:
    def __init__(
        self,
        database: Database,
        workspace_id: int,
        category: str | None,
        refresh: bool,
        now: datetime,
        tell: Callable[[Progress], None],
        by: Actor,
    ) -> None:
        self.database, self.workspace_id = database, workspace_id
        self.category, self.refresh, self.now = category, refresh, now
        self.tell, self.report, self.by = tell, ImportReport(), by
        self.base_id = 0
        self.done = self.total = self.chunks = self.kept_chunks = 0
        self.stored, self.complete, self.tidied = asyncio.Event(), False, False
        self.ahead: EmbeddedAhead | None = None
        self.kept: dict[str, tuple[bytes, _Content]] = {}  # read already, to know what a refresh removes

    async def everything(self, slug: str, selecting: Selecting, confirm: ConfirmRemoval | None) -> None:
        async with self.database.transaction(self.workspace_id) as tx:
            self.base_id = await maintenance.ensure_base(tx, slug, slug)
            there = {row.name: row for row in await queries.sources(tx, self.base_id)}
            folders = await queries.source_folders(tx, self.base_id)
        known = [SourceFolder(folder.name, folder.path) for folder in folders]
        selection = await asyncio.to_thread(selecting, known)
        self.report.failed += [Failure(name, "There is no such file or folder.") for name in selection.missing]
        self.total = len(selection.files)
        if self.refresh:
            await self._ask_before_removing(selection, there, confirm)
        await self._move(selection.moved)
        group: list[_Parsed] = []
        digests = {row.digest: row.name for row in there.values()}
        vanished = _vanished(selection, there)
        present = {file.name for file in selection.files} | there.keys() - {row.name for row in vanished}
        for file in selection.files:
            parsed = await self._file(file, there.get(file.name), digests, present)
            if parsed is not None:
                digests[parsed.digest] = parsed.name
                group.append(parsed)
            if sum(one.size for one in group) >= GROUP_CHUNKS or len(group) >= GROUP_FILES:
                await self._store(group)
                group = []
        await self._store(group)
        if self.refresh:
            await self._remove_vanished(vanished)

    async def _ask_before_removing(
        self, selection: Selection, there: dict[str, SourceRow], confirm: ConfirmRemoval | None
    ) -> None:
        """Raises RemovalRefused. Reads what changed, and what is new only as far as it decides."""
        vanished = _vanished(selection, there)
        async with self.database.transaction(self.workspace_id) as tx:
            keys = await queries.keys_of_sources(tx, self.base_id)
        removed, added = sum(len(keys.get(row.id, ())) for row in vanished), 0
        fresh: list[SourceFile] = []
        for file in selection.files:
            known = there.get(file.name)
            if known is None:
                fresh.append(file)
            elif (found := await self._changed(file, known)) is not None:
                removed += len(keys.get(known.id, frozenset()) - found)
                added += len(found - keys.get(known.id, frozenset()))
        for file in fresh:
            if added >= removed:
                break
            added += len(await self._changed(file, None) or ())
        if removed <= added:
            return
        removal = Removal(removed, added, tuple(row.name for row in vanished))
        if confirm is None or not await confirm(removal):
            raise RemovalRefused(f"Nothing was changed: this would remove {removed} articles and add {added}.")

    async def _changed(self, file: SourceFile, known: SourceRow | None) -> frozenset[str] | None:
        """The keys of the articles in a file; None when it is as the base has it, or cannot be read."""
        loop = asyncio.get_running_loop()
        try:
            content, digest = await loop.run_in_executor(articles.executor(), _read, file.path)
            if known and known.digest == digest and known.converter == converters.VERSION:
                return None
            found = await loop.run_in_executor(articles.executor(), _parse, content, file.name, self.category)
        except Unreadable:
            return None
        size = sum(len(article.chunks) for article in found[0])
        if self.kept_chunks + size <= KEPT_CHUNKS:
            self.kept_chunks += size
            self.kept[file.name] = (digest, found)
        return frozenset(article.key for article in found[0])

    async def _move(self, moved: Sequence[SourceFolder]) -> None:
        """Remember where these sources lie now."""
        if moved:
            async with self.database.transaction(self.workspace_id) as tx:
                for folder in moved:
                    await tx.run(
                        "update source set folder_path = %(path)s where base_id = %(base)s and folder = %(name)s",
                        path=folder.path,
                        base=self.base_id,
                        name=folder.name,
                    )

    async def _file(
        self, file: SourceFile, known: SourceRow | None, digests: dict[bytes, str], present: set[str]
    ) -> _Parsed | None:
        """Read one file. None when there is nothing to store."""
        loop = asyncio.get_running_loop()
        self.done += 1
        self.tell(Progress("reading", self.done, self.total, self.chunks, file.name))
        try:
            content, digest = await loop.run_in_executor(articles.executor(), _read, file.path)
            if known and known.digest == digest and (known.converter == converters.VERSION or not self.refresh):
                self.report.unchanged.append(file.name)
                return None
            if known and not self.refresh:
                self.report.outdated.append(file.name)
                return None
            twin = digests.get(digest)
            if not known and twin and (twin in present or not self.refresh):
                self.report.duplicates.append(file.name)
                return None
            before, found = self.kept.pop(file.name, (b"", ([], [])))
            if before != digest:
                found = await loop.run_in_executor(articles.executor(), _parse, content, file.name, self.category)
        except Unreadable as error:
            self.report.failed.append(Failure(file.name, error.sentence))
            return None
        return _Parsed(file.name, file.folder, converters.kind_of(file.name), digest, *found, known)

    async def _store(self, group: Sequence[_Parsed]) -> None:
        """Write a few files in one transaction."""
        if not group:
            return
        if self.ahead and sum(parsed.size for parsed in group) >= AHEAD_FROM:
            self.ahead.start(_asked(group))
        try:
            changes = await self._write(group)
        finally:
            if self.ahead:
                self.ahead.stop()
        self.stored.set()
        self.report.changes += changes
        for parsed in group:
            (self.report.changed if parsed.known else self.report.new).append(parsed.name)
            rows = parsed.skipped
            self.report.read.append(ReadFile(parsed.name, len(parsed.articles), len(rows), tuple(rows[:SHOWN_ROWS])))

    async def _write(self, group: Sequence[_Parsed]) -> Changes:
        async with self.database.transaction(self.workspace_id) as tx:
            base = await maintenance.locked(tx, self.base_id)
            changes, saving = Changes(), Saving(self.by, SavedFrom.IMPORT, self.now)
            sources = await self._sources(tx, group)
            fresh = [
                (id_, article)
                for (id_, new), one in zip(sources, group, strict=True)
                if new
                for article in one.articles
            ]
            entries = await articles.insert(tx, base.id, fresh, saving=saving)
            changes += Changes(articles_added=len(fresh), chunks_added=len(entries))
            for (source_id, new), parsed in zip(sources, group, strict=True):
                if not new:
                    added, made = await articles.revise(tx, base, source_id, parsed.articles, saving=saving)
                    entries += added
                    changes += made
            await articles.index(tx, base, entries, written=self._written)
            await self._record(tx, changes)
        return changes

    def _written(self, chunks: int) -> None:
        self.chunks += chunks
        self.tell(Progress("storing", self.done, self.total, self.chunks))

    async def _sources(self, tx: Transaction, group: Sequence[_Parsed]) -> list[tuple[int, bool]]:
        """The row of each file, and whether it was made just now. Raises Conflict."""
        rows = await tx.rows(
            "insert into source as s (workspace_id, base_id, name, folder, folder_path, kind, category, digest, "
            "converter, imported_at) select %(workspace)s, %(base)s, name, folder, path, kind, %(category)s, digest, "
            "%(converter)s, %(now)s from unnest(%(names)b::text[], %(folders)b::text[], %(paths)b::text[], "
            "%(kinds)b::text[], %(digests)b::bytea[]) as t (name, folder, path, kind, digest) "
            "on conflict (workspace_id, base_id, name) do update set kind = excluded.kind, "
            "category = excluded.category, digest = excluded.digest, converter = excluded.converter, "
            "imported_at = excluded.imported_at where s.folder_path = excluded.folder_path "
            "returning name, id, xmax = 0",
            workspace=tx.workspace_id,
            base=self.base_id,
            category=self.category,
            converter=converters.VERSION,
            now=self.now,
            names=[parsed.name for parsed in group],
            folders=[parsed.folder.name for parsed in group],
            paths=[parsed.folder.path for parsed in group],
            kinds=[parsed.kind for parsed in group],
            digests=[parsed.digest for parsed in group],
        )
        found: dict[str, tuple[int, bool]] = {name: (id_, made) for name, id_, made in rows}
        for parsed in group:
            if parsed.name not in found:
                raise Conflict(f"Another import brought {parsed.name} from another folder just now. Import again.")
        return [found[parsed.name] for parsed in group]

    async def _remove_vanished(self, vanished: Sequence[SourceRow]) -> None:
        for source in vanished:
            async with self.database.transaction(self.workspace_id) as tx:
                changes = await maintenance.remove_source(tx, self.base_id, source.id)
                await self._record(tx, changes)
            self.report.changes += changes
            self.report.removed.append(source.name)

    async def _record(self, tx: Transaction, changes: Changes) -> None:
        await event_log.append(
            tx,
            SourcesImported(
                actor=self.by,
                at=self.now,
                base_id=self.base_id,
                added=changes.articles_added,
                changed=changes.articles_changed,
                removed=changes.articles_removed,
            ),
        )

    async def settle(self) -> None:
        """Let the index follow the new mean lengths."""
        async with self.database.transaction(self.workspace_id) as tx:
            base = await maintenance.locked(tx, self.base_id)
            if _drifted(base):
                self.tell(Progress("rebuilding", 0, base.bodies, self.chunks))
                await maintenance.reindex_base(
                    tx, base, told=lambda done: self.tell(Progress("rebuilding", done, base.bodies, self.chunks))
                )
                self.report.rebuilt = True
        await maintenance.index_waiting(self.database, self.workspace_id, self.base_id)
        self.tidied = self.report.rebuilt or self.chunks >= MANY
        if self.tidied:
            async with self.database.transaction(self.workspace_id) as tx:
                await maintenance.tidy(tx)

    async def calibrate(self, embedders: Embedders) -> None:
        """Let the thresholds follow the new articles and vectors."""
        await calibration.calibrate(
            self.database,
            self.workspace_id,
            self.base_id,
            embedders=embedders,
            now=self.now,
            told=lambda done, total: self.tell(Progress("calibrating", done, total, self.chunks)),
        )

    @asynccontextmanager
    async def embedding(self, embedder: Embedder | None) -> AsyncIterator[None]:
        """Embed what is stored while the next files are read."""
        if embedder is None:
            yield
            return
        self.ahead = EmbeddedAhead(embedder)
        beside = asyncio.create_task(self._embed_stored(embedder), name="embedding")
        try:
            yield
        finally:
            self.complete = True
            self.stored.set()
            if sys.exc_info()[0] is not None:
                beside.cancel()
            await asyncio.wait([beside])
            await self.ahead.close()
        beside.result()

    async def _embed_stored(self, embedder: Embedder) -> None:
        after = 0
        while not self.complete:
            await self.stored.wait()
            self.stored.clear()
            try:
                after = await embedding.embed_new(
                    self.database,
                    self.workspace_id,
                    self.base_id,
                    embedder,
                    after=after,
                    ahead=self.ahead,
                    made=self._embedded,
                )
            except embedding.ModelUnavailable:
                return  # said when the rest is embedded

    def _embedded(self, new: int) -> None:
        self.report.embedded += new

    async def embed(self, embedder: Embedder) -> None:
        """Embed what has no vector yet. When the embedder fails, words alone serve until it is back."""
        try:
            self.report.embedded += await embedding.embed_base(
                self.database,
                self.workspace_id,
                self.base_id,
                embedder,
                tidied=self.tidied,
                told=lambda done, total: self.tell(Progress("embedding", done, total, self.chunks)),
            )
        except embedding.ModelUnavailable as error:
            self.report.embedding_failed = error.sentence
            async with self.database.transaction(self.workspace_id) as tx:
                await enqueue(tx, embedding.EMBED.of(key=str(self.base_id), base_id=self.base_id))


def _vanished(selection: Selection, there: dict[str, SourceRow]) -> list[SourceRow]:
    """What the base has of the folders that were given whole, and the disk has no more."""
    present = {file.name for file in selection.files}
    return [row for name, row in there.items() if name.startswith(tuple(selection.whole)) and name not in present]


def _asked(group: Sequence[_Parsed]) -> Iterator[str]:
    """What is to be embedded of files that are new; of others most has its vector already."""
    for parsed in group:
        if parsed.known is None:
            for article in parsed.articles:
                yield from map(text_to_embed, article.phrasings)


def _drifted(base: BaseRow) -> bool:
    return any(mean and abs(pivot / mean - 1) > DRIFT for pivot, mean in zip(base.pivots, base.means, strict=True))


__all__ = [
    "ConfirmRemoval",
    "Failure",
    "ImportReport",
    "Progress",
    "ReadFile",
    "Removal",
    "RemovalRefused",
    "import_paths",
]
__all__ += ["import_uploads"]
