"""Files that an agent, or a program, has put beside a reply and not sent yet. Their contents are in the file store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from zhiban.conversations.attachments import LARGEST_SHOWN
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.file_types import INLINE, content_type, dimensions, named, sniff
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.ports import Kind, Limits

MOST_FILES = 10  # beside one reply
KEPT = timedelta(days=30)  # how long a file waits that nobody sends
NO_FILES = mark("This channel takes no files.")
LARGEST = 30 << 20  # bytes; no channel that we know takes more

_COLUMNS = "id, kind, filename, content_type, size, sha256, width, height"
_OWN = "(agent_id, token_id) is not distinct from (%(agent)s::bigint, %(token)s::bigint)"


class FileNotTaken(Conflict):
    """The channel does not take such a file; the sentence says what it takes."""


@frozen_dataclass
class DraftFile:
    """A file beside a reply. `kind` is as what the channel will show it."""

    id: int
    kind: str
    filename: str
    content_type: str
    size: int  # bytes
    sha256: str
    width: int | None = None  # pixels, of a picture
    height: int | None = None

    @property
    def inline(self) -> bool:
        """Whether a browser may show it inside our page."""
        return self.content_type in INLINE

    @property
    def picture(self) -> bool:
        """Whether it is shown as a picture before it is sent."""
        small = (self.width or 0) * (self.height or 0) <= LARGEST_SHOWN
        return self.inline and self.content_type.startswith("image/") and small

    @property
    def as_file(self) -> bool:
        """Whether the contact gets a picture or film as a file, because the channel does not show such a one."""
        return self.kind == Kind.FILE and self.content_type.startswith(("image/", "video/"))


@frozen_dataclass
class StoredContent:
    """What a file is that came in: its digest, size and beginning, and how its sender called it."""

    sha256: str
    size: int
    head: bytes
    filename: str
    claimed_type: str | None = None


def _owner(by: Actor) -> dict[str, int | None]:
    return {"agent": by.id if by.kind == "agent" else None, "token": by.id if by.kind == "api" else None}


async def draft_files(tx: Transaction, conversation_id: int, by: Actor) -> tuple[DraftFile, ...]:
    """What this agent, or program, has put beside the reply here, in the order in which it came."""
    return tuple(
        await tx.objects(
            DraftFile,
            f"select {_COLUMNS} from draft_file where conversation_id = %(id)s and {_OWN} order by id",
            id=conversation_id,
            **_owner(by),
        )
    )


async def add_draft_file(
    tx: Transaction, conversation_id: int, content: StoredContent, *, by: Actor, limits: Limits, now: datetime
) -> DraftFile:
    """Put a file that is in the store beside the reply. What it is, its own first bytes say.

    Raises FileNotTaken, and Conflict where too many wait already.
    """
    if content.size == 0:
        raise FileNotTaken("The file is empty.")
    type_ = sniff(content.head)
    name = named(content.filename, instead="file", type_=type_)
    what = content_type(type_, name, content.claimed_type)
    kind = as_taken(limits, what, content.size)
    waiting = await tx.value(
        f"select count(*) from draft_file where conversation_id = %(id)s and {_OWN}",
        id=conversation_id,
        **_owner(by),
    )
    if waiting >= MOST_FILES:
        raise Conflict(f"At most {MOST_FILES} files go out with one reply. Send these first.")
    width, height = dimensions(content.head) or (None, None)
    id_ = await tx.value(
        "insert into draft_file (workspace_id, conversation_id, agent_id, token_id, kind, filename, content_type, "
        "size, sha256, width, height, created_at) values (%(workspace)s, %(conversation)s, %(agent)s, %(token)s, "
        "%(kind)s, %(name)s, %(type)s, %(size)s, %(sha256)s, %(width)s, %(height)s, %(now)s) returning id",
        workspace=tx.workspace_id,
        conversation=conversation_id,
        **_owner(by),
        kind=kind,
        name=name,
        type=what,
        size=content.size,
        sha256=content.sha256,
        width=width,
        height=height,
        now=now,
    )
    return DraftFile(int(id_), kind, name, what, content.size, content.sha256, width, height)


async def access_draft_file(tx: Transaction, file_id: int, by: Actor) -> DraftFile:
    """A file that this agent, or program, put beside a reply. Raises NotFound, also for those of others."""
    found = await tx.object(
        DraftFile,
        f"select {_COLUMNS} from draft_file where id = %(id)s and {_OWN}",
        id=file_id,
        **_owner(by),
    )
    if found is None:
        raise NotFound("There is no such file.")
    return found


async def remove_draft_file(tx: Transaction, file_id: int, by: Actor) -> None:
    """Take a file away again. Raises NotFound, also for those of others."""
    if not await tx.run(f"delete from draft_file where id = %(id)s and {_OWN}", id=file_id, **_owner(by)):
        raise NotFound("There is no such file.")


async def take_draft_files(
    tx: Transaction, conversation_id: int, by: Actor, ids: Sequence[int]
) -> tuple[DraftFile, ...]:
    """These files, in this order, for a message that is stored in the same transaction; they wait no longer.

    Raises Conflict when one of them is gone.
    """
    if not ids:
        return ()
    found = {
        one.id: one
        for one in await tx.objects(
            DraftFile,
            f"delete from draft_file where conversation_id = %(conversation)s and {_OWN} "
            f"and id = any(%(ids)s::bigint[]) returning {_COLUMNS}",
            conversation=conversation_id,
            ids=list(ids),
            **_owner(by),
        )
    }
    if len(found) < len(set(ids)):
        raise Conflict("One of the files is no longer there. Add it again.")
    return tuple(found[id_] for id_ in dict.fromkeys(ids))


async def forget_old_draft_files(tx: Transaction, *, now: datetime) -> None:
    """Take away what nobody has sent for a month."""
    await tx.run("delete from draft_file where created_at < %(before)s", before=now - KEPT)


def as_taken(limits: Limits, type_: str, size: int) -> Kind:
    """As what a channel with these limits takes such a file. Raises FileNotTaken."""
    kind = limits.kind_of(type_, size)
    if kind is None:
        raise FileNotTaken(_too_much(limits, size))
    return kind


def _too_much(limits: Limits, size: int) -> str:
    taken = limits.media.get(Kind.FILE)
    if taken is None:
        return NO_FILES
    if size > taken.most:
        return too_large(taken.most)
    least = taken.least
    return mark(f"The file is too small: this channel takes {least} bytes at least.")


def too_large(most: int) -> str:
    """What is said of a file that is larger than what the channel takes of any kind."""
    largest = shown_size(most)
    return mark(f"The file is too large: this channel takes {largest} at most.")


def shown_size(size: int) -> str:
    """20 MB, 512 KB: a limit in whole units."""
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB" if size >= 1 << 10 else f"{size} B"
