"""Fetches what a doorbell announced: one puller per account across all processes, the cursor with the messages.

Pending deliveries say what to fetch: a pull closes those that were stored before it began, and goes round again for
later ones. Nothing here depends on a doorbell arriving: a slow safety poll finds what none announced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import psycopg

from zhiban.channels.connection_health import mark_broken, mark_mended
from zhiban.channels.connections import Connections, OpenInbox
from zhiban.channels.delivery_store import park
from zhiban.channels.topics import ACCOUNT_WAITING
from zhiban.conversations.ingest import Ingest, IngestResult, ingest, ingest_one_by_one
from zhiban.kit import metrics
from zhiban.kit.background_tasks import BackgroundTasks
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import ZhibanError
from zhiban.kit.pubsub import PubSub
from zhiban.ports import ConnectionBroken, Page, Polls, SendRefused, TryLater
from zhiban.workers.conversation_worker import ConversationWorker

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
TOKEN_LIFE = timedelta(minutes=9)  # tokens of webhooks are good for ten
BROKEN_WAIT = 60.0
LONGEST_WAIT = 300.0
SAFETY_POLL = timedelta(minutes=5)
GATHER_SECONDS = 0.01
PAGES = 50  # per round; the rest is fetched in the next round, so that a stop is never far

# Takes the account, and reads what was announced for it: pending deliveries, and the newest token that is still good.
# The token outlives its doorbell: a repeated one or the safety poll pulls again, and pulls without a token are limited
# strictly.
_TAKE = """
with bells as (
  select max(id) as last,
    (array_agg(token order by id desc) filter (where token is not null))[1] as token,
    max(received_at) filter (where token is not null) as token_at
  from delivery where state = 'pending' and pulls and connection_id = %(connection)s
    and account is not distinct from %(account)s),
taken as (
  insert into pull_state as p (workspace_id, inbox_id, leased_by, lease_expires_at, token, token_at)
  select %(workspace)s, %(inbox)s, %(me)s, %(lease)s, token, token_at from bells
  on conflict (workspace_id, inbox_id) do update set leased_by = %(me)s, lease_expires_at = %(lease)s,
    token = coalesce(excluded.token, p.token), token_at = coalesce(excluded.token_at, p.token_at)
  where p.leased_by is null or p.leased_by = %(me)s or p.lease_expires_at < %(now)s
  returning p.cursor, p.drained, p.misses, case when p.token_at > %(fresh)s then p.token end as token)
select t.cursor, t.drained, t.misses, b.last, t.token from taken t cross join bells b"""

# Moves the cursor; with the last page also closes the bells that were read before, and leaves.
_ADVANCE = """
with closed as (
  update delivery set state = 'done', handled_at = %(now)s
  where state = 'pending' and pulls and connection_id = %(connection)s and account is not distinct from %(account)s
    and id <= %(last)s and not %(more)s)
update pull_state set cursor = coalesce(%(cursor)s, cursor), drained = drained or not %(more)s, pulled_at = %(now)s,
  misses = 0, retry_at = %(retry_at)s, leased_by = case when %(more)s then leased_by end,
  lease_expires_at = case when %(more)s then %(lease)s::timestamptz end
where inbox_id = %(inbox)s and leased_by = %(me)s and cursor is not distinct from %(previous)s returning 1"""

_LEAVE = """
update pull_state set leased_by = null, lease_expires_at = null, misses = %(misses)s, retry_at = %(retry_at)s
where inbox_id = %(inbox)s and leased_by = %(me)s"""


@dataclass(slots=True)
class _PollState:
    """What this process knows about an account: whether a pull runs, and whether it was woken meanwhile."""

    running: bool = False
    woken: bool = False


class AccountPoller:
    """Pulls for this process."""

    def __init__(
        self,
        database: Database,
        connections: Connections,
        conversation_worker: ConversationWorker,
        pubsub: PubSub,
        clock: Clock,
    ) -> None:
        self._database = database
        self._connections = connections
        self._conversation_worker = conversation_worker
        self._pubsub = pubsub
        self._clock = clock
        self._states: dict[tuple[int, int], _PollState] = {}
        self._tasks = BackgroundTasks()
        self._closing = False
        self._broken: set[int] = set()  # connections that failed since they last worked

    def wake(self, workspace_id: int, inbox_id: int) -> None:
        """There is something to fetch. Any number of calls while a pull runs make one more round."""
        if self._closing:
            return
        state = self._states.setdefault((workspace_id, inbox_id), _PollState())
        state.woken = True
        if not state.running:
            state.running = True
            self._tasks.start(self._run(workspace_id, inbox_id, state))

    async def poll_new_account(self, workspace_id: int, connection_id: int, account: str | None) -> None:
        """Make the inbox of an account that was announced before it had one, and pull it."""
        connection = await self._connections.connection(workspace_id, connection_id)
        inbox_id = await self._connections.inbox_of(connection, account)
        if inbox_id is not None:
            self.wake(workspace_id, inbox_id)
            return
        async with self._database.transaction(workspace_id) as tx:
            await park(tx, connection_id, account)

    async def close(self, *, within: float = 5.0) -> None:
        self._closing = True
        await self._tasks.close(within=within)

    async def _run(self, workspace_id: int, inbox_id: int, state: _PollState) -> None:
        try:
            for again in count():
                state.woken = False
                await self._pull(workspace_id, inbox_id)
                if state.woken and again:
                    # It is busy here: let some more arrive, and fetch them together.
                    await asyncio.sleep(GATHER_SECONDS)
                if not state.woken or self._closing:
                    break
        except (psycopg.Error, ZhibanError) as error:
            log.warning("Pulling inbox %s is left to recovery: %s", inbox_id, str(error).strip())
        except Exception:  # one account's accident must not silence the others
            log.exception("Pulling inbox %s is left to recovery.", inbox_id)
        finally:
            state.running = False

    async def _pull(self, workspace_id: int, inbox_id: int) -> None:
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if not isinstance(inbox.channel, Polls):
            await self._wake_neighbours(inbox)
            return
        now = self._clock.now()
        # A lease that a crash undoes is free again, and its bells still wait.
        async with self._database.transaction(workspace_id, durable=False) as tx:
            row = await tx.row(
                _TAKE,
                workspace=workspace_id,
                inbox=inbox_id,
                me=self._pubsub.process_id,
                now=now,
                lease=now + LEASE,
                connection=inbox.connection.id,
                account=inbox.external_id,
                fresh=now - TOKEN_LIFE,
            )
        if row is None:
            self._pubsub.publish_remote(ACCOUNT_WAITING, workspace_id, inbox_id)
            return
        cursor, drained, misses, last_doorbell, token = row
        try:
            await self._pages(inbox, inbox.channel, cursor, token, last_doorbell, history=not drained)
        except (TryLater, ConnectionBroken, SendRefused) as error:
            await self._miss(inbox, error, misses + 1)

    async def _wake_neighbours(self, inbox: OpenInbox) -> None:
        """A doorbell that names no account (very old set-ups) means any account of its connection."""
        async with self._database.transaction(inbox.workspace_id) as tx:
            rows = await tx.rows(
                "select id from inbox where connection_id = %(connection)s and id <> %(own)s and archived_at is null",
                connection=inbox.connection.id,
                own=inbox.inbox_id,
            )
            await tx.run(
                "update delivery set state = 'done', handled_at = %(now)s where connection_id = %(connection)s "
                "and state = 'pending' and pulls and account is null",
                now=self._clock.now(),
                connection=inbox.connection.id,
            )
        for (inbox_id,) in rows:
            self.wake(inbox.workspace_id, inbox_id)

    async def _pages(
        self,
        inbox: OpenInbox,
        channel: Polls,
        cursor: str | None,
        token: str | None,
        last_doorbell: int | None,
        *,
        history: bool,
    ) -> None:
        for _ in range(PAGES):
            with metrics.timed("pull"):
                page = await channel.pull(cursor=cursor, token=token)
            now = self._clock.now()
            stuck = page.more and page.cursor in (None, cursor)
            more = page.more and not stuck
            step = {
                "cursor": page.cursor,
                "previous": cursor,
                "more": more,
                "now": now,
                "lease": now + LEASE,
                "retry_at": now + timedelta(seconds=BROKEN_WAIT) if stuck else None,
                "inbox": inbox.inbox_id,
                "me": self._pubsub.process_id,
                "connection": inbox.connection.id,
                "account": inbox.external_id,
                "last": last_doorbell or 0,
            }
            try:
                result = await self._keep(inbox, page, step, ingest, history=history)
            except (psycopg.OperationalError, psycopg.InterfaceError, ZhibanError):
                raise
            except Exception:
                # One entry is at fault, not the database; it must not stop the account for ever.
                log.exception("A page of inbox %s is taken in entry by entry.", inbox.inbox_id)
                result = await self._keep(inbox, page, step, ingest_one_by_one, history=history)
            for conversation_id in result.leased:
                self._conversation_worker.begin(inbox.workspace_id, conversation_id, leased=True)
            metrics.message("incoming", inbox.kind, result.new_messages)
            cursor = page.cursor or cursor
            if not more:
                return
        self.wake(inbox.workspace_id, inbox.inbox_id)

    async def _keep(
        self, inbox: OpenInbox, page: Page, step: Mapping[str, Any], take: Ingest, *, history: bool
    ) -> IngestResult:
        """What the page brought and the cursor behind it, in one transaction."""
        async with self._database.transaction(inbox.workspace_id) as tx:
            result = await take(
                tx, inbox, page.items, now=step["now"], process_id=self._pubsub.process_id, history=history
            )
            if not await tx.value(_ADVANCE, **step):
                raise TryLater("Another process pulls this account now.")
            if inbox.connection.id in self._broken:
                await mark_mended(tx, inbox.connection.id, inbox.inbox_id, now=step["now"])
                self._broken.discard(inbox.connection.id)
        return result

    async def _miss(self, inbox: OpenInbox, error: TryLater | ConnectionBroken | SendRefused, misses: int) -> None:
        """Write down that it did not work, and when to try again."""
        now = self._clock.now()
        wait = min(0.2 * 2 ** min(misses, 12), LONGEST_WAIT)
        wait = max(wait, error.after) if isinstance(error, TryLater) else max(wait, BROKEN_WAIT)
        log.warning("Pulling inbox %s failed, again in %.1f s: %s", inbox.inbox_id, wait, error)
        async with self._database.transaction(inbox.workspace_id) as tx:
            await tx.run(
                _LEAVE,
                inbox=inbox.inbox_id,
                me=self._pubsub.process_id,
                misses=misses,
                retry_at=now + timedelta(seconds=wait),
            )
            if not isinstance(error, TryLater):
                self._broken.add(inbox.connection.id)
                await mark_broken(tx, inbox.connection.id, error.sentence, now=now, inbox_id=inbox.inbox_id)
        asyncio.get_running_loop().call_later(wait, self.wake, inbox.workspace_id, inbox.inbox_id)
