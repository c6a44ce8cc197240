"""The accounts behind a connection, and the inboxes that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.channels import configuring
from zhiban.channels.connection_health import mark_mended
from zhiban.channels.connections import OpenConnection, ensure_inbox
from zhiban.channels.topics import CONFIG
from zhiban.kit.db import Database
from zhiban.kit.errors import Misconfigured
from zhiban.ports import VendorAccount


async def find_accounts(database: Database, link: OpenConnection, *, now: datetime) -> None:
    """Make an inbox of every account that the connection may manage, and learn what the accounts are called.

    The connection works, then. Raises TryLater, ConnectionBroken.
    """
    await keep_accounts(database, link, await link.vendor.accounts(), now=now)
    async with database.transaction(link.workspace_id) as tx:
        await mark_mended(tx, link.id, now=now)


async def take_accounts(
    database: Database, link: OpenConnection, only: Sequence[str] = (), *, now: datetime
) -> list[VendorAccount]:
    """An inbox for every account that we may manage and that is wanted, also where an operator had removed it.

    None named: all of them. Returns these. Raises Misconfigured (we may not manage one that is wanted), TryLater,
    ConnectionBroken.
    """
    managed = list(await link.vendor.accounts())
    missing = sorted(set(only) - {one.external_id for one in managed})
    if missing:
        raise Misconfigured(f"This connection may not manage {', '.join(missing)}.")
    wanted = [one for one in managed if not only or one.external_id in only]
    await keep_accounts(database, link, wanted, wanted=True, now=now)
    return wanted


async def keep_accounts(
    database: Database,
    connection: OpenConnection,
    accounts: Sequence[VendorAccount],
    *,
    wanted: bool = False,
    now: datetime,
) -> None:
    """An inbox for every account, except those that an operator removed or left out, unless they are `wanted` now.

    What people named stays.
    """
    async with database.transaction(connection.workspace_id) as tx:
        for account in accounts:
            inbox_id = await ensure_inbox(
                tx, connection.id, account.kind, account.external_id, account.name, wanted=wanted, now=now
            )
            if inbox_id is not None:
                await configuring.learn_name(tx, inbox_id, account.name, now=now)
        tx.publish_after_commit(CONFIG, connection.id)
