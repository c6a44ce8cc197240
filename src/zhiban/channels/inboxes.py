"""Looking at inboxes and connections as an operator does, and changing how they behave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from zhiban.channels.policy import Policy
from zhiban.events import SYSTEM, InboxRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports.setup import READ_ONLY

LONGEST_NAME = 60


@frozen_dataclass
class ConnectionRow:
    id: int
    public_id: str
    vendor: str
    name: str
    config: dict[str, Any]
    broken: str | None
    broken_at: datetime | None
    contacts_off: str | None  # why friendships with contacts are not known; no trouble, only information
    verified_at: datetime | None  # when a genuine call was first known to reach our address
    paused_at: datetime | None
    removed_at: datetime | None


@frozen_dataclass
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
    paused_at: datetime | None
    archived_at: datetime | None
    removed_at: datetime | None
    conversations: int
    waiting: int


_INBOXES = """
select i.id, i.public_id, i.connection_id, i.kind, i.external_id, i.name, i.policy, b.slug as base, i.broken,
  i.paused_at, i.archived_at, i.removed_at,
  (select count(*) from conversation c where c.workspace_id = i.workspace_id and c.inbox_id = i.id) as conversations,
  (select count(*) from conversation c where c.workspace_id = i.workspace_id and c.inbox_id = i.id
    and c.status = 'open') as waiting
from inbox i left join knowledge_base b on b.workspace_id = i.workspace_id and b.id = i.base_id
order by i.archived_at nulls first, i.id"""


async def connections(tx: Transaction, *, part: Literal["channel", "tracker"] = "channel") -> list[ConnectionRow]:
    """Those with channels, or those to trackers."""
    return await tx.objects(
        ConnectionRow,
        "select id, public_id, vendor, name, config, broken, broken_at, contacts_off, verified_at, paused_at, "
        "removed_at from connection where part = %(part)s order by id",
        part=part,
    )


async def access_connection(
    tx: Transaction, connection_id: int, *, part: Literal["channel", "tracker"] = "channel"
) -> ConnectionRow:
    """A connection that is in use. Raises NotFound."""
    row = next((one for one in await connections(tx, part=part) if one.id == connection_id), None)
    if row is None or row.removed_at is not None:
        raise NotFound("There is no such connection.")
    return row


@frozen_dataclass
class InboxConfig:
    """How an inbox is set up. What happened in it is not counted for that."""

    id: int
    connection_id: int
    kind: str
    external_id: str
    name: str
    policy: dict[str, Any]
    base: str | None
    broken: str | None
    paused_at: datetime | None
    archived_at: datetime | None
    removed_at: datetime | None


_CONFIGS = """
select i.id, i.connection_id, i.kind, i.external_id, i.name, i.policy, b.slug as base, i.broken, i.paused_at,
  i.archived_at, i.removed_at
from inbox i left join knowledge_base b on b.workspace_id = i.workspace_id and b.id = i.base_id"""
_IN_USE = _CONFIGS + " where i.archived_at is null"


async def access_inbox(tx: Transaction, inbox_id: int) -> InboxConfig:
    """An inbox that is in use. Raises NotFound."""
    row = await tx.object(InboxConfig, _IN_USE + " and i.id = %(id)s", id=inbox_id)
    if row is None:
        raise NotFound("There is no such inbox.")
    return row


async def inbox_configs(tx: Transaction, connection_id: int | None = None) -> list[InboxConfig]:
    """Every inbox in use, or those of one connection."""
    sql = _IN_USE + (" and i.connection_id = %(connection)s" if connection_id is not None else "")
    return await tx.objects(InboxConfig, sql + " order by i.id", connection=connection_id)


async def inboxes_ever(tx: Transaction) -> list[InboxConfig]:
    """Every inbox, those out of use last: what happened in them stays."""
    return await tx.objects(InboxConfig, _CONFIGS + " order by i.archived_at nulls first, i.id")


@frozen_dataclass
class InboxCounts:
    conversations: int
    waiting: int


async def inbox_counts(tx: Transaction, inbox_id: int) -> InboxCounts:
    """How many conversations an inbox has, and how many of them wait for people."""
    found = await tx.object(
        InboxCounts,
        "select count(*) as conversations, count(*) filter (where status = 'open') as waiting from conversation "
        "where inbox_id = %(id)s",
        id=inbox_id,
    )
    return found or InboxCounts(0, 0)


async def lock_inbox(tx: Transaction, inbox_id: int) -> None:
    """Whoever else changes the inbox waits until this transaction ends."""
    await tx.value("select id from inbox where id = %(id)s for update", id=inbox_id)


LATEST_CALLS = 2_000  # of all connections, among which one's own are looked for


async def note_called(tx: Transaction, connections: Sequence[ConnectionRow]) -> None:
    """Take a genuine call among the latest ones as the proof that the vendor reaches us, where there is none yet."""
    unproven = [row.id for row in connections if row.verified_at is None]
    if unproven:
        await tx.run(
            "update connection set verified_at = d.received_at from (select connection_id, min(received_at) as "
            "received_at from (select connection_id, received_at from delivery order by received_at desc "
            "limit %(most)s) latest group by 1) d where d.connection_id = connection.id "
            "and connection.id = any(%(ids)s) and connection.verified_at is null",
            most=LATEST_CALLS,
            ids=unproven,
        )


async def last_calls(tx: Transaction) -> dict[int, datetime]:
    """When each connection was called last, of those that are among the latest calls of all."""
    rows = await tx.rows(
        "select connection_id, max(received_at) from (select connection_id, received_at from delivery "
        "order by received_at desc limit %(most)s) latest group by 1",
        most=LATEST_CALLS,
    )
    return dict(rows)


async def inboxes(tx: Transaction) -> list[InboxRow]:
    """Every inbox, those out of use last."""
    return await tx.objects(InboxRow, _INBOXES)


@frozen_dataclass
class InboxName:
    """An inbox in use, as lists to choose from show it."""

    id: int
    kind: str
    name: str


async def inbox_names(tx: Transaction) -> list[InboxName]:
    """Every inbox in use, by name."""
    return await tx.objects(
        InboxName,
        "select id, kind, name from inbox where archived_at is null and removed_at is null order by name, id",
    )


async def inboxes_of(tx: Transaction, connection_id: int) -> list[int]:
    """The inboxes of a connection that are in use."""
    return await tx.values(
        "select id from inbox where connection_id = %(id)s and archived_at is null order by id", id=connection_id
    )


@frozen_dataclass
class CardInbox:
    """By which inbox cards are sent, and whose members get them."""

    id: int
    vendor: str


async def card_inbox(tx: Transaction, inbox_id: int, kinds: Sequence[str]) -> CardInbox | None:
    """The inbox of one of these kinds on the same connection as another inbox."""
    return await tx.object(
        CardInbox,
        "select i.id, c.vendor from inbox i join connection c on c.workspace_id = i.workspace_id "
        "and c.id = i.connection_id where i.kind = any(%(kinds)s::text[]) and i.archived_at is null "
        "and i.connection_id = (select connection_id from inbox where id = %(inbox)s) order by i.id limit 1",
        inbox=inbox_id,
        kinds=list(kinds),
    )


async def card_inbox_at(tx: Transaction, vendor: str, kinds: Sequence[str]) -> CardInbox | None:
    """An inbox of one of these kinds at this vendor."""
    return await tx.object(
        CardInbox,
        "select i.id, c.vendor from inbox i join connection c on c.workspace_id = i.workspace_id "
        "and c.id = i.connection_id where i.kind = any(%(kinds)s::text[]) and i.archived_at is null "
        "and i.removed_at is null and c.removed_at is null and c.vendor = %(vendor)s order by i.id limit 1",
        vendor=vendor,
        kinds=list(kinds),
    )


async def inbox_called(tx: Transaction, name: str | None) -> InboxRow:
    """The inbox of this name, id, public id or account; without a name the only one. Raises NotFound."""
    there = [row for row in await inboxes(tx) if row.archived_at is None]
    if name is None:
        if len(there) == 1:
            return there[0]
        raise NotFound(f"There are {len(there)} inboxes; say which one with --inbox.")
    found = [row for row in there if name in (row.name, row.public_id, row.external_id, str(row.id))]
    if len(found) != 1:
        raise NotFound(f"{len(found) or 'No'} inbox is called {name}; zhiban inbox list shows them all.")
    return found[0]


async def settings_of(tx: Transaction, inbox_id: int) -> Policy:
    """How an inbox behaves now. Raises NotFound."""
    policy = await tx.value("select policy from inbox where id = %(id)s", id=inbox_id)
    if policy is None:
        raise NotFound("There is no such inbox.")
    return Policy.model_validate(policy)


@frozen_dataclass
class InboxSettings:
    """How an inbox behaves, and what kind of channel it is of. `silent`: why nothing is said by itself, if so."""

    inbox_id: int
    kind: str
    policy: Policy
    silent: Literal["", "paused", "read_only"] = ""


_SETTINGS = """
select i.id, i.kind, i.policy, i.paused_at is not null as paused, n.config as config
from inbox i join connection n on n.workspace_id = i.workspace_id and n.id = i.connection_id"""


async def inbox_settings(tx: Transaction, inbox_id: int) -> InboxSettings:
    """How an inbox behaves now, and whether it may speak. Raises NotFound."""
    row = await tx.row(_SETTINGS + " where i.id = %(id)s", id=inbox_id)
    if row is None:
        raise NotFound("There is no such inbox.")
    return _as_settings(*row)


async def all_settings(tx: Transaction) -> list[InboxSettings]:
    """How every inbox in use behaves."""
    return [_as_settings(*row) for row in await tx.rows(_SETTINGS + " where i.archived_at is null")]


def _as_settings(
    inbox_id: int, kind: str, policy: Mapping[str, Any], paused: bool, config: Mapping[str, Any]
) -> InboxSettings:
    silent: Literal["", "paused", "read_only"] = "paused" if paused else "read_only" if config.get(READ_ONLY) else ""
    return InboxSettings(inbox_id, kind, Policy.model_validate(policy), silent)


async def archive_accounts(tx: Transaction, connection_id: int, external_ids: Sequence[str], *, now: datetime) -> None:
    """The vendor took these accounts away: their inboxes receive nothing any more, and their conversations stay."""
    ids = await tx.values(
        "update inbox set archived_at = %(now)s where connection_id = %(connection)s "
        "and external_id = any(%(ids)s::text[]) and archived_at is null returning id",
        now=now,
        connection=connection_id,
        ids=list(external_ids),
    )
    await event_log.append(tx, *(InboxRemoved(actor=SYSTEM, at=now, inbox_id=id_) for id_ in ids))


async def working_connections(tx: Transaction) -> list[int]:
    """The ids of connections with channels that are in use and not broken."""
    return await tx.values(
        "select id from connection where part = 'channel' and broken is null and removed_at is null order by id"
    )


def inboxes_of_kinds_sql(kinds: str) -> str:
    """SQL for the ids of the inboxes of these kinds, a text[] of SQL."""
    return f"(select i.id from inbox i where i.kind = any({kinds}))"
