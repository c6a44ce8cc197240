"""The crash net: takes up what dead processes held and what nobody works on, within a second; rows are the truth."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from zhiban.conversations import work_state
from zhiban.kit import metrics
from zhiban.kit.background_tasks import RepeatedTask
from zhiban.kit.clock import Clock
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.jobs import ANY_AT_WORK, count_dead, revive
from zhiban.kit.pubsub import LIVING, PubSub
from zhiban.workers.account_poller import SAFETY_POLL, AccountPoller
from zhiban.workers.conversation_worker import ConversationWorker
from zhiban.workers.delivery_processor import DeliveryProcessor
from zhiban.workers.news_reader import NewsReader
from zhiban.workers.scheduler import DueWork

log = logging.getLogger(__name__)

MEASURED_SECONDS = 5.0
QUIET = timedelta(seconds=3)  # how long a row may wait before it counts as lost
UNHEARD = timedelta(seconds=5)  # vendors call again for about so long when nobody answers

# The advisory lock of a living process stands in pg_locks; whoever is not there is dead and holds nothing.
_FREE_DEAD_POLLS = f"""
update pull_state set leased_by = null, lease_expires_at = null
where leased_by is not null and leased_by <> %(process)s
  and (leased_by not in ({LIVING}) or lease_expires_at < %(now)s)"""

_LOST_DOORBELLS = """
select distinct i.id from delivery d
join inbox i on i.workspace_id = d.workspace_id and i.connection_id = d.connection_id and i.external_id = d.account
left join pull_state p on p.workspace_id = i.workspace_id and p.inbox_id = i.id
where d.state = 'pending' and d.pulls and d.received_at < %(quiet)s and i.archived_at is null
  and p.leased_by is null and (p.retry_at is null or p.retry_at <= %(now)s)"""

_LOST_DELIVERIES = """
select distinct d.connection_id, c.part from delivery d
join connection c on c.workspace_id = d.workspace_id and c.id = d.connection_id
where d.state = 'pending' and not d.pulls and d.received_at < %(quiet)s"""

# Doorbells of accounts that have no inbox yet: whoever stored the first died before it could make one.
_DELIVERIES_WITHOUT_INBOX = """
select distinct d.connection_id, d.account from delivery d
where d.state = 'pending' and d.pulls and d.received_at < %(quiet)s and not exists (
  select 1 from inbox i where i.connection_id = d.connection_id and i.external_id = d.account)"""

_SAFETY = """
from inbox i left join pull_state p on p.workspace_id = i.workspace_id and p.inbox_id = i.id
where i.archived_at is null and i.kind = any(%(kinds)s::text[]) and p.leased_by is null
  and coalesce(p.pulled_at, '-infinity') < %(stale)s and (p.retry_at is null or p.retry_at <= %(now)s)"""

# False only where nobody needs us; over the parameters of `_params`.
_ANYTHING = f"""{work_state.ANY_ABANDONED} or {work_state.ANY_UNATTENDED}
or exists (select from pull_state where leased_by is not null and leased_by <> %(process)s)
or exists (select from delivery where state = 'pending' and received_at < %(quiet)s)
or exists (select {_SAFETY})"""

_DEPTH = """
select (select count(*) from message where state in ('pending', 'queued')),
  (select count(*) from delivery where state = 'pending')"""


class Recovery:
    """Recovers for this process; any number of processes may do so."""

    def __init__(
        self,
        database: Database,
        conversation_worker: ConversationWorker,
        account_poller: AccountPoller,
        delivery_processor: DeliveryProcessor,
        news_reader: NewsReader,
        pubsub: PubSub,
        clock: Clock,
        *,
        polled_kinds: list[str],
    ) -> None:
        self._database = database
        self._conversation_worker = conversation_worker
        self._account_poller = account_poller
        self._delivery_processor = delivery_processor
        self._news_reader = news_reader
        self._pubsub = pubsub
        self._clock = clock
        self._polled_kinds = polled_kinds
        self._rounds = RepeatedTask(
            self._measure, every=MEASURED_SECONDS, name="queue depth", what="Measuring queues", log=log
        )

    def due_work(self) -> DueWork:
        return DueWork("recovery", _ANYTHING, self.run_workspace, self._params)

    def due_jobs(self) -> DueWork:
        return DueWork("recovery of jobs", ANY_AT_WORK, self.revive_jobs)

    def _params(self, now: datetime) -> Mapping[str, Any]:
        return {
            "process": self._pubsub.process_id,
            "lately": work_state.taken_lately(now),
            "quiet": now - QUIET,
            "kinds": self._polled_kinds,
            "stale": now - SAFETY_POLL,
        }

    async def start(self) -> None:
        """Look once before anybody is woken, and measure from then on.

        When no other process was there to hear doorbells, every account that was not polled just now is polled.
        """
        await self.run_once(unpolled=SAFETY_POLL if self._pubsub.peers else UNHEARD)
        self._rounds.start()

    async def close(self) -> None:
        await self._rounds.close()

    async def run_once(self, *, unpolled: timedelta = SAFETY_POLL) -> None:
        """Take up everything that nobody works on, in every workspace, with accounts `unpolled` for so long."""
        await self.revive_jobs()
        for workspace_id in await self._database.workspaces():
            await self.run_workspace(workspace_id, unpolled=unpolled)

    async def revive_jobs(self, _workspace_id: int = NO_WORKSPACE) -> None:
        """Queue again the jobs of workers that are dead, of all workspaces."""
        async with self._database.transaction(NO_WORKSPACE) as tx:
            await revive(tx)

    async def run_workspace(self, workspace_id: int, *, unpolled: timedelta = SAFETY_POLL) -> None:
        """Take up everything that nobody works on in this workspace, with accounts `unpolled` for so long."""
        now = self._clock.now()
        quiet = now - QUIET
        async with self._database.transaction(workspace_id) as tx:
            process = self._pubsub.process_id
            running = self._conversation_worker.running
            await work_state.free_abandoned(tx, process=process, running=running, now=now)
            await tx.run(_FREE_DEAD_POLLS, process=process, now=now)
            lost = await work_state.unattended(tx, now=now, quiet=quiet)
            doorbells = await tx.values(_LOST_DOORBELLS, quiet=quiet, now=now)
            doorbells += await tx.values(
                f"select i.id {_SAFETY}", kinds=self._polled_kinds, stale=now - unpolled, now=now
            )
            without_inbox = await tx.rows(_DELIVERIES_WITHOUT_INBOX, quiet=quiet)
            unread = await tx.rows(_LOST_DELIVERIES, quiet=quiet)
        for conversation_id in lost:
            self._conversation_worker.wake(workspace_id, conversation_id)
        for inbox_id in dict.fromkeys(doorbells):
            self._account_poller.wake(workspace_id, inbox_id)
        for connection_id, part in unread:
            reader = self._news_reader if part == "tracker" else self._delivery_processor
            reader.wake(workspace_id, connection_id)
        for connection_id, account in without_inbox:
            await self._account_poller.poll_new_account(workspace_id, connection_id, account)

    async def _measure(self) -> None:
        async with self._database.transaction(NO_WORKSPACE) as tx:
            metrics.dead_letters(await count_dead(tx))
        messages = deliveries = 0
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                waiting = await tx.row(_DEPTH) or (0, 0)
            messages, deliveries = messages + waiting[0], deliveries + waiting[1]
        metrics.queue_depth("messages", messages)
        metrics.queue_depth("deliveries", deliveries)
