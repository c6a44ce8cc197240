"""The rows of what was said: written when it is frozen, emptied when it is recalled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from zhiban.conversations.spoken import answers_to
from zhiban.kit.db import Transaction
from zhiban.kit.json_safe import json_safe
from zhiban.tickets.frozen import FrozenLine

_ADD = """
insert into ticket_message (workspace_id, ticket_id, message_id, conversation_id, contact_id, speaker, name, alias,
  sent_at, text, quoted_name, quoted, recalled_at, joined)
select %(workspace)s, %(ticket)s, message_id, %(conversation)s, contact_id, speaker, name, alias, sent_at, text,
  quoted_name, quoted, case when recalled then %(now)s end, %(joined)s
from json_to_recordset(%(lines)s::json) as t(message_id bigint, contact_id bigint, speaker text, name text, alias text,
  sent_at timestamptz, text text, quoted_name text, quoted text, recalled boolean)
on conflict do nothing returning message_id"""

# The draft that waits knows it too: what is recalled before somebody says yes goes nowhere.
_BLANK_DRAFTS = """
update ticket_draft d set lines = (
  select jsonb_agg(case when (l ->> 'message_id')::bigint = %(message)s
    then l || '{"text": "", "quoted": "", "quoted_name": "", "recalled": true}'::jsonb else l end order by n)
  from jsonb_array_elements(d.lines) with ordinality as t(l, n))
where d.state = 'open' and d.lines @> jsonb_build_array(jsonb_build_object('message_id', %(message)s::bigint))"""


# Whoever answered it has its words with theirs.
_BLANK_QUOTED = """
update ticket_message set quoted = '', quoted_name = ''
where message_id = any(%(answers)s::bigint[]) and quoted <> '' returning ticket_id"""


async def add_lines(
    tx: Transaction,
    ticket_id: int,
    conversation_id: int,
    lines: Sequence[FrozenLine],
    *,
    joined: bool = False,
    now: datetime,
) -> int:
    """Freeze messages for a ticket; those that it has already are left as they are. `joined`: after it was opened.
    Returns how many are new."""
    if not lines:
        return 0
    added = await tx.values(
        _ADD,
        workspace=tx.workspace_id,
        ticket=ticket_id,
        conversation=conversation_id,
        lines=json_safe([line_values(line) for line in lines]),
        joined=joined,
        now=now,
    )
    return len(added)


async def link_row(tx: Transaction, ticket_id: int, conversation_id: int, *, now: datetime) -> bool:
    """False when they were linked already."""
    made = await tx.run(
        "insert into ticket_conversation (workspace_id, ticket_id, conversation_id, linked_at) "
        "values (%(workspace)s, %(ticket)s, %(conversation)s, %(now)s) on conflict do nothing",
        workspace=tx.workspace_id,
        ticket=ticket_id,
        conversation=conversation_id,
        now=now,
    )
    return bool(made)


async def blank(tx: Transaction, message_id: int, *, now: datetime) -> list[int]:
    """Empty what a recalled message said, wherever it was frozen. Returns the tickets that it stood in."""
    await tx.run(_BLANK_DRAFTS, message=message_id)
    answers = await tx.values(_BLANK_QUOTED, answers=await answers_to(tx, message_id))
    emptied = await tx.values(
        "update ticket_message set text = '', quoted = '', quoted_name = '', recalled_at = %(now)s "
        "where message_id = %(message)s and recalled_at is null returning ticket_id",
        message=message_id,
        now=now,
    )
    return list(dict.fromkeys((*emptied, *answers)))


async def blank_all(tx: Transaction, ticket_id: int, *, now: datetime) -> None:
    """Empty everything that was said."""
    await tx.run(
        "update ticket_message set text = '', quoted = '', quoted_name = '', "
        "recalled_at = coalesce(recalled_at, %(now)s) where ticket_id = %(ticket)s",
        ticket=ticket_id,
        now=now,
    )


def line_values(line: FrozenLine) -> dict[str, Any]:
    """A line as JSON keeps it."""
    return {
        "message_id": line.message_id,
        "contact_id": line.contact_id,
        "speaker": line.speaker,
        "name": line.name,
        "alias": line.alias,
        "sent_at": line.sent_at.isoformat(),
        "text": line.text,
        "quoted_name": line.quoted_name,
        "quoted": line.quoted,
        "recalled": line.recalled,
    }


def line_of(values: dict[str, Any]) -> FrozenLine:
    """The line that these values were made of."""
    return FrozenLine(**{**values, "sent_at": datetime.fromisoformat(values["sent_at"])})
