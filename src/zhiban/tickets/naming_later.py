"""A ticket that was opened by itself gets a better name after the commit: no transaction waits for a model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from zhiban.events import ASSISTANT
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import Job, enqueue
from zhiban.tickets import filing, service
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.models import Ticket
from zhiban.tickets.queries import opened_with
from zhiban.tickets.titling import SECONDS, Naming, extracted

NAME_TICKET = Job("name_ticket", queue="calls", attempts=1)  # the name that it has is good enough
PATIENCE = timedelta(seconds=SECONDS + 2)  # for which the issue of such a ticket waits, should nobody name it


async def ask(tx: Transaction, ticket: Ticket) -> None:
    """Let a model be asked for the name of this ticket, which is called by its messages."""
    await enqueue(tx, NAME_TICKET.of(ticket_id=ticket.id))


async def call(
    tx: Transaction, ticket_id: int, naming: Naming, lines: Sequence[FrozenLine], texts: Texts, *, now: datetime
) -> None:
    """Call it so, unless somebody named it meanwhile, or something that the name was made of was recalled."""
    ticket = await service.lock_ticket(tx, ticket_id)
    if ticket.state.over or naming == Naming(ticket.title, ticket.summary):
        return
    there = [one.line for one in await opened_with(tx, ticket)]
    if there != list(lines) or ticket.title != extracted(there, texts).title:
        return
    await service.retitle(tx, ticket_id, naming.title, by=ASSISTANT, now=now)
    await tx.run("update ticket set summary = %(summary)s where id = %(id)s", summary=naming.summary, id=ticket_id)
    await filing.write_anew(
        tx, await service.lock_ticket(tx, ticket_id), texts=texts, key=f"name-{now.timestamp()}", now=now
    )
