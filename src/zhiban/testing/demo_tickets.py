"""What the shop of the demonstration has promised: tickets in every state, of those who wait and of the weeks past."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from zhiban.conversations.models import Priority
from zhiban.conversations.spoken import spoken_before
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.testing.demo_talk import TICKETS, Promised
from zhiban.testing.script import Script
from zhiban.tickets import service
from zhiban.tickets.freezing import freeze, may_pick
from zhiban.tickets.involving import comment
from zhiban.tickets.models import NewTicket, TicketState

_NEWEST = 2**62


async def promise(tx: Transaction, script: Script, labels: dict[str, int], *, by: str, now: datetime) -> None:
    """Open them, oldest last in the list, and let them become what they are now. `by` is whom the visitor plays."""
    for number, one in enumerate(reversed(TICKETS)):
        opened = now - timedelta(days=(len(TICKETS) - number) * 0.9 if not one.who else 0.01)
        ticket = await service.open_ticket(
            tx, await _new(tx, script, one, labels, now=now), key=f"demo-{number}", by=script.by(by), now=opened
        )
        agent = script.by(one.owner or by)
        if one.said:
            at = opened + timedelta(minutes=5)
            await comment(tx, ticket.id, one.said, name=one.owner or by, key=f"demo-{number}-said", by=agent, now=at)
        if one.state != ticket.state:
            at = opened + timedelta(hours=6 if one.state == "done" else 0.2)
            await service.set_state(tx, ticket.id, TicketState(one.state), by=agent, now=at)


async def _new(tx: Transaction, script: Script, one: Promised, labels: dict[str, int], *, now: datetime) -> NewTicket:
    ticket = NewTicket(
        one.title,
        priority=Priority.URGENT if one.urgent else Priority.NONE,
        owner_id=script.agents[one.owner] if one.owner else None,
        due_at=now + timedelta(days=one.days) if one.days is not None else None,
        labels=(labels[one.label],) if one.label else (),
    )
    if not one.who:
        return ticket
    conversation = script.conversations[one.who]
    said = [message for message in await spoken_before(tx, conversation, _NEWEST, limit=10) if may_pick(message)]
    lines = await freeze(tx, conversation, said, Texts("zh"))
    return replace(
        ticket,
        lines=lines,
        conversation_id=conversation,
        inbox_id=script.inbox.inbox_id,
        requester_contact_id=next(line.contact_id for line in lines if line.contact_id is not None),
        requester=one.who,
    )
