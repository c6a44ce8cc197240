"""What is asked of a workspace: its id, its slug, its name, its language."""

from __future__ import annotations

from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.kit.i18n import Locale, to_locale


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
