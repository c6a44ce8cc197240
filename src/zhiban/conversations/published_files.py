"""Files of messages that everybody may read who has their address: cleaned copies, for as long as a ticket needs them.

Each is published for one ticket, or for one comment on an issue, under an address of its own, so that taking it back
for one takes nothing from another. Without the whole address nobody finds a file, and nobody learns that there is one.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from zhiban.events import Actor, ActorKind, FilePublished, FileWithdrawn
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Gone, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass

PATH = "/f"
_TOKEN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([0-9a-f]{32})", re.ASCII)

PublishedKind = Literal["picture", "file"]
# Waiting to be fetched and cleaned, read by everybody, refused for the reason in `problem`, taken back.
PublishState = Literal["waiting", "published", "refused", "withdrawn"]

_COLUMNS = (
    "id, ticket_id, call_id, conversation_id, message_id, attachment_id, contact_id, kind, name, state, secret, "
    "address, sha256, content_type, size, problem, created_at, actor_kind, actor_id, actor_ref"
)

# What was taken back or refused may be published again, under another address.
_WANT = """
insert into published_file (workspace_id, ticket_id, call_id, conversation_id, message_id, attachment_id, contact_id,
  kind, name, secret, actor_kind, actor_id, actor_ref, created_at)
values (%(workspace)s, %(ticket)s, %(call)s, %(conversation)s, %(message)s, %(attachment)s, %(contact)s, %(kind)s,
  %(name)s, %(secret)s, %(actor_kind)s, %(actor_id)s, %(actor_ref)s, %(now)s)
on conflict (workspace_id, ticket_id, attachment_id) do update
set state = 'waiting', secret = excluded.secret, address = '', problem = '',
  actor_kind = excluded.actor_kind, actor_id = excluded.actor_id, actor_ref = excluded.actor_ref,
  created_at = excluded.created_at
where published_file.state in ('refused', 'withdrawn') returning id"""

_WITHDRAW = f"""
update published_file set state = 'withdrawn', sha256 = null, size = null, address = '', withdrawn_at = %(now)s
where state in ('waiting', 'published') and {{which}} returning {_COLUMNS}"""


@frozen_dataclass
class PublishedFile:
    """A file of a message that is published, or was to be: for a ticket, or for the comment that a call writes.

    `problem` is an English sentence.
    """

    id: int
    ticket_id: int | None
    call_id: int | None
    conversation_id: int
    message_id: int
    attachment_id: int
    contact_id: int | None
    kind: PublishedKind
    name: str
    state: PublishState
    secret: str
    address: str
    sha256: str | None
    content_type: str | None
    size: int | None
    problem: str
    created_at: datetime
    actor_kind: ActorKind
    actor_id: int | None
    actor_ref: str | None

    @property
    def wanted_by(self) -> Actor:
        return Actor(self.actor_kind, self.actor_id, self.actor_ref)


@frozen_dataclass
class FileToPublish:
    """A file of a message, and what to make of it: a picture is written anew, a file stays as it is."""

    conversation_id: int
    message_id: int
    attachment_id: int
    contact_id: int | None
    kind: PublishedKind
    name: str


@frozen_dataclass
class PublicCopy:
    """What everybody may read, as it lies in the store of files."""

    sha256: str
    size: int
    content_type: str
    name: str


async def want(
    tx: Transaction,
    files: Sequence[FileToPublish],
    *,
    ticket_id: int | None = None,
    call_id: int | None = None,
    by: Actor,
    now: datetime,
) -> int:
    """Let these be published for a ticket, or for the comment of a call; those that are for the ticket, or are about to
    be, stay as they are. Returns how many are new."""
    found = [
        await tx.value(
            _WANT,
            workspace=tx.workspace_id,
            ticket=ticket_id,
            call=call_id,
            conversation=one.conversation_id,
            message=one.message_id,
            attachment=one.attachment_id,
            contact=one.contact_id,
            kind=one.kind,
            name=one.name,
            secret=secrets.token_hex(16),
            actor_kind=by.kind,
            actor_id=by.id,
            actor_ref=by.ref,
            now=now,
        )
        for one in files
    ]
    return sum(id_ is not None for id_ in found)


async def published_for(tx: Transaction, ticket_id: int) -> list[PublishedFile]:
    """All that was to be published for a ticket, whatever became of it, in the order in which it was said."""
    return await _files(tx, "ticket_id = %(ticket)s order by message_id, attachment_id", ticket=ticket_id)


async def published_with(tx: Transaction, call_id: int) -> list[PublishedFile]:
    """The same for the comment of a call."""
    return await _files(tx, "call_id = %(call)s order by attachment_id", call=call_id)


async def waiting(tx: Transaction, *, before: datetime) -> list[PublishedFile]:
    """Those that have waited since before then."""
    return await _files(tx, "state = 'waiting' and created_at < %(before)s order by id", before=before)


async def tickets_showing(
    tx: Transaction,
    *,
    message_id: int | None = None,
    contact_id: int | None = None,
    conversation_id: int | None = None,
) -> list[int]:
    """The tickets that show files of this message, of this contact, or of this conversation, or are about to."""
    return await tx.values(
        "select distinct ticket_id from published_file where ticket_id is not null "
        "and state in ('waiting', 'published') and (message_id = %(message)s or contact_id = %(contact)s "
        "or conversation_id = %(conversation)s) order by ticket_id",
        message=message_id,
        contact=contact_id,
        conversation=conversation_id,
    )


async def publish(tx: Transaction, file: PublishedFile, copy: PublicCopy, *, url: str, now: datetime) -> bool:
    """Let everybody read this copy of it, below our own address `url`. False where it was taken back meanwhile."""
    done = await tx.run(
        "update published_file set state = 'published', sha256 = %(sha256)s, size = %(size)s, name = %(name)s, "
        "content_type = %(type)s, address = %(address)s, published_at = %(now)s "
        "where id = %(id)s and state = 'waiting' and secret = %(secret)s",
        sha256=copy.sha256,
        size=copy.size,
        name=copy.name,
        type=copy.content_type,
        address=f"{url.rstrip('/')}{PATH}/{tx.workspace_id}-{file.id}-{file.secret}",
        now=now,
        id=file.id,
        secret=file.secret,
    )
    if done:
        fact = FilePublished(
            actor=file.wanted_by,
            at=now,
            file_id=file.id,
            ticket_id=file.ticket_id,
            call_id=file.call_id,
            message_id=file.message_id,
            attachment_id=file.attachment_id,
        )
        await event_log.append(tx, fact)
    return bool(done)


async def refuse(tx: Transaction, file: PublishedFile, why: str) -> bool:
    """It cannot be published, for this reason. False where it waits no more."""
    done = await tx.run(
        "update published_file set state = 'refused', problem = %(why)s where id = %(id)s and state = 'waiting' "
        "and secret = %(secret)s",
        why=why,
        id=file.id,
        secret=file.secret,
    )
    return bool(done)


async def withdraw_message(tx: Transaction, message_id: int, *, by: Actor, now: datetime) -> list[PublishedFile]:
    """Nobody reads the files of this message any more. Returns what was taken back, as for all that follow."""
    return await _withdraw(tx, "message_id = %(id)s", id=message_id, by=by, now=now)


async def withdraw_member(
    tx: Transaction, conversation_id: int, contact_id: int, *, by: Actor, now: datetime
) -> list[PublishedFile]:
    """Nobody reads what this member showed in this conversation."""
    which = "conversation_id = %(conversation)s and contact_id = %(contact)s"
    return await _withdraw(tx, which, conversation=conversation_id, contact=contact_id, by=by, now=now)


async def withdraw_kinds(
    tx: Transaction, conversation_id: int, kinds: Sequence[PublishedKind], *, by: Actor, now: datetime
) -> list[PublishedFile]:
    """Nobody reads files of these kinds of this conversation."""
    which = "conversation_id = %(conversation)s and kind = any(%(kinds)s::text[])"
    return await _withdraw(tx, which, conversation=conversation_id, kinds=list(kinds), by=by, now=now)


async def withdraw_tickets(
    tx: Transaction, ticket_ids: Sequence[int], *, by: Actor, now: datetime
) -> list[PublishedFile]:
    """Nobody reads what was published for these tickets."""
    return await _withdraw(tx, "ticket_id = any(%(ids)s::bigint[])", ids=list(ticket_ids), by=by, now=now)


async def withdraw_comment(tx: Transaction, call_id: int, *, by: Actor, now: datetime) -> list[PublishedFile]:
    """Nobody reads what was to stand in the comment of this call."""
    return await _withdraw(tx, "call_id = %(id)s", id=call_id, by=by, now=now)


async def withdraw_forgotten(
    tx: Transaction, message_ids: Sequence[int], *, by: Actor, now: datetime
) -> list[PublishedFile]:
    """Nobody reads what stood in comments for these messages; what stands at a ticket's issue goes with the ticket."""
    which = "message_id = any(%(ids)s::bigint[]) and ticket_id is null"
    return await _withdraw(tx, which, ids=list(message_ids), by=by, now=now)


async def withdraw_file(
    tx: Transaction, ticket_id: int, file_id: int, *, by: Actor, now: datetime
) -> list[PublishedFile]:
    """Nobody reads this one file of a ticket."""
    return await _withdraw(tx, "ticket_id = %(ticket)s and id = %(id)s", ticket=ticket_id, id=file_id, by=by, now=now)


async def _withdraw(tx: Transaction, which: str, *, by: Actor, now: datetime, **params: object) -> list[PublishedFile]:
    rows = await tx.objects(PublishedFile, _WITHDRAW.format(which=which), now=now, **params)
    for one in rows:
        fact = FileWithdrawn(
            actor=by,
            at=now,
            file_id=one.id,
            ticket_id=one.ticket_id,
            call_id=one.call_id,
            message_id=one.message_id,
        )
        await event_log.append(tx, fact)
    return rows


def read_token(token: str) -> tuple[int, int, str]:
    """The workspace, the file and the secret that the last part of an address names. Raises NotFound."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise NotFound("There is no such file.")
    return int(found[1]), int(found[2]), found[3]


async def public_copy(tx: Transaction, file_id: int, secret: str) -> PublicCopy:
    """What everybody reads under an address. Raises NotFound, and Gone for what was taken back."""
    rows = await _files(tx, "id = %(id)s", id=file_id)
    if not rows or not hmac.compare_digest(rows[0].secret, secret):
        raise NotFound("There is no such file.")
    file = rows[0]
    if file.state == "withdrawn":
        raise Gone("This file was taken back.")
    if file.sha256 is None or file.size is None:
        raise NotFound("There is no such file.")
    return PublicCopy(file.sha256, file.size, file.content_type or "application/octet-stream", file.name)


async def _files(tx: Transaction, condition: str, **params: object) -> list[PublishedFile]:
    return await tx.objects(PublishedFile, f"select {_COLUMNS} from published_file where {condition}", **params)
