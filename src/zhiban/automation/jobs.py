"""Work of rules after the commit: waits that begin when an agent comes or goes, calls to programs, maintenance."""

from __future__ import annotations

from zhiban.automation.attached_files import forget_unused_files
from zhiban.automation.rule_book import RuleBook
from zhiban.automation.rule_webhooks import CALL_WEBHOOK, RuleWebhooks
from zhiban.automation.waiting import note_agent
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.jobs import Job, Task

NOTE_AGENT = Job("note_agent", attempts=8)
FORGET_ACTION_FILES = Job("forget_action_files", queue="slow", cron="23 4 * * *")


class AutomationJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, book: RuleBook, webhooks: RuleWebhooks, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._book = book
        self._webhooks = webhooks

    def tasks(self) -> list[Task]:
        return [
            Task(NOTE_AGENT, self.note_agent),
            Task(CALL_WEBHOOK, self._webhooks.call),
            Task(FORGET_ACTION_FILES, self.forget_action_files),
        ]

    async def forget_action_files(self) -> None:
        """Once a day: take away files that no rule and no macro names."""
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                await forget_unused_files(tx, now=self._clock.now())

    async def note_agent(self, workspace_id: int, agent_id: int) -> None:
        """Begin and end what rules wait for because this agent came or went."""
        async with self._database.transaction(workspace_id) as tx:
            await note_agent(tx, agent_id, (await self._book.rules(tx)).waiting)
