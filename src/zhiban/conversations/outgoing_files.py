"""Files of ours on their way to a vendor: handed over first, named in the message afterwards.

A vendor's name for a file is kept for as long as it holds, so that a message which is tried again hands it over once.
Handing over twice does no harm: what must not be doubled is the message, and that has its own key.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.channels.connections import OpenInbox
from zhiban.conversations.draft_files import NO_FILES
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable
from zhiban.kit.file_store import FileMissing, FileStore
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import Kind, Media, Refusal, SendRefused, TryLater, UploadsMedia

FILE_KINDS = frozenset({Kind.IMAGE, Kind.VOICE, Kind.VIDEO, Kind.FILE})


@frozen_dataclass
class _StoredFile:
    id: int
    kind: str
    filename: str
    content_type: str | None
    sha256: str | None
    reference: str
    reference_until: datetime | None


@frozen_dataclass
class HandedOver:
    """A file that the vendor has. `kept`: from an earlier attempt, so that it may be gone there."""

    media: Media
    kept: bool = False


class OutgoingFiles:
    """Hands the files of messages over to their channels."""

    def __init__(self, database: Database, store: FileStore, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    async def hand_over(self, inbox: OpenInbox, message_id: int, *, anew: bool = False) -> HandedOver:
        """The message's file at the vendor; with `anew` even where an earlier attempt has handed it over.

        Raises SendRefused, TryLater or ConnectionBroken.
        """
        file = await self._stored(inbox, message_id)
        kind = Kind(file.kind)
        until = file.reference_until
        if not anew and until is not None and self._clock.now() < until:
            return HandedOver(Media(file.reference, kind, file.filename, file.content_type), kept=True)
        channel, hours = inbox.channel, inbox.channel.limits.media_hours
        if not isinstance(channel, UploadsMedia):
            raise SendRefused(Refusal.KIND_FORBIDDEN, hint=NO_FILES)
        media = await channel.upload(
            await self._content(inbox.workspace_id, file),
            kind=kind,
            filename=file.filename,
            content_type=file.content_type or "application/octet-stream",
        )
        if hours:
            await self._remember(inbox, file.id, media.reference, hours=hours)
        return HandedOver(media)

    async def _stored(self, inbox: OpenInbox, message_id: int) -> _StoredFile:
        async with self._database.transaction(inbox.workspace_id) as tx:
            found = await tx.object(
                _StoredFile,
                "select id, kind, filename, content_type, sha256, reference, reference_until from attachment "
                "where message_id = %(id)s order by id limit 1",
                id=message_id,
            )
        if found is None or found.sha256 is None:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The message has no file.")
        return found

    async def _content(self, workspace_id: int, file: _StoredFile) -> bytes:
        try:
            return b"".join([piece async for piece in self._store.read(workspace_id, file.sha256 or "")])
        except FileMissing:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The file is not stored any more.") from None
        except Unavailable as error:
            raise TryLater(error.sentence, after=5.0) from None

    async def _remember(self, inbox: OpenInbox, attachment_id: int, reference: str, *, hours: float) -> None:
        async with self._database.transaction(inbox.workspace_id) as tx:
            await tx.run(
                "update attachment set reference = %(reference)s, reference_until = %(until)s where id = %(id)s",
                reference=reference,
                until=self._clock.now() + timedelta(hours=hours),
                id=attachment_id,
            )
