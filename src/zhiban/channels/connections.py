"""Opens connections and inboxes: credentials are unsealed once per process, tokens shared by all processes."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from zhiban.channels.configuring import notified
from zhiban.channels.credentials import place_of_secrets, place_of_token
from zhiban.channels.policy import Policy
from zhiban.channels.removed import RemovedChannel, RemovedTracker, RemovedVendor
from zhiban.channels.reply_slots import SharedReplySlots
from zhiban.events import SYSTEM, Actor, InboxAdded
from zhiban.kit import event_log
from zhiban.kit.breaker_store import BreakerStore
from zhiban.kit.clock import Clock
from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.vault import SealBroken, Vault
from zhiban.ports import (
    AcceptsSockets,
    AccessToken,
    AnswersInSlots,
    Breakers,
    Channel,
    SocketCalls,
    TokenStore,
    Tracker,
    TryLater,
    Vendor,
)
from zhiban.ports.setup import READ_ONLY

log = logging.getLogger(__name__)

TOKEN_LEASE = timedelta(seconds=20)
CALLBACK = "callback"  # kind of the directory's entries for public ids; with "/vendor" for each of its connections


# What a paused inbox, or one of a connection for reading only, has of its policy: everything is received, people may
# answer, nothing is said by itself.
SILENT = {"assistant": False, "welcome": "", "closing": "", "away": "", "survey": {"ask": False}}

_MAY_HAVE = """
select coalesce(config -> 'only_accounts' ? %(external)s, true) from connection where id = %(connection)s"""


@frozen_dataclass
class OpenConnection:
    """A connection, opened."""

    workspace_id: int
    id: int
    public_id: str
    vendor_name: str
    vendor: Vendor
    config: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def receiver(self) -> Vendor:
        """Who proves webhooks genuine and acknowledges them."""
        return self.vendor

    def text_for(self, name: str, source: str | None, *, default: str = "") -> str:
        """A text of the configuration: the one for this source, or the general one. Empty means none."""
        general = self.config.get(name, default)
        return str((self.config.get(f"{name}_by_source") or {}).get(source or "", general) or "")


@frozen_dataclass
class OpenTracker:
    """A connection to a tracker, opened."""

    workspace_id: int
    id: int
    public_id: str
    vendor_name: str
    tracker: Tracker

    @property
    def receiver(self) -> Tracker:
        """Who proves webhooks genuine and acknowledges them."""
        return self.tracker


@frozen_dataclass
class OpenInbox:
    """An inbox, ready to receive and to send."""

    workspace_id: int
    inbox_id: int
    connection: OpenConnection
    kind: str
    external_id: str
    name: str
    base_id: int | None
    settings: Policy
    channel: Channel = field(compare=False)


Builder = Callable[[str, Mapping[str, Any], Mapping[str, Any], TokenStore, Breakers], Vendor]
CallsOf = Callable[[int, int], SocketCalls]  # by workspace and connection
TrackerBuilder = Callable[[str, Mapping[str, Any], Mapping[str, Any], TokenStore, Breakers], Tracker]


def no_trackers(name: str, *_: object) -> Tracker:
    """The builder where no tracker can be connected. Raises Misconfigured."""
    raise Misconfigured(f"This version does not know the vendor {name}.")


class SharedTokens:
    """One access token per secret for all processes: refreshed by one of them, thrown away only by its own value."""

    def __init__(
        self, database: Database, vault: Vault, clock: Clock, *, workspace_id: int, connection_id: int
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._workspace_id = workspace_id
        self._connection_id = connection_id
        self._place = place_of_token(workspace_id, connection_id)
        # Not the process: after a change of configuration two of us may live in one.
        self._me = secrets.randbits(62)
        self._token: str | None = None
        self._good_until = clock.now()
        self._renewing = asyncio.Lock()

    async def current(self) -> str | None:
        """The token we know, or None when it must be renewed."""
        return self._token if self._token and self._clock.now() < self._good_until else None

    async def renew(self, failed: str | None, fetch: Callable[[], Awaitable[AccessToken]]) -> str:
        """A token that is not `failed`, fetched by exactly one process. Raises what `fetch` raises, and TryLater."""
        async with self._renewing:
            for _ in range(250):
                if (token := await self.current()) and token != failed:
                    return token
                if await self._take(failed):
                    return await self._fetch(fetch)
                if (token := await self.current()) and token != failed:
                    return token
                await asyncio.sleep(0.1)  # another process is fetching; its lease ends by itself
        raise TryLater("Another process is renewing the access token and does not finish.", after=5)

    async def _take(self, failed: str | None) -> bool:
        """Learn the stored token, and take the lease when it does not serve."""
        now = self._clock.now()
        async with self._database.transaction(self._workspace_id) as tx:
            row = await tx.row(
                "select token, token_expires_at, token_leased_by, token_lease_expires_at from connection "
                "where id = %(id)s for update",
                id=self._connection_id,
            )
            if row is None:
                raise NotFound("The connection was removed.")
            sealed, expires_at, leased_by, lease_expires_at = row
            stored = self._opened(sealed) if sealed else None
            if stored and stored != failed and expires_at and expires_at > now:
                self._token, self._good_until = stored, expires_at
                return False
            if leased_by not in (None, self._me) and lease_expires_at and lease_expires_at > now:
                return False
            await tx.run(
                "update connection set token_leased_by = %(me)s, token_lease_expires_at = %(until)s where id = %(id)s",
                me=self._me,
                until=now + TOKEN_LEASE,
                id=self._connection_id,
            )
        self._token = None
        return True

    def _opened(self, sealed: bytes) -> str | None:
        """The stored token; None when another key sealed it, for then it is fetched anew."""
        try:
            return str(self._vault.open(sealed, bound_to=self._place)["token"])
        except SealBroken:
            return None

    async def _fetch(self, fetch: Callable[[], Awaitable[AccessToken]]) -> str:
        grant: AccessToken | None = None
        try:
            grant = await fetch()
        finally:
            until = self._clock.now() + timedelta(seconds=grant.seconds if grant else 0)
            async with self._database.transaction(self._workspace_id) as tx:
                await tx.run(
                    "update connection set token = coalesce(%(token)s, token), token_expires_at = %(until)s, "
                    "token_leased_by = null, token_lease_expires_at = null "
                    "where id = %(id)s and token_leased_by = %(me)s",
                    token=self._vault.seal({"token": grant.token}, bound_to=self._place) if grant else None,
                    until=until,
                    id=self._connection_id,
                    me=self._me,
                )
        self._token, self._good_until = grant.token, until
        return grant.token


class Connections:
    """Opened connections and inboxes of this process, forgotten when they change.

    What was read while a change was announced may be from before it: it serves who asked, and is not kept.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        breakers: BreakerStore,
        *,
        build: Builder,
        build_tracker: TrackerBuilder = no_trackers,
        calls: CallsOf | None = None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._breakers = breakers
        self._build = build
        self._build_tracker = build_tracker
        self._calls = calls
        self._connections_open: dict[tuple[int, int], OpenConnection | OpenTracker] = {}
        self._callbacks: dict[str, OpenConnection | OpenTracker] = {}
        self._inboxes_open: dict[tuple[int, int], OpenInbox] = {}
        self._inboxes: dict[tuple[int, int, str | None], int | None] = {}
        self._generation = 0  # of what is known: counts the changes

    @property
    def vault(self) -> Vault:
        """What seals and opens secrets."""
        return self._vault

    def forget(self, workspace_id: int, _id: int) -> None:
        """Something in this workspace was configured anew. Built objects go; the next use reads the rows again."""
        self._generation += 1
        self._connections_open = {
            key: connection for key, connection in self._connections_open.items() if key[0] != workspace_id
        }
        self._inboxes_open = {key: inbox for key, inbox in self._inboxes_open.items() if key[0] != workspace_id}
        self._inboxes = {key: inbox_id for key, inbox_id in self._inboxes.items() if key[0] != workspace_id}
        self._callbacks.clear()

    def forget_all(self) -> None:
        """Notices of changes may have been missed."""
        self._generation += 1
        self._connections_open, self._inboxes_open, self._inboxes = {}, {}, {}
        self._callbacks.clear()

    async def for_callback(self, public_id: str | None, *, vendor: str = "") -> OpenConnection | OpenTracker | None:
        """The connection with this public id (its own, or an inbox's), or without one the vendor's first.

        What is not there is looked for again each time: it may be connected at any moment, by another process.
        """
        key = public_id or f"{vendor}/"
        connection = self._callbacks.get(key)
        if connection is None:
            generation = self._generation
            connection = await self._find_callback(public_id, vendor)
            if connection is not None and generation == self._generation:
                self._callbacks[key] = connection
        return connection

    async def _find_callback(self, public_id: str | None, vendor: str) -> OpenConnection | OpenTracker | None:
        sql = "select workspace_id, ref from directory where kind = %(kind)s "
        async with self._database.transaction(NO_WORKSPACE) as tx:
            if public_id is not None:
                row = await tx.row(sql + "and key = %(key)s", kind=CALLBACK, key=public_id)
            else:
                row = await tx.row(sql + "order by workspace_id, ref limit 1", kind=f"{CALLBACK}/{vendor}")
        if row is None:
            return None
        workspace_id, connection_id = row
        return await self.any(workspace_id, connection_id)

    async def connection(self, workspace_id: int, connection_id: int) -> OpenConnection:
        """An opened connection to a vendor with channels. Raises NotFound."""
        connection = await self.any(workspace_id, connection_id)
        if not isinstance(connection, OpenConnection):
            raise NotFound("There is no such connection.")
        return connection

    async def tracker(self, workspace_id: int, connection_id: int) -> OpenTracker:
        """An opened connection to a tracker. Raises NotFound."""
        connection = await self.any(workspace_id, connection_id)
        if not isinstance(connection, OpenTracker):
            raise NotFound("There is no such connection.")
        return connection

    async def any(self, workspace_id: int, connection_id: int) -> OpenConnection | OpenTracker:
        """An opened connection, whatever is behind it. Raises NotFound."""
        connection = self._connections_open.get((workspace_id, connection_id))
        if connection is None:
            generation = self._generation
            async with self._database.transaction(workspace_id) as tx:
                row = await tx.row(
                    "select public_id, vendor, part, config, secrets, removed_at from connection where id = %(id)s",
                    id=connection_id,
                )
            if row is None:
                raise NotFound("There is no such connection.")
            public_id, vendor, part, config, sealed, removed_at = row
            tokens = SharedTokens(
                self._database,
                self._vault,
                self._clock,
                workspace_id=workspace_id,
                connection_id=connection_id,
            )
            place = place_of_secrets(workspace_id, public_id)
            breakers = self._breakers.of(workspace_id, f"{vendor}/{connection_id}/")
            hidden = {} if removed_at else self._vault.open(sealed, bound_to=place)
            if part == "tracker":
                tracker = (
                    RemovedTracker() if removed_at else self._build_tracker(vendor, config, hidden, tokens, breakers)
                )
                connection = OpenTracker(workspace_id, connection_id, public_id, vendor, tracker)
            else:
                built = RemovedVendor() if removed_at else self._build(vendor, config, hidden, tokens, breakers)
                if isinstance(built, AnswersInSlots):
                    built.use_slots(
                        SharedReplySlots(
                            self._database, self._clock, workspace_id=workspace_id, connection_id=connection_id
                        )
                    )
                if isinstance(built, AcceptsSockets) and self._calls is not None:
                    built.bind(self._calls(workspace_id, connection_id))
                connection = OpenConnection(workspace_id, connection_id, public_id, vendor, built, config)
            if generation == self._generation:
                self._connections_open[workspace_id, connection_id] = connection
        return connection

    async def note_verified(self, connection: OpenConnection | OpenTracker, *, now: datetime) -> None:
        """The vendor has just proved that it reaches our address."""
        async with self._database.webhook_transaction(connection.workspace_id) as tx:
            await tx.run(
                "update connection set verified_at = %(now)s where id = %(id)s and removed_at is null",
                now=now,
                id=connection.id,
            )

    async def notified(self, workspace_id: int, inbox_id: int) -> list[str]:
        """The addresses that this inbox's policy names for notices. Raises SealBroken."""
        async with self._database.transaction(workspace_id) as tx:
            return await notified(tx, self._vault, inbox_id)

    def known(self, workspace_id: int, inbox_id: int) -> OpenInbox | None:
        """The inbox if it is open already, without asking the database."""
        return self._inboxes_open.get((workspace_id, inbox_id))

    async def inbox(self, workspace_id: int, inbox_id: int) -> OpenInbox:
        """An inbox with its channel. Raises NotFound."""
        inbox = self._inboxes_open.get((workspace_id, inbox_id))
        if inbox is None:
            generation = self._generation
            async with self._database.transaction(workspace_id) as tx:
                row = await tx.row(
                    "select connection_id, kind, external_id, name, base_id, policy, paused_at, removed_at from inbox "
                    "where id = %(id)s",
                    id=inbox_id,
                )
            if row is None:
                raise NotFound("There is no such inbox.")
            connection_id, kind, external_id, name, base_id, policy, paused_at, removed_at = row
            connection = await self.connection(workspace_id, connection_id)
            if paused_at is not None or connection.config.get(READ_ONLY):
                policy = {**policy, **SILENT}
            inbox = OpenInbox(
                workspace_id=workspace_id,
                inbox_id=inbox_id,
                connection=connection,
                kind=kind,
                external_id=external_id,
                name=name,
                base_id=base_id,
                settings=Policy.model_validate(policy),
                channel=RemovedChannel() if removed_at else connection.vendor.channel(kind, external_id),
            )
            if generation == self._generation:
                self._inboxes_open[workspace_id, inbox_id] = inbox
        return inbox

    async def inbox_of(self, connection: OpenConnection, account: str | None) -> int | None:
        """The inbox that a webhook means, made by its first one: only our own vendor can call genuinely.

        None when an operator does not want the account, or has removed its inbox.
        """
        key = (connection.workspace_id, connection.id, account)
        if key not in self._inboxes:
            generation = self._generation
            meant = connection.vendor.account(account)
            async with self._database.transaction(connection.workspace_id) as tx:
                inbox_id = await ensure_inbox(
                    tx,
                    connection.id,
                    meant.kind,
                    meant.external_id,
                    meant.name,
                    own=account is None,
                    talks=meant.talks,
                    now=self._clock.now(),
                )
            if generation == self._generation:
                self._inboxes[key] = inbox_id
            return inbox_id
        return self._inboxes[key]


async def ensure_inbox(
    tx: Transaction,
    connection_id: int,
    kind: str,
    external_id: str,
    name: str,
    *,
    own: bool = False,
    wanted: bool = False,
    talks: bool = True,
    by: Actor = SYSTEM,
    now: datetime,
) -> int | None:
    """The inbox of an account, created when it is new; a returning account is taken out of the archive.

    None when the connection is restricted to other accounts, or an operator has removed the inbox. `own` says that
    the account is the connection itself, which no restriction concerns; `wanted`, that an operator asks for it now.
    Where nobody can be answered (`talks` false) the inbox only holds what arrives, and stays in the archive.
    """
    known = await tx.row(
        "select id, archived_at, removed_at from inbox where connection_id = %(connection)s and kind = %(kind)s "
        "and external_id = %(external)s",
        connection=connection_id,
        kind=kind,
        external=external_id,
    )
    if known is not None:
        inbox_id, archived_at, removed_at = known
        if removed_at is not None and not wanted:
            return None
        if archived_at is not None and talks:
            await tx.run("update inbox set archived_at = null, removed_at = null where id = %(id)s", id=inbox_id)
            await _record_added(tx, inbox_id, connection_id, kind, named=True, by=by, now=now)
        return int(inbox_id)
    if not (own or wanted) and not await tx.value(_MAY_HAVE, connection=connection_id, external=external_id):
        return None
    row = await tx.row(
        "insert into inbox (workspace_id, public_id, connection_id, kind, external_id, name, archived_at) "
        "values (%(workspace)s, %(public)s, %(connection)s, %(kind)s, %(external)s, %(name)s, "
        "case when not %(talks)s then now() end) "
        "on conflict (workspace_id, connection_id, kind, external_id) do update set archived_at = excluded.archived_at "
        "returning id, public_id",
        workspace=tx.workspace_id,
        public=secrets.token_hex(10),
        connection=connection_id,
        kind=kind,
        external=external_id,
        name=name,
        talks=talks,
    )
    if row is None:
        raise NotFound("There is no such connection.")
    inbox_id, public_id = row
    await tx.run(
        "insert into directory (kind, key, workspace_id, ref) values (%(kind)s, %(key)s, %(workspace)s, %(ref)s) "
        "on conflict do nothing",
        kind=CALLBACK,
        key=public_id,
        workspace=tx.workspace_id,
        ref=connection_id,
    )
    await _record_added(tx, inbox_id, connection_id, kind, named=name != external_id, by=by, now=now)
    return int(inbox_id)


async def _record_added(
    tx: Transaction, inbox_id: int, connection_id: int, kind: str, *, named: bool, by: Actor, now: datetime
) -> None:
    added = InboxAdded(actor=by, at=now, inbox_id=inbox_id, connection_id=connection_id, channel=kind, named=named)
    await event_log.append(tx, added)
