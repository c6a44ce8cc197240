"""Files that rules and macros send to contacts. Their contents are in the file store; who names them, `automation`
knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from zhiban.conversations.draft_files import DraftFile, FileNotTaken, StoredContent, as_taken
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.file_types import INLINE, content_type, dimensions, named, sniff
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.ports import Limits

MOST = 500  # of a workspace
MOST_OF_ONE = 200  # that one agent has added
KEPT = timedelta(days=30)  # how long one stays that no rule and no macro names

_COLUMNS = "select id, filename, content_type, size, sha256, width, height, added_by from action_file"


@frozen_dataclass
class ActionFile:
    """A file as it was given to us, under a name that is safe to show. `added_by` None: not by an agent."""

    id: int
    filename: str
    content_type: str
    size: int  # bytes
    sha256: str
    width: int | None = None  # pixels, of a picture
    height: int | None = None
    added_by: int | None = None

    @property
    def inline(self) -> bool:
        """Whether a browser may show it inside our page."""
        return self.content_type in INLINE

    def is_taken(self, limits: Limits) -> bool:
        """Whether a channel with these limits takes it, as whatever kind."""
        return limits.kind_of(self.content_type, self.size) is not None


async def add_action_file(tx: Transaction, content: StoredContent, *, by: int | None, now: datetime) -> ActionFile:
    """Keep a file that is in the store. What it is, its own first bytes say. Raises FileNotTaken, Conflict."""
    if content.size == 0:
        raise FileNotTaken("The file is empty.")
    if await tx.value("select count(*) from action_file") >= MOST:
        raise Conflict(mark(f"There are {MOST} files of rules and macros already; take some out of them first."))
    if await tx.value("select count(*) from action_file where added_by = %(by)s", by=by) >= MOST_OF_ONE:
        raise Conflict(mark(f"You have added {MOST_OF_ONE} files to rules and macros; take some out of them first."))
    type_ = sniff(content.head)
    name = named(content.filename, instead="file", type_=type_)
    what = content_type(type_, name, content.claimed_type)
    width, height = dimensions(content.head) or (None, None)
    id_ = await tx.value(
        "insert into action_file (workspace_id, filename, content_type, size, sha256, width, height, added_by, "
        "created_at) values (%(workspace)s, %(name)s, %(type)s, %(size)s, %(sha256)s, %(width)s, %(height)s, %(by)s, "
        "%(now)s) returning id",
        workspace=tx.workspace_id,
        name=name,
        type=what,
        size=content.size,
        sha256=content.sha256,
        width=width,
        height=height,
        by=by,
        now=now,
    )
    return ActionFile(int(id_), name, what, content.size, content.sha256, width, height, by)


async def action_files(tx: Transaction) -> list[ActionFile]:
    """All that there are, the oldest first."""
    return await tx.objects(ActionFile, _COLUMNS + " order by id")


async def lock_action_files(tx: Transaction, ids: Collection[int]) -> list[ActionFile]:
    """Those of these that there are; they stay until the transaction ends."""
    return await tx.objects(
        ActionFile, _COLUMNS + " where id = any(%(ids)s::bigint[]) order by id for key share", ids=list(ids)
    )


async def files_to_send(tx: Transaction, ids: Sequence[int], limits: Limits) -> tuple[DraftFile, ...]:
    """These files, in this order, as a channel with these limits takes them.

    Raises Conflict where one of them is gone, FileNotTaken where the channel does not take one.
    """
    there = {one.id: one for one in await lock_action_files(tx, ids)}
    if len(there) < len(set(ids)):
        raise Conflict(mark("A file of this action is not there any more."))
    return tuple(
        DraftFile(
            id_,
            as_taken(limits, there[id_].content_type, there[id_].size),
            there[id_].filename,
            there[id_].content_type,
            there[id_].size,
            there[id_].sha256,
            there[id_].width,
            there[id_].height,
        )
        for id_ in ids
    )


async def forget_action_files(tx: Transaction, *, used: Collection[int], now: datetime) -> int:
    """Take away what nothing names, once it is a month old. Returns how many."""
    return await tx.run(
        "delete from action_file where created_at < %(before)s and id <> all(%(used)s::bigint[])",
        before=now - KEPT,
        used=list(used),
    )
