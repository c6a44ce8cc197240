"""What happens because time passed: snoozed conversations come back, idle ones are resolved, agents whose desks fell
silent are offline, others hear that somebody has waited too long, and the planner of a young database learns how its
tables have grown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count

from zhiban.channels.inboxes import all_settings
from zhiban.conversations.models import Status
from zhiban.conversations.service import ANY_SNOOZE_OVER, IdleEnding, resolve_idle, wake_snoozed
from zhiban.kit.background_tasks import RepeatedTask
from zhiban.kit.clock import Clock
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.notifications.service import notify_followers, notify_unassigned, notify_waiting
from zhiban.people import presence
from zhiban.ports import Limits
from zhiban.workers.scheduler import DueWork

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
IDLE_EVERY = 15  # rounds between two looks for idle conversations


class Maintenance:
    """The timers of this process; any number of processes may run them, each row is changed by one.

    `limits_of` tells what a kind of channel takes.
    """

    def __init__(self, database: Database, limits_of: Callable[[str], Limits], clock: Clock) -> None:
        self._database = database
        self._limits_of = limits_of
        self._clock = clock
        self._numbers = count()
        self._rounds = RepeatedTask(
            self._round, every=EVERY_SECONDS, name="maintenance", what="A round of the timers", log=log
        )

    async def start(self) -> None:
        self._rounds.start()

    async def close(self) -> None:
        await self._rounds.close()

    def due_work(self) -> DueWork:
        condition = f"{ANY_SNOOZE_OVER} or {presence.ANY_SILENT}"
        return DueWork("maintenance", condition, self.wake, lambda now: {"silent_since": now - presence.SILENT_AFTER})

    async def _round(self) -> None:
        if next(self._numbers) % IDLE_EVERY == 0:
            for workspace_id in await self._database.workspaces():
                await self._look_for_idle(workspace_id)
        await self._analyze_grown_tables()

    async def run_once(self, *, idle: bool = True) -> None:
        """Do what is due in every workspace."""
        for workspace_id in await self._database.workspaces():
            await self.wake(workspace_id)
            if idle:
                await self._look_for_idle(workspace_id)
        await self._analyze_grown_tables()

    async def wake(self, workspace_id: int) -> None:
        """Open what was snoozed until now, and let agents be offline whose desks have fallen silent."""
        async with self._database.transaction(workspace_id) as tx:
            await wake_snoozed(tx, now=self._clock.now())
            await presence.sweep(tx, now=self._clock.now())

    async def _look_for_idle(self, workspace_id: int) -> None:
        await self._resolve_idle(workspace_id)
        await self._tell_of_waiting(workspace_id)

    async def _analyze_grown_tables(self) -> None:
        async with self._database.transaction(NO_WORKSPACE) as tx:
            await tx.value("select analyze_grown_tables()")

    async def _tell_of_waiting(self, workspace_id: int) -> None:
        async with self._database.transaction(workspace_id) as tx:
            await notify_waiting(tx, now=self._clock.now())
            await notify_unassigned(tx, now=self._clock.now())
            await notify_followers(tx, now=self._clock.now())

    async def _resolve_idle(self, workspace_id: int) -> None:
        """A batch at a time, so that nobody waits for a long transaction."""
        async with self._database.transaction(workspace_id) as tx:
            inboxes = await all_settings(tx)
        for inbox in inboxes:
            policy, idle = inbox.policy, inbox.policy.auto_resolve
            ending = IdleEnding(idle.text, inbox.silent, idle.label, self._limits_of(inbox.kind))
            for status, after in ((Status.PENDING, policy.resolve_answered), (Status.OPEN, policy.resolve_idle)):
                more = after is not None
                while more and after is not None:
                    now = self._clock.now()
                    async with self._database.transaction(workspace_id) as tx:
                        more = bool(
                            await resolve_idle(
                                tx, inbox.inbox_id, status=status, before=now - after, now=now, ending=ending
                            )
                        )
