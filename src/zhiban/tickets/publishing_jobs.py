"""Work after the commit about files that everybody may see: they are cleaned, kept, and linked at their issues."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from zhiban.conversations import published_files
from zhiban.conversations.attachments import Attachment, attachments_of
from zhiban.conversations.groups import publishes
from zhiban.conversations.published_files import PublicCopy, PublishedFile
from zhiban.conversations.spoken import spoken
from zhiban.events import SYSTEM
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.failures import only_logged
from zhiban.kit.file_store import FileMissing, FileStore, FileTooLarge, spooled
from zhiban.kit.file_types import HEAD
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.jobs import Job, Task, enqueue
from zhiban.kit.pictures import NotCleanable, cleaned
from zhiban.tickets import card_replies, drafts, file_links
from zhiban.tickets.publishing import (
    KINDS,
    LARGEST_FILE,
    LARGEST_PICTURE,
    MOST_BYTES,
    MOST_FILES,
    PUBLISH_FILES,
    PUBLISH_WITH_COMMENT,
    kind_of,
)
from zhiban.tickets.rendering import hidden
from zhiban.tickets.service import lock_ticket
from zhiban.tickets.tracker_outbox import add_to_comment, let_go

log = logging.getLogger(__name__)

PUBLISH_LEFT_OVER = Job("publish_left_over_files", queue="slow", cron="*/10 * * * *", attempts=1)

UNFETCHED = timedelta(minutes=10)  # for which a file may be on its way to us
LOOKED_AGAIN = timedelta(seconds=5)  # between two looks whether it has come
LEFT_OVER = timedelta(minutes=5)  # since when a file waits whose job is lost


class _NotPublished(Exception):
    """Why everybody sees no more than a file's name, in a sentence."""


_Prepared = tuple[PublishedFile, PublicCopy | str]  # the copy, or why there is none


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
        """Prepare what waits for a ticket's issue, and then let the issue be written with it.

        Nobody reads a copy before the issue is about to link with it: both are one transaction, behind the ticket's
        lock, as everything is that takes them back.
        """
        async with self._database.transaction(workspace_id) as tx:
            everything = await published_files.published_for(tx, ticket_id)
            locale = await drafts.written_in(tx, ticket_id)
        made, unfetched = await self._prepare(workspace_id, everything, Texts(locale))
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            await lock_ticket(tx, ticket_id)
            before = await published_files.published_for(tx, ticket_id)
            settled = await self._settle(tx, made, before, now=now)
            if messages := {one.message_id for one, shown in settled if shown}:
                await file_links.write_again(tx, ticket_id, messages, key=f"files-{now.timestamp()}", now=now)
            if unfetched:
                await enqueue(tx, PUBLISH_FILES.of(key=str(ticket_id), ticket_id=ticket_id, at=now + LOOKED_AGAIN))
            else:
                await let_go(tx, ticket_id)

    async def publish_with_comment(self, workspace_id: int, call_id: int) -> None:
        """Prepare what waits for the comment that a call writes, and then let it be written with it.

        What comes too late for the comment is not published.
        """
        async with self._database.transaction(workspace_id) as tx:
            everything = await published_files.published_with(tx, call_id)
            locale = await card_replies.written_in(tx, call_id)
        made, unfetched = await self._prepare(workspace_id, everything, Texts(locale), together=True)
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            if unfetched:
                at = now + LOOKED_AGAIN
                await enqueue(tx, PUBLISH_WITH_COMMENT.of(key=str(call_id), call_id=call_id, at=at))
                return
            # Another run of this job may have been faster: what it has put into the comment stays as it is.
            if not await self._settle(tx, made, (), now=now):
                return
            links = file_links.links_of(await published_files.published_with(tx, call_id), locale)
            if not await add_to_comment(tx, call_id, links):
                await published_files.withdraw_comment(tx, call_id, by=SYSTEM, now=now)

    async def _prepare(
        self, workspace_id: int, files: Sequence[PublishedFile], texts: Texts, *, together: bool = False
    ) -> tuple[list[_Prepared], bool]:
        """Make the copies of those that wait, or say why not; nobody reads them yet. And whether some have not come.

        `together`: make none before all have come.
        """
        waiting = [one for one in files if one.state == "waiting"]
        async with self._database.transaction(workspace_id) as tx:
            attachments = await attachments_of(tx, [one.message_id for one in waiting])
        sources = {one.id: one for each in attachments.values() for one in each}
        late = self._clock.now() - UNFETCHED
        on_their_way = {one.id for id_, one in sources.items() if one.state == "pending"}
        here = [one for one in waiting if one.attachment_id not in on_their_way or one.created_at <= late]
        unfetched = len(here) < len(waiting)
        if unfetched and together:
            return [], True
        made = [(one, await self._made(workspace_id, one, sources.get(one.attachment_id), texts)) for one in here]
        return made, unfetched

    async def _made(
        self, workspace_id: int, file: PublishedFile, source: Attachment | None, texts: Texts
    ) -> PublicCopy | str:
        """The copy that everybody is to read, or why there is none."""
        try:
            return await self._copy(workspace_id, file, source, texts)
        except (_NotPublished, NotCleanable) as error:
            return str(error)

    async def _settle(
        self, tx: Transaction, made: Sequence[_Prepared], before: Sequence[PublishedFile], *, now: datetime
    ) -> list[tuple[PublishedFile, bool]]:
        """Publish these, or say why not. Returns those that still waited, each with whether everybody reads it now.

        `before`: what else is published of the same ticket.
        """
        shown = [one for one in before if one.state == "published"]
        count, size = len(shown), sum(one.size or 0 for one in shown)
        conversations = {file.conversation_id for file, _ in made}
        said = {id_ for one in conversations for id_ in await _quotable(tx, one, made)}
        kinds = {one: KINDS[await publishes(tx, one)] for one in conversations}
        settled = []
        for file, copy in made:
            if file.message_id not in said:
                copy = mark("It was taken back meanwhile, or its sender does not want to be quoted.")
            elif file.kind not in kinds[file.conversation_id]:
                copy = mark("The group does not want it to be published any more.")
            elif not isinstance(copy, str) and (count >= MOST_FILES or size + copy.size > MOST_BYTES):
                copy = mark("The ticket has too many files already, or they are too large together.")
            if isinstance(copy, str):
                done = await published_files.refuse(tx, file, copy)
            elif done := await published_files.publish(tx, file, copy, url=self._url, now=now):
                count, size = count + 1, size + copy.size
            if done:
                settled.append((file, not isinstance(copy, str)))
        return settled

    async def _copy(
        self, workspace_id: int, file: PublishedFile, source: Attachment | None, texts: Texts
    ) -> PublicCopy:
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
                    name = hidden(source.filename or file.name, texts)
                    return PublicCopy(spool.sha256, spool.size, "application/octet-stream", name)
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


async def _quotable(tx: Transaction, conversation_id: int, made: Sequence[_Prepared]) -> list[int]:
    """The messages whose files may be shown now: a wish that was written while they were taken back came too late."""
    ids = [file.message_id for file, _ in made if file.conversation_id == conversation_id]
    return [one.id for one in await spoken(tx, conversation_id, ids) if one.quotable and not one.recalled]
