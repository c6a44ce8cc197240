"""The links and QR codes that were made at vendors. They keep their ids: without one a link can never be changed."""

from __future__ import annotations

import json
from datetime import datetime

from zhiban.events import SYSTEM, Actor, ConnectionChanged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class ContactWayRow:
    """A link that leads to members; `state` comes back with everybody who used it."""

    id: str
    picture_url: str
    members: list[str]
    state: str
    remark: str
    skip_verify: bool
    created_at: datetime


async def keep(tx: Transaction, connection_id: int, way: ContactWayRow, *, by: Actor = SYSTEM) -> None:
    """Store a link that was just made."""
    await tx.run(
        "insert into contact_way (workspace_id, connection_id, id, picture_url, members, state, remark, skip_verify, "
        "created_at) values (%(workspace)s, %(connection)s, %(id)s, %(picture)s, %(members)s::jsonb, %(state)s, "
        "%(remark)s, %(skip)s, %(at)s) on conflict do nothing",
        workspace=tx.workspace_id,
        connection=connection_id,
        id=way.id,
        picture=way.picture_url,
        members=json.dumps(way.members),
        state=way.state,
        remark=way.remark,
        skip=way.skip_verify,
        at=way.created_at,
    )
    await _record(tx, connection_id, by=by, now=way.created_at)


async def kept(tx: Transaction, connection_id: int) -> list[ContactWayRow]:
    """The connection's links, the newest first."""
    return await tx.objects(
        ContactWayRow,
        "select id, picture_url, members, state, remark, skip_verify, created_at from contact_way "
        "where connection_id = %(connection)s order by created_at desc, id",
        connection=connection_id,
    )


async def forget(tx: Transaction, connection_id: int, way_id: str, *, by: Actor = SYSTEM, now: datetime) -> None:
    """The link leads nowhere any more."""
    gone = await tx.run(
        "delete from contact_way where connection_id = %(connection)s and id = %(id)s",
        connection=connection_id,
        id=way_id,
    )
    if gone:
        await _record(tx, connection_id, by=by, now=now)


async def _record(tx: Transaction, connection_id: int, *, by: Actor, now: datetime) -> None:
    fact = ConnectionChanged(actor=by, at=now, connection_id=connection_id, changed=("contact_ways",))
    await event_log.append(tx, fact)
