"""Work of rules after the commit: waits that begin when an agent comes or goes, and calls to other programs."""

from __future__ import annotations

from zhiban.automation.rule_book import RuleBook
from zhiban.automation.rule_webhooks import CALL_WEBHOOK, RuleWebhooks
from zhiban.automation.waiting import note_agent
from zhiban.kit.db import Database
from zhiban.kit.jobs import Job, Task

NOTE_AGENT = Job("note_agent", attempts=8)


class AutomationJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, book: RuleBook, webhooks: RuleWebhooks) -> None:
        self._database = database
        self._book = book
        self._webhooks = webhooks

    def tasks(self) -> list[Task]:
        return [Task(NOTE_AGENT, self.note_agent), Task(CALL_WEBHOOK, self._webhooks.call)]

    async def note_agent(self, workspace_id: int, agent_id: int) -> None:
        """Begin and end what rules wait for because this agent came or went."""
        async with self._database.transaction(workspace_id) as tx:
            await note_agent(tx, agent_id, (await self._book.rules(tx)).waiting)
