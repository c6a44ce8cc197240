"""A conversation to take along: what was said, in order, under the names that the contact may read."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from zhiban.conversations.attachments import attachments_of
from zhiban.conversations.quotes import WITHOUT_LINK
from zhiban.events import Actor, DataExported
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

MOST = 20_000  # messages; of a longer conversation the last

# What a member quoted of somebody unknown may be of whoever wants nothing quoted.
_MAYBE_THEIRS = """m.content ? 'quoted' and m.sender_contact_id is null and m.direction = 'in' and exists (
    select from participant o where o.conversation_id = m.conversation_id and o.consent <> 'all')"""

# A colleague's remark about the contact is for colleagues: a transcript may be given to the contact.
_LINES = f"""
select m.id, m.sent_at, m.author, m.direction = 'internal' as note, m.kind,
  coalesce(a.name, case when m.direction = 'internal' then m.content ->> 'program' end, '') as agent_name,
  m.author = 'api' and m.content @> '{{"from_person": true}}' as for_person,
  coalesce(nullif(g.nickname, ''), p.name, '') as contact_name,
  case when m.recalled_at is not null then '' else {WITHOUT_LINK} end as text,
  m.recalled_at is not null as recalled,
  m.sender_contact_id as contact_id, coalesce(p.name, '') as own_name, coalesce(g.nickname, '') as nickname,
  coalesce(m.content ->> 'above', '') as above,
  coalesce(g.consent, 'all') = 'all' and not m.content ? 'withheld' and not ({_MAYBE_THEIRS}) as quotable,
  array(select offered ->> 'label' from jsonb_array_elements(
    case jsonb_typeof(m.content -> 'choices') when 'array' then m.content -> 'choices' else '[]' end) as offered
  ) as choices
from message m
left join agent a on a.workspace_id = m.workspace_id and a.id = m.agent_id
left join contact p on p.workspace_id = m.workspace_id and p.id = m.sender_contact_id
left join participant g on g.workspace_id = m.workspace_id and g.conversation_id = m.conversation_id
  and g.contact_id = m.sender_contact_id
where m.conversation_id = %(id)s and m.kind not in ('activity', 'move') and m.state <> 'dropped'
  and (%(notes)s or m.direction <> 'internal')
order by m.id desc limit %(most)s"""

Writer = Literal["contact", "assistant", "people", "note"]


@frozen_dataclass
class _StoredLine:
    id: int
    sent_at: datetime
    author: str
    note: bool
    kind: str
    agent_name: str
    for_person: bool
    contact_name: str
    text: str
    recalled: bool
    contact_id: int | None
    own_name: str
    nickname: str
    above: str
    quotable: bool
    choices: list[str | None]


@frozen_dataclass
class TranscriptLine:
    """One message. `name` is empty where nobody knows it; `files` are the names of files, or empty names.

    `own_name` and `nickname` are what a contact calls themselves, and is called in the group; `above` is the line at
    the beginning of `text` that quotes another message.
    """

    at: datetime
    writer: Writer
    name: str
    kind: str
    text: str
    recalled: bool
    choices: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    contact_id: int | None = None
    own_name: str = ""
    nickname: str = ""
    above: str = ""
    quotable: bool = True


async def transcript(tx: Transaction, conversation_id: int, *, notes: bool, most: int = MOST) -> list[TranscriptLine]:
    """What was said, oldest first, of a long conversation the last. Notes are for colleagues, in it only on wish."""
    rows = await tx.objects(_StoredLine, _LINES, id=conversation_id, notes=notes, most=most)
    rows.reverse()
    files = await attachments_of(tx, [row.id for row in rows if row.kind not in ("text", "note", "menu")])
    return [
        TranscriptLine(
            at=row.sent_at,
            writer=_writer(row),
            name=row.contact_name if row.author == "contact" else row.agent_name,
            kind=row.kind,
            text=row.text,
            recalled=row.recalled,
            choices=() if row.recalled else tuple(choice for choice in row.choices if choice),
            files=() if row.recalled else tuple(one.filename for one in files.get(row.id, ())),
            contact_id=row.contact_id,
            own_name=row.own_name,
            nickname=row.nickname,
            above=row.above,
            quotable=row.quotable,
        )
        for row in rows
    ]


def _writer(row: _StoredLine) -> Writer:
    if row.note:
        return "note"
    match row.author:
        case "contact":
            return "contact"
        case "agent" | "servicer":
            return "people"
        case "api" if row.for_person:
            return "people"
        case _:
            return "assistant"


async def record_transcript(
    tx: Transaction, conversation_id: int, *, rows: int, notes: bool, by: Actor, now: datetime, mailed_to: str = ""
) -> None:
    """That somebody took it, or had it sent to an address, of which the log needs to know the shape only."""
    what = f"conversation {conversation_id}" + (" with notes" if notes else "")
    what += f" by mail to {mailed_to}" if mailed_to else ""
    await event_log.append(tx, DataExported(actor=by, at=now, what=what, rows=rows))
