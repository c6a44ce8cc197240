"""Work after the commit about files that everybody may see: they are cleaned, kept, and linked at their issues."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from zhiban.conversations import published_files
from zhiban.conversations.attachments import Attachment, attachments_of
from zhiban.conversations.published_files import PublicCopy, PublishedFile
from zhiban.events import SYSTEM
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.failures import only_logged
from zhiban.kit.file_store import FileMissing, FileStore, FileTooLarge, spooled
from zhiban.kit.file_types import HEAD
from zhiban.kit.i18n import mark
from zhiban.kit.jobs import Job, Task, enqueue
from zhiban.kit.pictures import NotCleanable, cleaned
from zhiban.tickets import card_replies, file_links
from zhiban.tickets.publishing import (
    LARGEST_FILE,
    LARGEST_PICTURE,
    PUBLISH_FILES,
    PUBLISH_WITH_COMMENT,
    kind_of,
)
from zhiban.tickets.tracker_outbox import add_to_comment, let_go

log = logging.getLogger(__name__)

PUBLISH_LEFT_OVER = Job("publish_left_over_files", queue="slow", cron="*/10 * * * *", attempts=1)

UNFETCHED = timedelta(minutes=10)  # for which a file may be on its way to us
LOOKED_AGAIN = timedelta(seconds=5)  # between two looks whether it has come
LEFT_OVER = timedelta(minutes=5)  # since when a file waits whose job is lost


class _NotPublished(Exception):
    """Why everybody sees no more than a file's name, in a sentence."""


class PublishingJobs:
    """What these jobs need, and the jobs. `url`: our public address, empty where nobody named one."""

    def __init__(self, database: Database, files: FileStore, clock: Clock, *, url: str) -> None:
        self._database = database
        self._files = files
        self._clock = clock
        self._url = url

    def tasks(self) -> list[Task]:
        return [
            Task(PUBLISH_FILES, self.publish_files),
            Task(PUBLISH_WITH_COMMENT, self.publish_with_comment),
            Task(PUBLISH_LEFT_OVER, self.publish_left_over),
        ]

    async def publish_files(self, workspace_id: int, ticket_id: int) -> None:
        """Prepare what waits for a ticket's issue, and then let the issue be written with it."""
        async with self._database.transaction(workspace_id) as tx:
            everything = await published_files.published_for(tx, ticket_id)
        waiting = [one for one in everything if one.state == "waiting"]
        unfetched = await self._prepare(workspace_id, waiting)
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            if unfetched:
                await enqueue(tx, PUBLISH_FILES.of(key=str(ticket_id), ticket_id=ticket_id, at=now + LOOKED_AGAIN))
                return
            if waiting:
                messages = {one.message_id for one in waiting}
                await file_links.write_again(tx, ticket_id, messages, key=f"files-{now.timestamp()}", now=now)
            await let_go(tx, ticket_id)

    async def publish_with_comment(self, workspace_id: int, call_id: int) -> None:
        """Prepare what waits for the comment that a call writes, and then let it be written with it.

        What comes too late for the comment is not published.
        """
        async with self._database.transaction(workspace_id) as tx:
            everything = await published_files.published_with(tx, call_id)
        unfetched = await self._prepare(workspace_id, [one for one in everything if one.state == "waiting"])
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            if unfetched:
                at = now + LOOKED_AGAIN
                await enqueue(tx, PUBLISH_WITH_COMMENT.of(key=str(call_id), call_id=call_id, at=at))
                return
            files = await published_files.published_with(tx, call_id)
            links = file_links.links_of(files, await card_replies.written_in(tx, call_id))
            if not await add_to_comment(tx, call_id, links):
                await published_files.withdraw_comment(tx, call_id, by=SYSTEM, now=now)

    async def _prepare(self, workspace_id: int, waiting: Sequence[PublishedFile]) -> bool:
        """Publish these, or say why not. True where some have not come yet."""
        async with self._database.transaction(workspace_id) as tx:
            sources = await attachments_of(tx, [one.message_id for one in waiting])
        unfetched = False
        for file in waiting:
            source = next((one for one in sources.get(file.message_id, ()) if one.id == file.attachment_id), None)
            on_its_way = source is not None and source.state == "pending"
            if on_its_way and file.created_at > self._clock.now() - UNFETCHED:
                unfetched = True
                continue
            await self._publish(workspace_id, file, source)
        return unfetched

    async def _publish(self, workspace_id: int, file: PublishedFile, source: Attachment | None) -> None:
        try:
            copy = await self._copy(workspace_id, file, source)
        except (_NotPublished, NotCleanable) as error:
            async with self._database.transaction(workspace_id) as tx:
                await published_files.refuse(tx, file, str(error))
            return
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            await published_files.publish(tx, file, copy, url=self._url, now=now)

    async def _copy(self, workspace_id: int, file: PublishedFile, source: Attachment | None) -> PublicCopy:
        """The copy that everybody is to read, in the store. Raises _NotPublished, NotCleanable."""
        if not self._url:
            raise _NotPublished(mark("This installation has no public address (ZHIBAN_URL)."))
        if source is None or source.sha256 is None or kind_of(source) != file.kind:
            raise _NotPublished(mark("The file is not there, or is of a kind that is not published."))
        most = LARGEST_PICTURE if file.kind == "picture" else LARGEST_FILE
        try:
            async with spooled(self._files.read(workspace_id, source.sha256), limit=most, head=HEAD) as spool:
                if file.kind == "file":
                    await self._files.keep(workspace_id, spool)
                    return PublicCopy(spool.sha256, spool.size, "application/octet-stream", file.name)
                async with cleaned(spool) as picture:
                    await self._files.keep(workspace_id, picture.spool)
                    name = f"picture{picture.type.extension}"
                    return PublicCopy(picture.spool.sha256, picture.spool.size, picture.type.mime, name)
        except (FileMissing, FileTooLarge):
            raise _NotPublished(mark("The file is not there, or is of a kind that is not published.")) from None

    async def publish_left_over(self) -> None:
        """Take up what waits although its job has ended, as after a store of files that did not answer for long."""
        for workspace_id in await self._database.workspaces():
            with only_logged(log, f"The files of workspace {workspace_id} are published later."):
                async with self._database.transaction(workspace_id) as tx:
                    before = self._clock.now() - LEFT_OVER
                    for file in await published_files.waiting(tx, before=before):
                        if file.ticket_id is not None:
                            await enqueue(tx, PUBLISH_FILES.of(key=str(file.ticket_id), ticket_id=file.ticket_id))
                        if file.call_id is not None:
                            await enqueue(tx, PUBLISH_WITH_COMMENT.of(key=str(file.call_id), call_id=file.call_id))
