"""Work after the commit about tickets."""

from __future__ import annotations

import logging

from zhiban.channels.connections import Connections
from zhiban.conversations.queries import head
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.failures import only_logged
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import Job, Task, enqueue
from zhiban.ports import ChatModel
from zhiban.tickets import card_telling, drafts, naming_later, reminders, telling
from zhiban.tickets.card_telling import ANSWER_CARD
from zhiban.tickets.naming_later import NAME_TICKET
from zhiban.tickets.queries import opened_with, read_ticket
from zhiban.tickets.telling import TicketNews
from zhiban.tickets.titling import proposed
from zhiban.tickets.tracker_outbox import let_go

log = logging.getLogger(__name__)

TELL_CHAT = Job("tell_chat_of_ticket", attempts=5)
TELL_OF_DRAFT = Job("tell_chat_of_draft", attempts=5)
EXPIRE_DRAFTS = Job("expire_ticket_drafts", cron="* * * * *", attempts=1)
REMIND = Job("remind_of_tickets", cron="*/15 * * * *", attempts=1)


class TicketJobs:
    """What these jobs need, and the jobs."""

    def __init__(
        self, database: Database, connections: Connections, clock: Clock, model: ChatModel | None = None
    ) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock
        self._model = model

    def tasks(self) -> list[Task]:
        return [
            Task(TELL_CHAT, self.tell_chat),
            Task(TELL_OF_DRAFT, self.tell_of_draft),
            Task(ANSWER_CARD, self.answer_card),
            Task(NAME_TICKET, self.name_ticket),
            Task(EXPIRE_DRAFTS, self.expire_drafts),
            Task(REMIND, self.remind),
        ]

    async def tell_chat(self, workspace_id: int, ticket_id: int, news: str, event_id: int) -> None:
        """Say in the chat that asked for it what became of a ticket."""
        async with self._database.transaction(workspace_id) as tx:
            ticket = await read_ticket(tx, ticket_id)
            later = await telling.quiet_until(tx, ticket, TicketNews(news), now=self._clock.now())
            if later is not None:
                await enqueue(tx, TELL_CHAT.of(ticket_id=ticket_id, news=news, event_id=event_id, at=later))
        if ticket.inbox_id is None or later is not None:
            return
        inbox = await self._connections.inbox(workspace_id, ticket.inbox_id)
        async with self._database.transaction(workspace_id) as tx:
            await telling.tell_chat(tx, inbox, ticket, TicketNews(news), event_id=event_id, now=self._clock.now())

    async def tell_of_draft(self, workspace_id: int, draft_id: int) -> None:
        """Say in the chat where a draft was begun what a colleague did about it."""
        async with self._database.transaction(workspace_id) as tx:
            inbox_id = (await head(tx, (await drafts.read_draft(tx, draft_id)).conversation_id)).inbox_id
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        async with self._database.transaction(workspace_id) as tx:
            await telling.tell_of_draft(tx, inbox, draft_id, now=self._clock.now())

    async def name_ticket(self, workspace_id: int, ticket_id: int) -> None:
        """Let a model call a ticket better that was called by its messages, and then let its issue be opened."""
        texts = Texts("zh")
        async with self._database.transaction(workspace_id) as tx:
            lines = [one.line for one in await opened_with(tx, await read_ticket(tx, ticket_id))]
        naming = await proposed(lines, texts, self._model)
        async with self._database.transaction(workspace_id) as tx:
            await naming_later.call(tx, ticket_id, naming, lines, texts, now=self._clock.now())
            await let_go(tx, ticket_id)

    async def answer_card(self, workspace_id: int, reply_id: int, late: int) -> None:
        """Say in the group what became of what somebody asked for by quoting, or that it takes long."""
        async with self._database.transaction(workspace_id) as tx:
            inbox_id = await card_telling.inbox_waiting_for(tx, reply_id)
        if inbox_id is None:
            return
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        async with self._database.transaction(workspace_id) as tx:
            await card_telling.answer(tx, inbox, reply_id, late=bool(late), now=self._clock.now())

    async def expire_drafts(self) -> None:
        """End drafts that nobody said a word to in time."""
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                await drafts.expire(tx, now=self._clock.now())

    async def remind(self) -> None:
        """Tell owners of what is due, late or unanswered, and give each the list of the day."""
        for workspace_id in await self._database.workspaces():
            with only_logged(log, f"Nobody of workspace {workspace_id} is reminded now."):
                async with self._database.transaction(workspace_id) as tx:
                    await reminders.remind(tx, now=self._clock.now())
            with only_logged(log, f"The lists of workspace {workspace_id} come later."):
                await self._lists(workspace_id)

    async def _lists(self, workspace_id: int) -> None:
        now, inbox = self._clock.now(), None
        async with self._database.transaction(workspace_id) as tx:
            owners = await reminders.waiting_owners(tx, now=now)
            group = (await reminders.reminders_of(tx)).group
            if group is not None and owners:
                if not await reminders.group_may_hear(tx, group, now=now):
                    return
                inbox_id = (await head(tx, group)).inbox_id
        if group is not None and owners:
            inbox = await self._connections.inbox(workspace_id, inbox_id)
        for agent_id in owners:
            with only_logged(log, f"Agent {agent_id} gets no list now."):
                async with self._database.transaction(workspace_id) as tx:
                    await reminders.tell_list(tx, agent_id, inbox=inbox, now=now)
