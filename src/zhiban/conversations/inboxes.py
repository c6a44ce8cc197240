"""Looking at inboxes and connections as an operator does, and changing how they behave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zhiban.conversations.connections import CONFIG
from zhiban.events import Actor, InboxConfigured
from zhiban.kit.bus import record
from zhiban.kit.db import Work
from zhiban.kit.errors import NotFound


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    id: int
    public_id: str
    vendor: str
    name: str
    config: dict[str, Any]
    broken: str | None
    broken_at: datetime | None


@dataclass(frozen=True, slots=True)
class InboxRow:
    id: int
    public_id: str
    connection_id: int
    kind: str
    external_id: str
    name: str
    policy: dict[str, Any]
    base: str | None
    broken: str | None
    archived_at: datetime | None
    conversations: int
    waiting: int


_INBOXES = """
select i.id, i.public_id, i.connection_id, i.kind, i.external_id, i.name, i.policy, b.slug as base, i.broken,
  i.archived_at,
  (select count(*) from conversation c where c.workspace_id = i.workspace_id and c.inbox_id = i.id) as conversations,
  (select count(*) from conversation c where c.workspace_id = i.workspace_id and c.inbox_id = i.id
    and c.status = 'open') as waiting
from inbox i left join knowledge_base b on b.workspace_id = i.workspace_id and b.id = i.base_id
order by i.archived_at nulls first, i.id"""


async def connections(work: Work) -> list[ConnectionRow]:
    return await work.objects(
        ConnectionRow, "select id, public_id, vendor, name, config, broken, broken_at from connection order by id"
    )


async def inboxes(work: Work) -> list[InboxRow]:
    """Every inbox, those out of use last."""
    return await work.objects(InboxRow, _INBOXES)


async def inbox_called(work: Work, name: str | None) -> InboxRow:
    """The inbox of this name, id, public id or account; without a name the only one. Raises NotFound."""
    there = [row for row in await inboxes(work) if row.archived_at is None]
    if name is None:
        if len(there) == 1:
            return there[0]
        raise NotFound(f"There are {len(there)} inboxes; say which one with --inbox.")
    found = [row for row in there if name in (row.name, row.public_id, row.external_id, str(row.id))]
    if len(found) != 1:
        raise NotFound(f"{len(found) or 'No'} inbox is called {name}; zhiban inbox list shows them all.")
    return found[0]


async def set_policy(
    work: Work, inbox_id: int, policy: Mapping[str, Any], *, by: Actor, now: datetime, cause: str = ""
) -> bool:
    """Let the inbox behave by this policy. False when it does already. Raises NotFound."""
    row = await work.row("select policy from inbox where id = %(id)s for update", id=inbox_id)
    if row is None:
        raise NotFound("There is no such inbox.")
    if row[0] == dict(policy):
        return False
    await work.run(
        "update inbox set policy = %(policy)s::jsonb where id = %(id)s",
        id=inbox_id,
        policy=json.dumps(dict(policy), ensure_ascii=False),
    )
    await record(
        work, InboxConfigured(actor=by, at=now, inbox_id=inbox_id, cause=cause, before=row[0], after=dict(policy))
    )
    work.touch(CONFIG, inbox_id)
    return True


async def set_name(work: Work, inbox_id: int, name: str) -> None:
    """What people call the inbox."""
    await work.run("update inbox set name = %(name)s where id = %(id)s", id=inbox_id, name=name)
    work.touch(CONFIG, inbox_id)


async def set_base(work: Work, inbox_id: int, base_id: int | None) -> None:
    """Which knowledge base the inbox answers from; None is the default one."""
    await work.run("update inbox set base_id = %(base)s where id = %(id)s", id=inbox_id, base=base_id)
    work.touch(CONFIG, inbox_id)
