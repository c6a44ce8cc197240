"""What members of a group do to an issue by quoting a message of ours about it, and what became of that.

The reply, the call that carries it out and whatever is said at once are one transaction. `card_reply` is the table of
messages and what they wrote: a message that comes again does nothing, and one that is recalled takes it away.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.events import Actor, IssueRefused, IssueWritten
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Locale
from zhiban.tickets.card_words import Verb
from zhiban.tickets.tracker_outbox import enqueue, overwrite_comment, withdraw_call
from zhiban.tickets.tracker_writes import Erasure, TrackerWrite

WRITTEN = "written"
DECLINED = "declined"
LEFT = "left"  # it was recalled, and the tracker does not let us take it away

_COLUMNS = (
    "r.id, r.conversation_id, r.message_id, r.contact_id, r.ref, r.name, r.locale, r.issue_id, r.verb, r.call_id, "
    "r.outcome, r.url, r.dropped, r.created_at, r.recalled_at"
)

_KEEP = """
insert into card_reply (workspace_id, conversation_id, message_id, contact_id, ref, name, locale, issue_id, verb,
  call_id, outcome, created_at)
values (%(workspace)s, %(conversation)s, %(message)s, %(contact)s, %(ref)s, %(name)s, %(locale)s, %(issue)s, %(verb)s,
  %(call)s, %(outcome)s, %(now)s)
on conflict (workspace_id, message_id) do nothing returning id"""

_SETTLE = """
update card_reply set outcome = %(outcome)s, url = %(url)s, dropped = %(dropped)s::text[], settled_at = %(now)s
where call_id = %(call)s and outcome is null returning id"""

_LEFT = """
update card_reply r set outcome = 'left' from tracker_call c
where c.id = %(call)s and r.call_id = (c.content ->> 'erases')::bigint and r.recalled_at is not null returning r.id"""


@frozen_dataclass
class CardReply:
    """What a member did by quoting.

    `outcome`: WRITTEN, DECLINED, LEFT, why the tracker refused, or None while it waits.
    """

    id: int
    conversation_id: int
    message_id: int
    contact_id: int
    ref: str
    name: str
    locale: Locale
    issue_id: int
    verb: Verb
    call_id: int | None
    outcome: str | None
    url: str
    dropped: list[str]
    created_at: datetime
    recalled_at: datetime | None


@frozen_dataclass
class Replier:
    """A member of a group who quotes, with the message that does; `ref` is the vendor's id of them."""

    conversation_id: int
    message_id: int
    contact_id: int
    ref: str
    name: str
    locale: Locale


async def keep(
    tx: Transaction,
    replier: Replier,
    issue_id: int,
    verb: Verb,
    *,
    call_id: int | None,
    outcome: str | None = None,
    now: datetime,
) -> int | None:
    """Returns the reply, None where this message is known."""
    found = await tx.value(
        _KEEP,
        workspace=tx.workspace_id,
        conversation=replier.conversation_id,
        message=replier.message_id,
        contact=replier.contact_id,
        ref=replier.ref,
        name=replier.name,
        locale=replier.locale,
        issue=issue_id,
        verb=verb,
        call=call_id,
        outcome=outcome,
        now=now,
    )
    return None if found is None else int(found)


async def write(
    tx: Transaction,
    replier: Replier,
    *,
    issue_id: int,
    repository_id: int,
    number: int,
    verb: Verb,
    what: TrackerWrite,
    login_id: int | None = None,
    not_before: datetime | None = None,
    now: datetime,
) -> int | None:
    """Let this be written at the issue, under the member's own account where there is one, and not before some time.

    Returns the reply, None where this message is known.
    """
    call_id = await enqueue(
        tx,
        repository_id,
        what,
        number=number,
        message_id=replier.message_id,
        login_id=login_id,
        client_key=f"card-{replier.message_id}",
        by=Actor("contact", replier.contact_id),
        now=now,
        not_before=not_before,
    )
    return await keep(tx, replier, issue_id, verb, call_id=call_id, now=now)


async def read_reply(tx: Transaction, reply_id: int) -> CardReply | None:
    return await tx.object(CardReply, f"select {_COLUMNS} from card_reply r where r.id = %(id)s", id=reply_id)


async def written_in(tx: Transaction, call_id: int) -> Locale:
    """The language of whoever asked for this call."""
    found = await tx.value("select locale from card_reply where call_id = %(id)s", id=call_id)
    return found or "zh"


async def written_since(tx: Transaction, conversation_id: int, contact_id: int | None, *, since: datetime) -> int:
    """How much was written from a group, by this member or by everybody."""
    return int(
        await tx.value(
            "select count(*) from card_reply where conversation_id = %(conversation)s and created_at >= %(since)s "
            "and call_id is not null and (%(contact)s::bigint is null or contact_id = %(contact)s)",
            conversation=conversation_id,
            contact=contact_id,
            since=since,
        )
    )


async def declined_since(tx: Transaction, conversation_id: int, *, since: datetime) -> dict[int, int]:
    """How often the members of a group were told no, or were asked which issue they mean."""
    rows: dict[int, int] = dict(
        await tx.rows(
            "select contact_id, count(*)::int from card_reply where conversation_id = %(conversation)s "
            "and created_at >= %(since)s and call_id is null group by contact_id",
            conversation=conversation_id,
            since=since,
        )
    )
    return rows


async def asked_from(tx: Transaction, call_id: int | None) -> list[int]:
    """The group in which this call was asked for by quoting; none for other calls."""
    return await tx.values("select conversation_id from card_reply where call_id = %(id)s", id=call_id)


async def note_written(tx: Transaction, fact: IssueWritten) -> int | None:
    """It stands there. Returns the reply that asked for it, None where none did."""
    return await _settle(tx, fact.call_id, WRITTEN, url=fact.url, dropped=fact.dropped, now=fact.at)


async def note_refused(tx: Transaction, fact: IssueRefused) -> int | None:
    """The tracker will not. Returns the reply that asked for it, or that was to be taken back; None where none was."""
    left = await tx.value(_LEFT, call=fact.call_id)
    if left is not None:
        return int(left)
    # Where a single issue was moved to, the tracker says by its address; other sentences are for operators.
    place = fact.sentence if fact.sentence.startswith("https://") else ""
    return await _settle(tx, fact.call_id, fact.reason, url=place, dropped=(), now=fact.at)


async def _settle(
    tx: Transaction, call_id: int, outcome: str, *, url: str, dropped: Sequence[str], now: datetime
) -> int | None:
    found = await tx.value(_SETTLE, call=call_id, outcome=outcome, url=url, dropped=list(dropped), now=now)
    return None if found is None else int(found)


async def take_back(tx: Transaction, message_id: int, *, body: str, now: datetime) -> CardReply | None:
    """The message that quoted was recalled: what it said or showed at the issue goes, too, or never gets there.

    A state, labels and people that it changed stay, as others may rely on them by now. Returns the reply, None where
    there was none. `body` is written instead by an attempt whose predecessor may have been carried out.
    """
    reply = await tx.object(
        CardReply,
        f"update card_reply r set recalled_at = %(now)s where r.message_id = %(id)s and r.recalled_at is null "
        f"returning {_COLUMNS}",
        id=message_id,
        now=now,
    )
    if reply is None or reply.call_id is None or await withdraw_call(tx, reply.call_id, now=now):
        return reply
    if reply.verb not in ("comment", "react"):
        return reply
    await overwrite_comment(tx, reply.call_id, body=body)
    repository_id, number, login_id = await _place(tx, reply.call_id)
    await enqueue(
        tx,
        repository_id,
        Erasure(reply.call_id),
        number=number,
        login_id=login_id,
        client_key=f"erase-{reply.call_id}",
        by=Actor("contact", reply.contact_id),
        now=now,
    )
    return reply


async def _place(tx: Transaction, call_id: int) -> tuple[int, int, int | None]:
    ((repository_id, number, login_id),) = await tx.rows(
        "select repository_id, number, login_id from tracker_call where id = %(id)s", id=call_id
    )
    return repository_id, number, login_id
