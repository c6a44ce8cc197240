"""What we write to trackers: stored with the wish, carried out afterwards, in order for each ticket and issue.

A stored call carries a key that stands hidden in what is written, so that doing it again after a crash finds what the
attempt before had done. `tracker_calls` takes and settles them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.tickets.repositories import find_repository
from zhiban.tickets.topics import TRACKER_CALL_WAITING
from zhiban.tickets.tracker_writes import Erasure, JoinedMessages, NewComment, NewIssue, TrackerWrite, stored

_ENQUEUE = """
insert into tracker_call (workspace_id, connection_id, repository_id, kind, key, client_key, ticket_id, number,
  message_id, content, actor_kind, actor_id, actor_ref, login_id, retry_at, created_at)
values (%(workspace)s, %(connection)s, %(repository)s, %(kind)s, %(key)s, %(client_key)s, %(ticket)s, %(number)s,
  %(message)s, %(content)s::jsonb, %(actor_kind)s, %(actor_id)s, %(actor_ref)s, %(login)s,
  %(not_before)s, %(now)s)
on conflict (workspace_id, client_key) do nothing returning id"""

# What nobody has tried yet, or what was certainly not carried out, is as if it had never been asked for.
_WITHDRAW = """
update tracker_call set state = 'refused', problem = 'withdrawn', content = content - 'title' - 'body',
  settled_at = %(now)s, retry_at = null
where ticket_id = %(ticket)s and state = 'queued' and tried_at is null and leased_by is null"""

_LET_GO = """
update tracker_call set retry_at = null
where ticket_id = %(ticket)s and kind = 'open' and state = 'queued' and tried_at is null and retry_at is not null
returning connection_id"""

_WRITTEN = """
select id, kind from tracker_call
where ticket_id = %(ticket)s and kind in ('open', 'comment') and state <> 'refused' order by id"""

_OVERWRITE = """
update tracker_call set content = content || case kind when 'open'
  then jsonb_build_object('title', %(title)s::text, 'body', %(body)s::text)
  else jsonb_build_object('body', %(body)s::text) end
where ticket_id = %(ticket)s and kind in ('open', 'comment') and state = 'queued'"""

_REWRITE = """
update tracker_call set content = content || jsonb_build_object('title', %(title)s::text, 'body', %(body)s::text)
where ticket_id = %(ticket)s and kind = 'open' and state = 'queued' returning id, attempts"""

_CONTINUED = """
select id from tracker_call where kind = 'comment' and (content ->> 'after')::bigint = %(call)s order by id"""

# What continues an issue that is open by now, and stands there or will.
_CONTINUING = """
select o.id as opened, array(select c.id from tracker_call c
  where c.kind = 'comment' and c.state <> 'refused' and (c.content ->> 'after')::bigint = o.id
    and not exists (select from tracker_call e where e.client_key = 'erase-' || c.id) order by c.id) as calls
from tracker_call o where o.ticket_id = %(ticket)s and o.kind = 'open' and o.state = 'done'
order by o.id desc limit 1"""

_WITHDRAW_CALL = """
update tracker_call set state = 'refused', problem = 'withdrawn', content = content - 'title' - 'body',
  settled_at = %(now)s, retry_at = null
where id = %(id)s and state = 'queued' and tried_at is null and leased_by is null returning id"""

_OVERWRITE_CALL = """
update tracker_call set content = content || jsonb_build_object('body', %(body)s::text)
where id = %(id)s and kind = 'comment' and state = 'queued'"""

_ADD_TO_CALL = """
update tracker_call set retry_at = null, content = content || jsonb_build_object('body',
  (content ->> 'body') || %(more)s::text)
where id = %(id)s and kind = 'comment' and state = 'queued' and tried_at is null and leased_by is null
returning connection_id"""

_JOINED = """
select id, repository_id, number, content -> 'joined' as joined from tracker_call
where ticket_id = %(ticket)s and kind = 'comment' and state <> 'refused' and content ? 'joined' order by id"""


@frozen_dataclass
class JoinedComment:
    """A call that writes messages to an issue that there was, or has written them."""

    call_id: int
    repository_id: int
    number: int
    joined: JoinedMessages


async def enqueue(
    tx: Transaction,
    repository_id: int,
    write: TrackerWrite,
    *,
    number: int | None = None,
    ticket_id: int | None = None,
    message_id: int | None = None,
    login_id: int | None = None,
    client_key: str,
    by: Actor,
    now: datetime,
    not_before: datetime | None = None,
) -> int:
    """Let this be written after the commit: at the issue of this number, or at the one that was opened for the ticket,
    also when it is yet to be.

    The same `client_key` asks for the same thing. `message_id` names the message that says it, `login_id` the member's
    account under which it is written. Returns the call, which IssueOpened, IssueWritten and IssueRefused name. Raises
    NotFound.
    """
    repository = await find_repository(tx, repository_id)
    kind, content = stored(write)
    call_id = await tx.value(
        _ENQUEUE,
        workspace=tx.workspace_id,
        connection=repository.connection_id,
        repository=repository_id,
        kind=kind,
        key=str(uuid4()),
        client_key=client_key,
        ticket=ticket_id,
        number=number,
        message=message_id,
        content=json_safe(content),
        actor_kind=by.kind,
        actor_id=by.id,
        actor_ref=by.ref,
        login=login_id,
        not_before=not_before,
        now=now,
    )
    if call_id is None:
        return int(await tx.value("select id from tracker_call where client_key = %(key)s", key=client_key))
    tx.publish_after_commit(TRACKER_CALL_WAITING, repository.connection_id)
    return int(call_id)


async def enqueue_issue(
    tx: Transaction,
    repository_id: int,
    *,
    title: str,
    bodies: Sequence[str],
    labels: Sequence[str] = (),
    assignees: Sequence[str] = (),
    ticket_id: int | None = None,
    client_key: str,
    by: Actor,
    now: datetime,
    not_before: datetime | None = None,
) -> int:
    """Open an issue: `bodies` are its text and, in their order, comments that continue it. As `enqueue`."""
    issue = NewIssue(title, bodies[0], tuple(labels), tuple(assignees))
    # What continues it needs to know which issue it was: it goes by the ticket, or by the call where there is none.
    call_id = await enqueue(
        tx,
        repository_id,
        issue,
        ticket_id=ticket_id,
        client_key=client_key,
        by=by,
        now=now,
        not_before=not_before,
    )
    for n, body in enumerate(bodies[1:], 1):
        rest = NewComment(body, after=call_id)
        await enqueue(tx, repository_id, rest, ticket_id=ticket_id, client_key=f"{client_key}+{n}", by=by, now=now)
    return call_id


async def let_go(tx: Transaction, ticket_id: int) -> None:
    """Nobody waits any more with an issue that was not to be opened before some time."""
    found = await tx.values(_LET_GO, ticket=ticket_id)
    for connection_id in found:
        tx.publish_after_commit(TRACKER_CALL_WAITING, connection_id)


async def withdraw(tx: Transaction, ticket_id: int, *, now: datetime) -> None:
    """Do nothing of what was asked for a ticket and has not been tried."""
    await tx.run(_WITHDRAW, ticket=ticket_id, now=now)


async def written_for(tx: Transaction, ticket_id: int) -> tuple[bool, list[int]]:
    """Whether an issue of the ticket's was or will be opened by us, and the calls of comments on it, in their order."""
    found = await tx.rows(_WRITTEN, ticket=ticket_id)
    return any(kind == "open" for _, kind in found), [int(id_) for id_, kind in found if kind == "comment"]


async def overwrite(tx: Transaction, ticket_id: int, *, title: str, body: str) -> None:
    """Let attempts that are still to come write these words instead, where nobody knows what came of the last one."""
    await tx.run(_OVERWRITE, ticket=ticket_id, title=title, body=body)


async def rewrite_untried(
    tx: Transaction,
    repository_id: int,
    *,
    ticket_id: int,
    title: str,
    bodies: Sequence[str],
    by: Actor,
    now: datetime,
) -> bool:
    """Let the issue that waits to be opened, and the comments that continue it, say this instead; with further comments
    where there is more to say. False where an attempt may have opened it already."""
    found = await tx.rows(_REWRITE, ticket=ticket_id, title=title, body=bodies[0])
    for call_id, _ in found:
        comments = await tx.values(_CONTINUED, call=call_id)
        for n, comment_id in enumerate(comments, 1):
            body = bodies[n] if n < len(bodies) else "\u2026"
            await tx.run(
                "update tracker_call set content = content || jsonb_build_object('body', %(body)s::text) "
                "where id = %(id)s and state = 'queued'",
                body=body,
                id=comment_id,
            )
        for n in range(len(comments) + 1, len(bodies)):
            rest, key = NewComment(bodies[n], after=call_id), f"more-{call_id}-{n}"
            await enqueue(tx, repository_id, rest, ticket_id=ticket_id, client_key=key, by=by, now=now)
    return bool(found) and all(attempts == 0 for _, attempts in found)


async def continue_again(
    tx: Transaction,
    repository_id: int,
    bodies: Sequence[str],
    *,
    ticket_id: int,
    client_key: str,
    by: Actor,
    now: datetime,
) -> None:
    """Let the comments that continue the open issue of a ticket be these: the ones before are taken away."""
    for opened, calls in await tx.rows(_CONTINUING, ticket=ticket_id):
        for call_id in calls:
            await _take_away(tx, call_id, repository_id, ticket_id=ticket_id, body="\u2026", by=by, now=now)
        for n, body in enumerate(bodies, 1):
            rest = NewComment(body, after=opened)
            await enqueue(tx, repository_id, rest, ticket_id=ticket_id, client_key=f"{client_key}+{n}", by=by, now=now)


async def begin_again(tx: Transaction, connection_id: int) -> None:
    """What waits for this connection has as much time as if nobody had tried it yet."""
    await tx.run(
        "update tracker_call set begun_at = null where connection_id = %(id)s and state = 'queued'", id=connection_id
    )


async def withdraw_call(tx: Transaction, call_id: int, *, now: datetime) -> bool:
    """Do not carry this call out. False where it may have been already."""
    return await tx.value(_WITHDRAW_CALL, id=call_id, now=now) is not None


async def overwrite_comment(tx: Transaction, call_id: int, *, body: str) -> None:
    """Let attempts at this comment that are still to come write these words instead."""
    await tx.run(_OVERWRITE_CALL, id=call_id, body=body)


async def add_to_comment(tx: Transaction, call_id: int, more: str) -> bool:
    """Let this stand below a comment that nobody has tried to write, and let it go. False where it is too late."""
    found = await tx.values(_ADD_TO_CALL, id=call_id, more=f"\n\n{more}" if more else "")
    for connection_id in found:
        tx.publish_after_commit(TRACKER_CALL_WAITING, connection_id)
    return bool(found)


async def joined_comments(tx: Transaction, ticket_id: int) -> list[JoinedComment]:
    """What was put to issues with this ticket and stands there, or will."""
    return [
        JoinedComment(id_, repository_id, number, JoinedMessages(**{**joined, "messages": tuple(joined["messages"])}))
        for id_, repository_id, number, joined in await tx.rows(_JOINED, ticket=ticket_id)
    ]


async def erase_comment(
    tx: Transaction, comment: JoinedComment, *, ticket_id: int, body: str, by: Actor, now: datetime
) -> None:
    """Take away what a comment says at the issue, or let it never get there; `body` is written instead by an attempt
    whose predecessor may have been carried out."""
    await tx.run("update tracker_call set content = content - 'joined' where id = %(id)s", id=comment.call_id)
    await _take_away(
        tx,
        comment.call_id,
        comment.repository_id,
        number=comment.number,
        ticket_id=ticket_id,
        body=body,
        by=by,
        now=now,
    )


async def _take_away(
    tx: Transaction,
    call_id: int,
    repository_id: int,
    *,
    number: int | None = None,
    ticket_id: int,
    body: str,
    by: Actor,
    now: datetime,
) -> None:
    if await withdraw_call(tx, call_id, now=now):
        return
    await overwrite_comment(tx, call_id, body=body)
    await enqueue(
        tx,
        repository_id,
        Erasure(call_id),
        number=number,
        ticket_id=ticket_id,
        client_key=f"erase-{call_id}",
        by=by,
        now=now,
    )
