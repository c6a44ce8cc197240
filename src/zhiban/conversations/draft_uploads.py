"""A file beside a reply as it comes in: read piece by piece, kept, and refused where the channel does not take it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from datetime import datetime

from zhiban.conversations.access import access_conversation_to_answer
from zhiban.conversations.draft_files import (
    LARGEST,
    NO_FILES,
    DraftFile,
    FileNotTaken,
    StoredContent,
    add_draft_file,
    too_large,
)
from zhiban.events import Actor
from zhiban.kit.db import Database
from zhiban.kit.file_store import FileStore, FileTooLarge, spooled
from zhiban.kit.file_types import HEAD
from zhiban.people.permissions import Access
from zhiban.ports import Limits

MOST_BYTES = LARGEST + (1 << 10)  # of a request: a little more, so that our own words say that a file is too large


class DraftUploads:
    """Takes files that agents and programs put beside their replies. `limits_of` says what a channel takes."""

    def __init__(self, database: Database, store: FileStore, limits_of: Callable[[str], Limits]) -> None:
        self._database = database
        self._store = store
        self._limits_of = limits_of

    async def receive(
        self,
        pieces: AsyncIterable[bytes],
        *,
        workspace_id: int,
        access: Access,
        conversation_id: int,
        by: Actor,
        name: str,
        claimed_type: str | None,
        now: datetime,
    ) -> DraftFile:
        """Put what comes beside the reply of `by`. It is read only once we know who sends it, and where to.

        Raises NotFound, NotAllowed, FileNotTaken, Conflict where too many wait already.
        """
        async with self._database.page_transaction(workspace_id) as tx:
            head = await access_conversation_to_answer(tx, access, conversation_id)
        limits = self._limits_of(head.channel)
        largest = max((one.most for one in limits.media.values()), default=0)
        try:
            async with spooled(pieces, limit=min(largest, LARGEST), head=HEAD) as spool:
                await self._store.keep(workspace_id, spool)
                content = StoredContent(spool.sha256, spool.size, spool.head, name, claimed_type)
        except FileTooLarge:
            raise FileNotTaken(too_large(largest) if largest else NO_FILES) from None
        async with self._database.page_transaction(workspace_id) as tx:
            await access_conversation_to_answer(tx, access, conversation_id)
            return await add_draft_file(tx, conversation_id, content, by=by, limits=limits, now=now)
