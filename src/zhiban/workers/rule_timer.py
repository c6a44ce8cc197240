"""Takes up rules that have waited long enough, a transaction for each conversation."""

from __future__ import annotations

import logging

from zhiban.automation.engine import RuleEngine
from zhiban.automation.waiting import AT_ONCE, due_delays
from zhiban.kit.background_tasks import RepeatedTask
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0


class RuleTimer:
    """The timer of this process; any number of processes may run one, each wait is taken up by one of them."""

    def __init__(self, database: Database, rules: RuleEngine, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock
        self._rounds = RepeatedTask(
            self.run_once, every=EVERY_SECONDS, name="rule timer", what="The timer of rules", log=log
        )

    async def start(self) -> None:
        self._rounds.start()

    async def close(self) -> None:
        await self._rounds.close()

    async def run_once(self) -> int:
        """Ask every rule that is due, in every workspace. Returns how many were taken up by this call."""
        return sum([await self._run(workspace_id) for workspace_id in await self._database.workspaces()])

    async def _run(self, workspace_id: int) -> int:
        done = 0
        while True:
            async with self._database.transaction(workspace_id) as tx:
                due = await due_delays(tx, now=self._clock.now())
            taken = 0
            for one in due:
                async with self._database.transaction(workspace_id) as tx:
                    taken += await self._rules.act_due(tx, one, now=self._clock.now())
            done += taken
            if len(due) < AT_ONCE or not taken:
                return done
