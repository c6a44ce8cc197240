"""Takes up rules that have waited long enough, a transaction for each conversation."""

from __future__ import annotations

from zhiban.automation.engine import RuleEngine
from zhiban.automation.waiting import ANY_DUE, AT_ONCE, due_delays
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.workers.scheduler import DueWork


class RuleTimer:
    """The timer of this process; any number of processes may run one, each wait is taken up by one of them."""

    def __init__(self, database: Database, rules: RuleEngine, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._clock = clock

    def due_work(self) -> DueWork:
        return DueWork("the timer of rules", ANY_DUE, self.run_workspace)

    async def run_once(self) -> int:
        """Ask every rule that is due, in every workspace. Returns how many were taken up by this call."""
        return sum([await self.run_workspace(workspace_id) for workspace_id in await self._database.workspaces()])

    async def run_workspace(self, workspace_id: int) -> int:
        """Ask every rule that is due in this workspace. Returns how many were taken up."""
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
