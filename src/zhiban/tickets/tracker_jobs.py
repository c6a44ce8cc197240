"""Work after the commit about trackers: which repositories there are, and what webhooks did not tell."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from zhiban.channels.connection_health import mark_broken, mark_mended
from zhiban.channels.connections import Connections
from zhiban.channels.inboxes import access_connection, connections, last_calls
from zhiban.events import ConnectionAdded, ConnectionChanged, ConnectionResumed
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound
from zhiban.kit.failures import only_logged
from zhiban.kit.i18n import mark
from zhiban.kit.jobs import Enqueued, Job, Task, enqueue
from zhiban.notifications.watching import tell_of_connection
from zhiban.ports import ConnectionBroken, Issue, ListsComments, RedeliversWebhooks, Tracker, TrackerRefused
from zhiban.tickets import group_news, issues, mirroring, news, repositories
from zhiban.tickets.issue_vectors import embedding_of
from zhiban.tickets.repositories import RepositoryRow

log = logging.getLogger(__name__)

SYNC_TRACKER = Job("sync_tracker", queue="slow", attempts=4, wait=30, final=(ConnectionBroken,))
SYNC_TRACKERS = Job("sync_trackers", cron="*/10 * * * *", attempts=1)
TELL_GROUPS = Job("tell_groups_of_repositories", cron="* * * * *", attempts=1)

MISSED = timedelta(hours=70)  # for as long a tracker keeps what it could not deliver
APART = timedelta(minutes=5)  # clocks differ, and a page may shift while it is read
CALLED_WITHIN = timedelta(minutes=10)  # of what happened a webhook has told by then
AT_ONCE = 100  # issues in one transaction
FIRST = timedelta(days=365)  # of a repository that is new to us, issues that changed within a year are read

NAMED = 3  # repositories, in a notice
UNCALLED = mark("What changed there was found by looking, and no webhook has told of it. Check the webhook over there.")


def for_connected(event: ConnectionAdded | ConnectionChanged | ConnectionResumed) -> Iterable[Enqueued]:
    """What a tracker has is looked at as soon as it is connected. A connection with channels is none."""
    if not isinstance(event, ConnectionAdded) or event.part == "tracker":
        yield SYNC_TRACKER.of(key=str(event.connection_id), connection_id=event.connection_id)


class TrackerJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [
            Task(SYNC_TRACKER, self.sync_tracker),
            Task(SYNC_TRACKERS, self.sync_trackers),
            Task(TELL_GROUPS, self.tell_groups),
        ]

    async def tell_groups(self) -> None:
        """Say in every linked group what has been gathered for it."""
        for workspace_id in await self._database.workspaces():
            with only_logged(log, f"The groups of workspace {workspace_id} hear their news later."):
                now = self._clock.now()
                async with self._database.transaction(workspace_id) as tx:
                    await mirroring.resume_due(tx, now=now)
                    waiting = await group_news.waiting_groups(tx, now=now)
                for conversation_id, inbox_id in waiting:
                    with only_logged(log, f"The group of conversation {conversation_id} hears its news later."):
                        await self._tell(workspace_id, conversation_id, inbox_id)

    async def _tell(self, workspace_id: int, conversation_id: int, inbox_id: int) -> None:
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        async with self._database.transaction(workspace_id) as tx:
            await group_news.tell(tx, inbox, conversation_id, now=self._clock.now())

    async def sync_trackers(self) -> None:
        """Look at every tracker: webhooks get lost, and their sender does not know it."""
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                for row in await connections(tx, part="tracker"):
                    if row.removed_at is None and row.paused_at is None:
                        await enqueue(tx, SYNC_TRACKER.of(key=str(row.id), connection_id=row.id))

    async def sync_tracker(self, workspace_id: int, connection_id: int) -> None:
        """Know the repositories of a connection and the issues that changed, and ask for what was not delivered."""
        try:
            tracker = (await self._connections.tracker(workspace_id, connection_id)).tracker
        except NotFound:
            return
        try:
            await self._repositories(workspace_id, connection_id, tracker)
            if isinstance(tracker, RedeliversWebhooks):
                await tracker.redeliver(since=self._clock.now() - MISSED)
        except ConnectionBroken as error:
            async with self._database.transaction(workspace_id) as tx:
                await mark_broken(tx, connection_id, error.sentence, now=self._clock.now())
            return
        async with self._database.transaction(workspace_id) as tx:
            await mark_mended(tx, connection_id, now=self._clock.now())
            rows = await repositories.repositories(tx, connection_id)
        missed = {row.name: await self._issues(workspace_id, tracker, row) for row in rows if row.issues_enabled}
        await self._tell_of_hooks(workspace_id, connection_id, {name: min(at) for name, at in missed.items() if at})

    async def _tell_of_hooks(self, workspace_id: int, connection_id: int, missed: Mapping[str, datetime]) -> None:
        """Whoever runs this hears where no webhook told of what changed since then; where none ever came, the set-up
        says so."""
        async with self._database.transaction(workspace_id) as tx:
            called = (await last_calls(tx)).get(connection_id)
            if not missed or called is None or called > min(missed.values()):
                return
            row = await access_connection(tx, connection_id, part="tracker")
            key, now = f"tracker-hooks-{connection_id}-{called.timestamp():.0f}", self._clock.now()
            # Webhooks may be set up for each repository by itself.
            name = f"{row.name or row.vendor} {', '.join(sorted(missed)[:NAMED])}"
            await tell_of_connection(tx, connection_id, name, UNCALLED, key=key, now=now)

    async def _repositories(self, workspace_id: int, connection_id: int, tracker: Tracker) -> None:
        found = [one async for one in tracker.repositories()]
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            await repositories.keep_all(tx, connection_id, found, now=now)
            await repositories.keep_only(tx, connection_id, [one.external_id for one in found], now=now)

    async def _issues(self, workspace_id: int, tracker: Tracker, row: RepositoryRow) -> list[datetime]:
        """Returns when that happened which no webhook told of, though it had the time."""
        began = self._clock.now()
        since = (row.synced_at or began - FIRST) - APART
        waiting: list[Issue] = []
        missed: list[datetime] = []
        try:
            async for issue in tracker.issues(row.name, since=since):
                waiting.append(issue)
                if len(waiting) == AT_ONCE:
                    missed += await self._note(workspace_id, row, waiting, began=began)
                    waiting = []
            missed += await self._note(workspace_id, row, waiting, began=began)
            if isinstance(tracker, ListsComments):
                # Of a repository that is new to us, those that the next look will see again.
                after = since if row.synced_at is not None else began - 2 * APART
                await self._comments(workspace_id, tracker, row, since=after)
        except TrackerRefused:  # gone, or closed for issues, since the list was read
            return missed
        async with self._database.transaction(workspace_id) as tx:
            await repositories.note_synced(tx, row.id, at=began)
            await enqueue(tx, embedding_of(row.id))  # what was there before us told of nothing
        return missed

    async def _comments(
        self, workspace_id: int, tracker: ListsComments, row: RepositoryRow, *, since: datetime
    ) -> None:
        """Comments that no webhook told of. One that was deleted is in no list: only a webhook tells that."""
        async for number, comment in tracker.comments(row.name, since=since):
            now = self._clock.now()
            async with self._database.transaction(workspace_id) as tx:
                issue = await issues.issue_numbered(tx, row.id, number)
                if issue is None:
                    continue
                call_id, read = await news.recognised(tx, comment)
                old = row.synced_at is None or comment.created_at < since
                await issues.note_comment(tx, issue.id, read, call_id=call_id, quietly=old, now=now)

    async def _note(
        self, workspace_id: int, row: RepositoryRow, found: list[Issue], *, began: datetime
    ) -> list[datetime]:
        now, missed = self._clock.now(), []
        async with self._database.transaction(workspace_id) as tx:
            for issue in found:
                # What was there before us is no news; what is new since then, a webhook has not told us.
                call_id = await news.opening(tx, issue.key) if issue.key else None
                # Nor is what we have asked for ourselves, or what somebody opens while we look for the first time, old.
                quietly = row.synced_at is None and call_id is None and issue.created_at <= began
                # Of what is confidential a webhook tells only where it is asked to, by a choice of its own.
                due = not issue.confidential and issue.updated_at <= now - CALLED_WITHIN
                if row.synced_at is not None and call_id is None and due:
                    before = await issues.issue_numbered(tx, row.id, issue.number)
                    if before is None or before.state != issue.state:
                        missed.append(issue.updated_at)
                await issues.note(tx, row.id, issue, call_id=call_id, quietly=quietly, now=now)
        return missed
