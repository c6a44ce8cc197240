"""What owners are reminded of: what is due, late or unanswered, and once a working day the list of what is theirs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from zhiban.channels.business_hours import Hours, is_open
from zhiban.channels.connections import OpenInbox
from zhiban.conversations import transitions
from zhiban.conversations.groups import chat_of
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import allowance_of, enqueue, key_for
from zhiban.events import SYSTEM, TIMER, Actor, TicketRemindersChanged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.people.agents import agent_row, locale_of_agent
from zhiban.people.permissions import access_of_agent
from zhiban.tickets.models import UNFINISHED, Ticket, TicketState
from zhiban.tickets.queries import seen_by, tickets_where, watcher_ids
from zhiban.tickets.rendering import hidden
from zhiban.tickets.telling import tell_agents, told_of

AT_ONCE = 200
LISTED = 10  # tickets of a list before the rest is only counted
_TITLE = 30  # characters of each
_OLDEST = timedelta(days=7)  # nobody is reminded of what was left unanswered for longer


class Reminders(BaseModel):
    """When and where our people are reminded. Nobody is outside of `hours`, which tell the working days, too.

    `group`: the conversation of a group in which the lists are said; None: each owner is told by the ways they chose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    daily: bool = True  # the list of each owner
    hours: Hours = Hours.model_validate({"weekly": {"mon-fri": "09:00-18:00"}, "calendar": "CN"})
    group: Annotated[int, Field(gt=0)] | None = None
    due_hours: Annotated[int, Field(ge=1, le=14 * 24)] = 24  # so long before a ticket is due
    unanswered_hours: Annotated[int, Field(ge=1, le=6 * 24)] = 24

    def day(self, now: datetime) -> date:
        """The day where people work."""
        return now.astimezone(ZoneInfo(self.hours.timezone)).date()


async def reminders_of(tx: Transaction) -> Reminders:
    """What was chosen, or what is usual."""
    row = await tx.value("select settings from ticket_reminders")
    return Reminders() if row is None else Reminders.model_validate(row)


async def set_reminders(tx: Transaction, wanted: Reminders, *, by: Actor, now: datetime) -> bool:
    """Remind like this from now on. False when it is so already."""
    await tx.run("select pg_advisory_xact_lock(hashtextextended('ticket_reminders', %(w)s))", w=tx.workspace_id)
    before = await reminders_of(tx)
    if before == wanted:
        return False
    await tx.run(
        "insert into ticket_reminders (workspace_id, settings) values (%(w)s, %(settings)s::jsonb) "
        "on conflict (workspace_id) do update set settings = excluded.settings",
        w=tx.workspace_id,
        settings=wanted.model_dump_json(),
    )
    was, became = (json.loads(one.model_dump_json()) for one in (before, wanted))
    changed = [name for name in became if was[name] != became[name]]
    fact = TicketRemindersChanged(
        actor=by,
        at=now,
        before={name: was[name] for name in changed},
        after={name: became[name] for name in changed},
    )
    await event_log.append(tx, fact)
    return True


# -------------------------------------------------------------------------------------------------- single tickets


async def remind(tx: Transaction, *, now: datetime) -> int:
    """Tell owners of what is soon due or late, each once for a day that was set, and of what nobody has answered.

    Returns how many were told; nobody outside of the working hours.
    """
    wanted = await reminders_of(tx)
    if not is_open(wanted.hours, now):
        return 0
    told = 0
    async for ticket in _each(
        tx,
        "t.state = any(%(states)s) and t.due_at <= %(soon)s",
        states=[state.value for state in UNFINISHED],
        soon=now + timedelta(hours=wanted.due_hours),
    ):
        late = ticket.is_late(now)
        key = f"ticket-{'late' if late else 'due'}-{ticket.id}-{ticket.due_at.timestamp() if ticket.due_at else 0}"
        told += await tell_agents(tx, ticket, await _responsible(tx, ticket), key, ticket.title, by=TIMER, now=now)
    async for ticket in _each(
        tx,
        "t.state = %(open)s and t.created_at <= %(before)s and t.created_at > %(oldest)s "
        "and not exists (select from ticket_comment c where c.workspace_id = t.workspace_id and c.ticket_id = t.id)",
        open=TicketState.OPEN.value,
        before=now - timedelta(hours=wanted.unanswered_hours),
        oldest=now - _OLDEST,
    ):
        key = f"ticket-unanswered-{ticket.id}"
        told += await tell_agents(tx, ticket, await _responsible(tx, ticket), key, ticket.title, by=TIMER, now=now)
    return told


async def _each(tx: Transaction, condition: str, **params: Any) -> AsyncIterator[Ticket]:
    """All tickets that the condition keeps, some at once: those told before stand in nobody's way."""
    after = 0
    while True:
        found = await tickets_where(
            tx, f"{condition} and t.id > %(after)s order by t.id limit %(limit)s", after=after, limit=AT_ONCE, **params
        )
        for ticket in found:
            yield ticket
        if len(found) < AT_ONCE:
            return
        after = found[-1].id


async def _responsible(tx: Transaction, ticket: Ticket) -> Sequence[int]:
    """The owner; where there is none, whoever watches it, or those who were told that it was opened."""
    if ticket.owner_id is not None:
        return [ticket.owner_id]
    return await watcher_ids(tx, ticket.id) or await told_of(tx, ticket)


# ------------------------------------------------------------------------------------------------------- the lists


async def waiting_owners(tx: Transaction, *, now: datetime) -> list[int]:
    """Who has something unfinished and has not had the list of this day. Nobody outside of the working hours."""
    wanted = await reminders_of(tx)
    if not wanted.daily or not is_open(wanted.hours, now):
        return []
    return await tx.values(
        "select distinct t.owner_id from ticket t "
        "where t.state in ('open', 'in_progress', 'waiting') and t.owner_id is not null "
        "and not exists (select from ticket_day_list l where l.workspace_id = t.workspace_id "
        "and l.agent_id = t.owner_id and l.day = %(day)s) order by 1",
        day=wanted.day(now),
    )


async def tell_list(tx: Transaction, agent_id: int, *, inbox: OpenInbox | None = None, now: datetime) -> bool:
    """Give an owner the list of this day, once, whoever else is at it. False where there is nothing, or not now.

    `inbox`: of the group in which it is said; None, or where nothing may be said there any more: by the ways that the
    owner chose.
    """
    wanted = await reminders_of(tx)
    access = await access_of_agent(tx, agent_id)
    if access is None or not is_open(wanted.hours, now):
        return False
    tickets = await tickets_where(
        tx,
        f"t.owner_id = %(owner)s and t.state in ('open', 'in_progress', 'waiting'){seen_by(access)} "
        "order by t.due_at nulls last, t.priority desc, t.id",
        owner=agent_id,
        **access.params,
    )
    if not tickets or not await _first_today(tx, agent_id, wanted.day(now), now=now):
        return False
    if (
        wanted.group is not None
        and inbox is not None
        and await _say(tx, inbox, wanted.group, agent_id, tickets, wanted.day(now), Texts("zh"), now=now)
    ):
        return True
    texts = Texts(await locale_of_agent(tx, agent_id))
    key = f"ticket-daily-{agent_id}-{wanted.day(now).isoformat()}"
    said = list_words(tickets, texts, now=now)
    return bool(await tell_agents(tx, tickets[0], [agent_id], key, said, by=TIMER, now=now))


async def _first_today(tx: Transaction, agent_id: int, day: date, *, now: datetime) -> bool:
    return bool(
        await tx.run(
            "insert into ticket_day_list (workspace_id, agent_id, day, told_at) "
            "values (%(w)s, %(agent)s, %(day)s, %(now)s) on conflict do nothing",
            w=tx.workspace_id,
            agent=agent_id,
            day=day,
            now=now,
        )
    )


async def _say(
    tx: Transaction,
    inbox: OpenInbox,
    group: int,
    agent_id: int,
    tickets: Sequence[Ticket],
    day: date,
    texts: Texts,
    *,
    now: datetime,
) -> bool:
    state = await transitions.lock(tx, group)
    if allowance_of(state, inbox.channel.limits.reply_window).closed(now):
        return False
    name = (await agent_row(tx, agent_id)).name
    await enqueue(
        tx,
        state,
        author=Author.SYSTEM,
        actor=SYSTEM,
        text=texts("{name}的工单", name=name) + texts("：") + list_words(tickets, texts, now=now),
        key=key_for("ticket-day", agent_id, day),
        limits=inbox.channel.limits,
        now=now,
    )
    return True


async def group_may_hear(tx: Transaction, group: int, *, now: datetime) -> bool:
    """Whether something may be said in the group now: it is none of its quiet hours, and we are there to speak."""
    chat = await chat_of(tx, group)
    return chat.closed is None and not chat.policy.is_quiet(now)


def list_words(tickets: Sequence[Ticket], texts: Texts, *, now: datetime) -> str:
    """What is to be done, the most pressing first: a line each, and how many more there are."""
    said = [_line(ticket, texts, now) for ticket in tickets[:LISTED]]
    if len(tickets) > LISTED:
        said.append(texts("……还有{n}张", n=len(tickets) - LISTED))
    return texts("；").join(said)


def _line(ticket: Ticket, texts: Texts, now: datetime) -> str:
    title = hidden(ticket.title, texts)
    title = title if len(title) <= _TITLE else title[: _TITLE - 1] + "…"
    if ticket.due_at is None:
        return texts("工单{number} {title}", number=ticket.number, title=title)
    when = texts("已超期") if ticket.is_late(now) else texts.due(ticket.due_at, now)
    return texts("工单{number} {title}（{when}）", number=ticket.number, title=title, when=when)
