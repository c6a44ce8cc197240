"""Fetches what a doorbell announced: one puller per account across all processes, the cursor with the messages.

Pending deliveries are what rings: a pull closes those that were stored before it began, and goes round again for later
ones. Nothing here depends on a doorbell arriving: a slow safety poll finds what was never rung for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from zhiban.channels.connections import Connections, Place
from zhiban.conversations.ingest import TakeIn, Taken, take_in, take_in_singly
from zhiban.conversations.sending import mark_broken, mark_mended
from zhiban.kit import metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import ZhibanError
from zhiban.kit.event_log import PULL
from zhiban.kit.pubsub import Ear
from zhiban.ports import ConnectionBroken, Page, Polls, SendRefused, TryLater
from zhiban.workers.conversation_worker import Lanes

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
TOKEN_LIFE = timedelta(minutes=9)  # WeCom says ten
BROKEN_WAIT = 60.0
LONGEST_WAIT = 300.0
SAFETY_POLL = timedelta(minutes=5)
GATHER_SECONDS = 0.01
PAGES = 50  # per round; the rest is fetched in the next round, so that a stop is never far

# Takes the account, and reads what rings for it: pending deliveries, and the newest token that is still good.
_TAKE = """
with taken as (
  insert into pull_state as p (workspace_id, inbox_id, owner, lease_until)
  values (%(workspace)s, %(inbox)s, %(me)s, %(lease)s)
  on conflict (workspace_id, inbox_id) do update set owner = %(me)s, lease_until = %(lease)s
  where p.owner is null or p.owner = %(me)s or p.lease_until < %(now)s
  returning p.cursor, p.drained, p.misses),
bells as (
  select max(id) as last, (array_agg(token order by id desc) filter (
    where token is not null and received_at > %(fresh)s))[1] as token
  from delivery where state = 'pending' and pulls and connection_id = %(connection)s
    and account is not distinct from %(account)s)
select t.cursor, t.drained, t.misses, b.last, b.token from taken t cross join bells b"""

# Moves the cursor; with the last page also closes the bells that were read before, and leaves.
_ADVANCE = """
with closed as (
  update delivery set state = 'done', handled_at = %(now)s
  where state = 'pending' and pulls and connection_id = %(connection)s and account is not distinct from %(account)s
    and id <= %(last)s and not %(more)s)
update pull_state set cursor = coalesce(%(cursor)s, cursor), drained = drained or not %(more)s, pulled_at = %(now)s,
  misses = 0, retry_at = %(retry_at)s, owner = case when %(more)s then owner end,
  lease_until = case when %(more)s then %(lease)s::timestamptz end
where inbox_id = %(inbox)s and owner = %(me)s and cursor is not distinct from %(previous)s returning 1"""

_LEAVE = """
update pull_state set owner = null, lease_until = null, misses = %(misses)s, retry_at = %(retry_at)s
where inbox_id = %(inbox)s and owner = %(me)s"""


@dataclass(slots=True)
class _Bell:
    """What this process knows about an account that rang: whether a pull runs, and whether it rang meanwhile."""

    running: bool = False
    rung: bool = False


class Puller:
    """Pulls for this process."""

    def __init__(self, database: Database, connections: Connections, lanes: Lanes, ear: Ear, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._lanes = lanes
        self._ear = ear
        self._clock = clock
        self._bells: dict[tuple[int, int], _Bell] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._broken: set[int] = set()  # connections that failed since they last worked

    def ring(self, workspace_id: int, inbox_id: int) -> None:
        """There is something to fetch. Any number of rings while a pull runs make one more round."""
        if self._closing:
            return
        bell = self._bells.setdefault((workspace_id, inbox_id), _Bell())
        bell.rung = True
        if not bell.running:
            bell.running = True
            task = asyncio.create_task(self._run(workspace_id, inbox_id, bell))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def adopt(self, workspace_id: int, connection_id: int, account: str | None) -> None:
        """Make the inbox of an account that rang before it had one, and pull it."""
        link = await self._connections.link(workspace_id, connection_id)
        self.ring(workspace_id, await self._connections.inbox_of(link, account))

    async def close(self, *, within: float = 5.0) -> None:
        self._closing = True
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, workspace_id: int, inbox_id: int, bell: _Bell) -> None:
        try:
            while bell.rung and not self._closing:
                bell.rung = False
                await self._pull(workspace_id, inbox_id)
                if bell.rung:
                    # It is busy here: let some more arrive, and fetch them together.
                    await asyncio.sleep(GATHER_SECONDS)
        except (psycopg.Error, ZhibanError) as error:
            log.warning("Pulling inbox %s is left to the sweep: %s", inbox_id, str(error).strip())
        except Exception:  # one account's accident must not silence the others
            log.exception("Pulling inbox %s is left to the sweep.", inbox_id)
        finally:
            bell.running = False

    async def _pull(self, workspace_id: int, inbox_id: int) -> None:
        place = await self._connections.place(workspace_id, inbox_id)
        if not isinstance(place.channel, Polls):
            await self._ring_neighbours(place)
            return
        now = self._clock.now()
        async with self._database.work(workspace_id) as work:
            row = await work.row(
                _TAKE,
                workspace=workspace_id,
                inbox=inbox_id,
                me=self._ear.me,
                now=now,
                lease=now + LEASE,
                connection=place.link.id,
                account=place.external_id,
                fresh=now - TOKEN_LIFE,
            )
        if row is None:
            self._ear.shout(PULL, workspace_id, inbox_id)
            return
        cursor, drained, misses, last_bell, token = row
        try:
            await self._pages(place, place.channel, cursor, token, last_bell, first_drain=not drained)
        except (TryLater, ConnectionBroken, SendRefused) as error:
            await self._miss(place, error, misses + 1)

    async def _ring_neighbours(self, place: Place) -> None:
        """A doorbell that names no account (very old set-ups) means any account of its connection."""
        async with self._database.work(place.workspace_id) as work:
            rows = await work.rows(
                "select id from inbox where connection_id = %(connection)s and id <> %(own)s and archived_at is null",
                connection=place.link.id,
                own=place.inbox_id,
            )
            await work.run(
                "update delivery set state = 'done', handled_at = %(now)s where connection_id = %(connection)s "
                "and state = 'pending' and pulls and account is null",
                now=self._clock.now(),
                connection=place.link.id,
            )
        for (inbox_id,) in rows:
            self.ring(place.workspace_id, inbox_id)

    async def _pages(
        self,
        place: Place,
        channel: Polls,
        cursor: str | None,
        token: str | None,
        last_bell: int | None,
        *,
        first_drain: bool,
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
                "inbox": place.inbox_id,
                "me": self._ear.me,
                "connection": place.link.id,
                "account": place.external_id,
                "last": last_bell or 0,
            }
            try:
                taken = await self._keep(place, page, step, take_in, first_drain=first_drain)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                raise
            except psycopg.Error:
                # One entry is at fault, not the database; it must not stop the account for ever.
                log.exception("A page of inbox %s is taken in entry by entry.", place.inbox_id)
                taken = await self._keep(place, page, step, take_in_singly, first_drain=first_drain)
            for conversation_id in taken.held:
                self._lanes.begin(place.workspace_id, conversation_id, held=True)
            for conversation_id in taken.busy:
                self._lanes.wake(place.workspace_id, conversation_id)
            metrics.message("incoming", place.kind, taken.new_messages)
            cursor = page.cursor or cursor
            if not more:
                return
        self.ring(place.workspace_id, place.inbox_id)

    async def _keep(
        self, place: Place, page: Page, step: Mapping[str, Any], take: TakeIn, *, first_drain: bool
    ) -> Taken:
        """What the page brought and the cursor behind it, in one transaction."""
        async with self._database.work(place.workspace_id) as work:
            taken = await take(work, place, page.items, now=step["now"], me=self._ear.me, first_drain=first_drain)
            if not await work.value(_ADVANCE, **step):
                raise TryLater("Another process pulls this account now.")
            if place.link.id in self._broken:
                await mark_mended(work, place.link.id, place.inbox_id)
                self._broken.discard(place.link.id)
        return taken

    async def _miss(self, place: Place, error: TryLater | ConnectionBroken | SendRefused, misses: int) -> None:
        """Write down that it did not work, and when to try again."""
        now = self._clock.now()
        wait = min(0.2 * 2 ** min(misses, 12), LONGEST_WAIT)
        wait = max(wait, error.after) if isinstance(error, TryLater) else max(wait, BROKEN_WAIT)
        log.warning("Pulling inbox %s failed, again in %.1f s: %s", place.inbox_id, wait, error)
        async with self._database.work(place.workspace_id) as work:
            await work.run(
                _LEAVE,
                inbox=place.inbox_id,
                me=self._ear.me,
                misses=misses,
                retry_at=now + timedelta(seconds=wait),
            )
            if not isinstance(error, TryLater):
                self._broken.add(place.link.id)
                await mark_broken(work, place.link.id, error.sentence, now=now)
                await work.run(
                    "update inbox set broken = %(why)s, broken_at = coalesce(broken_at, %(now)s) where id = %(id)s",
                    why=error.sentence[:500],
                    now=now,
                    id=place.inbox_id,
                )
        asyncio.get_running_loop().call_later(wait, self.ring, place.workspace_id, place.inbox_id)
