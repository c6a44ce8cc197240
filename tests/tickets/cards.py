"""A group that is linked with a tracker in memory, hears its news, and answers by quoting them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from tests.tickets.chat import START, Chat, group_chat
from tests.tickets.stand import TrackerStand, tracker_stand
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.ports import Issue, TrackerUser
from zhiban.tickets import group_news, repositories
from zhiban.tickets.card_telling import ANSWER_CARD
from zhiban.tickets.jobs import TELL_CHAT, TELL_OF_DRAFT, TicketJobs

JOBS = "select id, task_name, args from jobs.procrastinate_jobs where status = 'todo' and task_name = any(%(names)s)"


class CardChat:
    """What happens at the issue acme/shop#7, and what the group of `chat` reads of it."""

    def __init__(self, chat: Chat, stand: TrackerStand) -> None:
        self.chat = chat
        self.stand = stand

    async def issue(self, number: int = 7, title: str = "增量同步丢数据") -> None:
        """Somebody opens an issue."""
        now = self.stand.now
        self.stand.board.issues["acme/shop", number] = Issue(
            "acme/shop", number, f"https://tracker.test/{number}", title, "open", TrackerUser("lin"), now, now,
        )  # fmt: skip
        await self.happens("opened", number=number, title=title)

    async def happens(self, action: str, *, number: int = 7, **more: Any) -> None:
        said = {
            "action": action,
            "repository": "acme/shop",
            "number": number,
            "actor": "lin",
            "title": "增量同步丢数据",
        }
        await self.stand.hears({**said, **more})

    async def comments(self, text: str, id_: int, action: str = "created", **more: Any) -> None:
        await self.happens(action, comment=text, comment_id=id_, **more)

    async def news(self, *, after: float = 61) -> list[tuple[str, str]]:
        """The cards that come after so many seconds: the vendor's id and the text of each."""
        self.chat.clock.advance(timedelta(seconds=after))
        async with self.stand.database.transaction(self.stand.workspace_id) as tx:
            before = await tx.value("select coalesce(max(id), 0) from message")
            for conversation_id, _inbox in await group_news.waiting_groups(tx, now=self.stand.now):
                await group_news.tell(tx, self.chat.inbox, conversation_id, now=self.stand.now)
            await tx.run("update message set state = 'sent' where state = 'queued'")
        return await self.chat.rows(
            "select external_id, text from message where author = 'tracker' and id > %(before)s order by id",
            before=before,
        )

    async def card(self) -> str:
        """A card about an issue that somebody has just opened."""
        await self.issue()
        ((id_, _),) = await self.news()
        return id_

    async def settles(self) -> list[str]:
        """What is asked for is written, and what that makes the jobs say."""
        await self.stand.work()
        return await self.jobs()

    async def jobs(self) -> list[str]:
        """What the jobs say that wait now, those of later included as far as the clock has come."""
        chat = self.chat
        jobs = TicketJobs(self.stand.database, _Inboxes(chat), chat.clock)  # type: ignore[arg-type]
        ((before,),) = await chat.rows("select coalesce(max(id), 0) from message")
        due = JOBS + " and (scheduled_at is null or scheduled_at <= %(now)s) order by id"
        runs = {
            ANSWER_CARD.name: jobs.answer_card,
            TELL_CHAT.name: jobs.tell_chat,
            TELL_OF_DRAFT.name: jobs.tell_of_draft,
        }
        for id_, name, args in await chat.rows(due, names=list(runs), now=chat.clock.now()):
            run = runs[name]
            for _ in range(2):  # a job may run twice
                await run(**args)
            await chat.rows("delete from jobs.procrastinate_jobs where id = %(id)s returning 1", id=id_)
        await chat.rows("update message set state = 'sent' where state = 'queued' returning 1")
        rows = await chat.rows("select text from message where author = 'tracker' and id > %(b)s order by id", b=before)
        return [text for (text,) in rows]

    def said(self, number: int = 7) -> list[str]:
        """The comments that stand at an issue."""
        return [one.body for one in self.stand.board.comments.get(("acme/shop", number), [])]


class _Inboxes:
    """Opens the one inbox that there is."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def inbox(self, _workspace_id: int, _inbox_id: int) -> Any:
        return self._chat.inbox


@asynccontextmanager
async def card_chat(database: Database, workspace_id: int) -> AsyncIterator[CardChat]:
    async with (
        tracker_stand(database, workspace_id, clock=SetClock(START)) as stand,
        group_chat(database, workspace_id, clock=stand.clock) as chat,
    ):
        await stand.repository()
        async with database.transaction(workspace_id) as tx:
            await repositories.link(tx, chat.conversation_id, "acme/shop", by=SYSTEM, now=stand.now)
        await chat.turn()
        yield CardChat(chat, stand)
