"""Jobs about files: fetch them from the vendor, make voices playable, forget what nobody refers to any more."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta

from zhiban.channels.connections import Connections
from zhiban.conversations.draft_files import forget_old_draft_files
from zhiban.conversations.topics import CONVERSATION_CHANGED
from zhiban.events import MessageReceived
from zhiban.kit import voice
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.file_store import FileMissing, FileStore, FileTooLarge, Spool, spooled
from zhiban.kit.file_types import HEAD, content_type, dimensions, named, safe_name, sniff
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.jobs import Enqueued, Job, Task, enqueue, enqueue_many
from zhiban.ports import FetchesMedia, Kind, Media, MediaDownload, Refusal, SendRefused

log = logging.getLogger(__name__)

FILE_LIMIT = 30 << 20  # bytes; the channels we know allow 20 MB
GIVEN_UP = timedelta(hours=1)
UNREFERENCED = timedelta(days=1)  # how long a file is kept that no row names: one may just be on its way

FETCH_FILES = Job("fetch_files", queue="slow")
FETCH_ATTACHMENT = Job("fetch_attachment", queue="slow")
GIVE_UP_ON_FILES = Job("give_up_on_files", queue="slow", cron="37 * * * *")
MAKE_PLAYABLE = Job("make_playable", queue="slow", attempts=3)
REMOVE_UNREFERENCED_FILES = Job("remove_unreferenced_files", queue="slow", cron="23 4 * * *")


def for_received(event: MessageReceived) -> Iterable[Enqueued]:
    if event.files:
        yield FETCH_FILES.of(message_id=event.message_id)


@frozen_dataclass
class _PendingFile:
    """A file to fetch."""

    reference: str
    kind: str
    filename: str
    content_type: str | None
    inbox_id: int
    conversation_id: int


class AttachmentJobs:
    """What these jobs need, and the jobs. Each can run twice without harm."""

    def __init__(self, database: Database, connections: Connections, clock: Clock, files: FileStore) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock
        self._files = files

    def tasks(self) -> list[Task]:
        return [
            Task(FETCH_FILES, self.fetch_files),
            Task(FETCH_ATTACHMENT, self.fetch_attachment),
            Task(GIVE_UP_ON_FILES, self.give_up_on_files),
            Task(MAKE_PLAYABLE, self.make_playable),
            Task(REMOVE_UNREFERENCED_FILES, self.remove_unreferenced_files),
        ]

    # ------------------------------------------------------------------------------------------------ fetching

    async def fetch_files(self, workspace_id: int, message_id: int) -> None:
        """Plan the fetching of each file of a message, so that one that does not come repeats no other."""
        async with self._database.transaction(workspace_id) as tx:
            ids = await tx.values(
                "select id from attachment where message_id = %(id)s and state = 'pending' order by id", id=message_id
            )
            await enqueue_many(tx, [FETCH_ATTACHMENT.of(key=str(id_), attachment_id=id_) for id_ in ids])

    async def fetch_attachment(self, workspace_id: int, attachment_id: int) -> None:
        """Fetch a file of a message and keep it. What is refused for good is written down on the attachment."""
        async with self._database.transaction(workspace_id) as tx:
            wanted = await tx.object(
                _PendingFile,
                "select a.reference, a.kind, a.filename, a.content_type, m.inbox_id, m.conversation_id "
                "from attachment a join message m on m.workspace_id = a.workspace_id and m.id = a.message_id "
                "where a.id = %(id)s and a.state <> 'stored'",
                id=attachment_id,
            )
        if wanted is None:
            return
        download: MediaDownload | None = None
        try:
            download = await self._download(workspace_id, wanted)
            async with spooled(download.pieces, limit=FILE_LIMIT, head=HEAD) as spool:
                if spool.size:
                    await self._files.keep(workspace_id, spool)
                    await self._stored(workspace_id, attachment_id, wanted, download, spool)
                else:
                    await self._failed(workspace_id, attachment_id, wanted, download, mark("The file is empty."))
        except FileTooLarge as error:
            await self._failed(workspace_id, attachment_id, wanted, download, str(error))
        except SendRefused as error:
            await self._failed(workspace_id, attachment_id, wanted, download, error.hint or error.refusal.value)

    async def _download(self, workspace_id: int, wanted: _PendingFile) -> MediaDownload:
        inbox = await self._connections.inbox(workspace_id, wanted.inbox_id)
        if not isinstance(inbox.channel, FetchesMedia):
            raise SendRefused(Refusal.MISCONFIGURED, hint=mark("This channel gives no files."))
        media = Media(wanted.reference, Kind(wanted.kind), wanted.filename or None, wanted.content_type)
        return inbox.channel.fetch(media, limit=FILE_LIMIT)

    async def _stored(
        self, workspace_id: int, attachment_id: int, wanted: _PendingFile, download: MediaDownload, spool: Spool
    ) -> None:
        """Names come from the sender, then from the vendor; what it is, its own bytes say."""
        type_ = sniff(spool.head)
        name = named(wanted.filename or download.filename or "", instead=f"{wanted.kind}-{attachment_id}", type_=type_)
        width, height = dimensions(spool.head) or (None, None)
        async with self._database.transaction(workspace_id) as tx:
            await tx.run(
                "update attachment set state = 'stored', failure = null, sha256 = %(sha256)s, size = %(size)s, "
                "filename = %(name)s, content_type = %(type)s, width = %(width)s, height = %(height)s, "
                "fetched_at = %(now)s where id = %(id)s",
                sha256=spool.sha256,
                size=spool.size,
                name=name,
                type=content_type(type_, name, download.content_type or wanted.content_type),
                width=width,
                height=height,
                now=self._clock.now(),
                id=attachment_id,
            )
            if wanted.kind == Kind.VOICE:
                await enqueue(tx, MAKE_PLAYABLE.of(attachment_id=attachment_id))
            tx.publish_after_commit(CONVERSATION_CHANGED, wanted.conversation_id)

    async def _failed(
        self, workspace_id: int, attachment_id: int, wanted: _PendingFile, download: MediaDownload | None, why: str
    ) -> None:
        async with self._database.transaction(workspace_id) as tx:
            await tx.run(
                "update attachment set state = 'failed', failure = %(why)s, filename = %(name)s, fetched_at = %(now)s "
                "where id = %(id)s",
                why=why,
                name=safe_name(wanted.filename or (download.filename if download else None) or ""),
                now=self._clock.now(),
                id=attachment_id,
            )
            tx.publish_after_commit(CONVERSATION_CHANGED, wanted.conversation_id)

    async def give_up_on_files(self) -> None:
        """Say so where a file has not come for an hour: its job has tried for ten minutes and waits for a person.

        Trying that job again from the health page fetches the file after all.
        """
        now = self._clock.now()
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                rows = await tx.rows(
                    "update attachment a set state = 'failed', failure = %(why)s, fetched_at = %(now)s "
                    "from message m where m.workspace_id = a.workspace_id and m.id = a.message_id "
                    "and a.state = 'pending' and a.created_at < %(before)s returning m.conversation_id",
                    why=mark("The platform did not give the file."),
                    now=now,
                    before=now - GIVEN_UP,
                )
                for (conversation_id,) in rows:
                    tx.publish_after_commit(CONVERSATION_CHANGED, conversation_id)

    # -------------------------------------------------------------------------------------------------- voices

    async def make_playable(self, workspace_id: int, attachment_id: int) -> None:
        """Measure a voice message, and keep it a second time in a format that browsers play if they do not play it."""
        async with self._database.transaction(workspace_id) as tx:
            row = await tx.row(
                "select a.sha256, m.conversation_id from attachment a "
                "join message m on m.workspace_id = a.workspace_id and m.id = a.message_id "
                "where a.id = %(id)s and a.state = 'stored' and a.kind = 'voice' and a.seconds is null "
                "and a.playback_failure is null",
                id=attachment_id,
            )
        if row is None:
            return
        sha256, conversation_id = row
        try:
            pieces = self._files.read(workspace_id, sha256)
            async with spooled(pieces, limit=FILE_LIMIT, head=HEAD) as spool, voice.playable(spool) as found:
                if found.spool is not None:
                    await self._files.keep(workspace_id, found.spool)
                async with self._database.transaction(workspace_id) as tx:
                    await tx.run(
                        "update attachment set seconds = %(seconds)s, playback_sha256 = %(sha256)s, "
                        "playback_size = %(size)s where id = %(id)s",
                        seconds=found.seconds,
                        sha256=found.spool and found.spool.sha256,
                        size=found.spool and found.spool.size,
                        id=attachment_id,
                    )
                    tx.publish_after_commit(CONVERSATION_CHANGED, conversation_id)
        except (voice.NotPlayable, FileMissing) as error:
            async with self._database.transaction(workspace_id) as tx:
                await _not_playable(tx, attachment_id, str(error))
                tx.publish_after_commit(CONVERSATION_CHANGED, conversation_id)

    # -------------------------------------------------------------------------------------------------- maintenance

    async def remove_unreferenced_files(self) -> None:
        """Forget files that no attachment, draft, action or address names, a day after they were last stored."""
        before = self._clock.now() - UNREFERENCED
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                await forget_old_draft_files(tx, now=self._clock.now())
                named_by_rows = await tx.values(
                    "select sha256 from attachment where sha256 is not null "
                    "union select playback_sha256 from attachment where playback_sha256 is not null "
                    "union select sha256 from draft_file union select sha256 from action_file "
                    "union select sha256 from published_file where sha256 is not null"
                )
            named = set(named_by_rows)
            async for sha256 in self._files.listed(workspace_id, stored_before=before):
                if sha256 not in named:
                    await self._files.remove(workspace_id, sha256, stored_before=before)


async def _not_playable(tx: Transaction, attachment_id: int, why: str) -> None:
    await tx.run("update attachment set playback_failure = %(why)s where id = %(id)s", why=why, id=attachment_id)
