"""Tickets as CSV that a spreadsheet opens, and runs nothing of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from zhiban.desk.labels import PRIORITY_LABELS
from zhiban.desk.ticket_view import STATE_WORDS, TicketLine, TicketNames
from zhiban.events import Actor, DataExported
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.kit.spreadsheets import csv_text
from zhiban.tickets.masking import partly

MOST_EXPORTED = 5000


async def export_tickets(
    tx: Transaction, lines: Sequence[TicketLine], names: TicketNames, texts: Texts, *, by: Actor, now: datetime
) -> str:
    """One row for each, numbers half hidden as on the page. The log remembers who took them out."""
    await event_log.append(tx, DataExported(actor=by, at=now, what="tickets", rows=len(lines)))
    return csv_text(_rows(lines, names, texts))


def _rows(lines: Sequence[TicketLine], names: TicketNames, texts: Texts) -> Iterator[Sequence[object]]:
    yield (
        texts("工单"), texts("标题"), texts("状态"), texts("优先级"), texts("负责"), texts("期限"), texts("标签"),
        texts("提出的人"), texts("仓库"), texts("议题"), texts("开的时间"), texts("完成时间"),
    )  # fmt: skip
    zone = texts.zone
    for line in lines:
        ticket = line.ticket
        repository = names.repositories.get(ticket.repository_id or 0)
        yield (
            ticket.number,
            partly(ticket.title),
            texts(STATE_WORDS[ticket.state.value]),
            texts(PRIORITY_LABELS[ticket.priority]),
            line.owner,
            ticket.due_at.astimezone(zone).isoformat(timespec="minutes") if ticket.due_at else None,
            ", ".join(label.name for label in line.labels),
            ticket.requester,
            repository.name if repository is not None else None,
            line.tie.url if line.tie is not None else None,
            ticket.created_at.astimezone(zone).isoformat(timespec="minutes"),
            ticket.done_at.astimezone(zone).isoformat(timespec="minutes") if ticket.done_at else None,
        )
