"""What is asked of a workspace: its id, its slug, its name, its language."""

from __future__ import annotations

from datetime import datetime

from zhiban.events import Actor, WorkspaceRenamed
from zhiban.kit import event_log
from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.kit.i18n import Locale, to_locale
from zhiban.people.ownership import clean_name

LONGEST_NAME = 80  # characters of a workspace's name


async def workspace_called(database: Database, slug: str) -> int:
    """The workspace of this slug; NO_WORKSPACE when there is none."""
    async with database.page_transaction(NO_WORKSPACE) as tx:
        found = await tx.value(
            "select workspace_id from directory where kind = 'workspace' and key = %(slug)s", slug=slug
        )
    return NO_WORKSPACE if found is None else int(found)


async def slug_of(tx: Transaction) -> str:
    """What `workspace_called` finds this workspace by."""
    return str(await tx.value("select slug from workspace where workspace_id = %(id)s", id=tx.workspace_id))


async def workspace_locale(tx: Transaction) -> Locale:
    """In which language this workspace speaks where no reader says it."""
    return to_locale(await tx.value("select locale from workspace where workspace_id = %(id)s", id=tx.workspace_id))


async def rename_workspace(tx: Transaction, name: str, *, by: Actor, now: datetime) -> None:
    """Call it otherwise; the name it has already changes nothing. Raises Conflict."""
    name = clean_name(name, longest=LONGEST_NAME)
    previous = await tx.value(
        "select name from workspace where workspace_id = %(workspace)s for update", workspace=tx.workspace_id
    )
    if previous == name:
        return
    await tx.run(
        "update workspace set name = %(name)s where workspace_id = %(workspace)s", name=name, workspace=tx.workspace_id
    )
    await event_log.append(tx, WorkspaceRenamed(actor=by, at=now, name=name, previous=previous))
