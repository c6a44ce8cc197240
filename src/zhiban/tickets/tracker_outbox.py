"""What we write to trackers: stored with the wish, carried out afterwards, in order for each ticket and issue.

A stored call carries a key that stands hidden in what is written, so that doing it again after a crash finds what the
attempt before had done. `workers/tracker_worker.py` takes calls and settles them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from zhiban.events import Actor, ActorKind, IssueOpened, IssueRefused
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.kit.pubsub import LIVING
from zhiban.ports import CommentDraft, IssueChange, IssueComment, IssueDraft, OpenedIssue
from zhiban.tickets import issues
from zhiban.tickets.repositories import access_repository, rename
from zhiban.tickets.topics import TRACKER_CALL_WAITING

LEASE = timedelta(seconds=120)  # longer than any attempt takes
LOCK = 0x5A54  # class of the advisory locks under which calls of a connection are taken

Wish = Literal["open", "comment", "change"]

_ENQUEUE = """
insert into tracker_call (workspace_id, connection_id, repository_id, kind, key, client_key, ticket_id, number,
  message_id, content, actor_kind, actor_id, actor_ref, created_at)
values (%(workspace)s, %(connection)s, %(repository)s, %(kind)s, %(key)s, %(client_key)s, %(ticket)s, %(number)s,
  %(message)s, %(content)s::jsonb, %(actor_kind)s, %(actor_id)s, %(actor_ref)s, %(now)s)
on conflict (workspace_id, client_key) do nothing returning id"""

# Whoever is not alive holds nothing; one of our own leases was left by a task of ours that ended.
_HELD = f"""
select 1 from tracker_call where connection_id = %(connection)s and state = 'queued' and leased_by is not null
and leased_by <> %(me)s and lease_until > %(now)s and leased_by in ({LIVING}) limit 1"""

_TAKE = """
update tracker_call set leased_by = %(me)s, lease_until = %(until)s, attempts = attempts + 1,
  tried_at = coalesce(tried_at, %(now)s)
where id = (
  select c.id from tracker_call c
  where c.connection_id = %(connection)s and c.state = 'queued' and (c.retry_at is null or c.retry_at <= %(now)s)
    and not exists (
      select 1 from tracker_call e where e.connection_id = c.connection_id and e.state = 'queued' and e.id < c.id
        and (e.ticket_id = c.ticket_id or (e.repository_id = c.repository_id and e.number = c.number)
          or e.id = (c.content ->> 'after')::bigint or e.content ->> 'after' = c.content ->> 'after'))
  order by c.id limit 1) and state = 'queued'
returning id, repository_id, kind, key, ticket_id, number, message_id, content, actor_kind, actor_id, actor_ref,
  attempts, attempts > 1 as again, tried_at, created_at"""

# The issue that we opened for the ticket, or the one that the ticket was put to.
_NUMBER = """
select i.number from (
  select c.issue_id, c.id from tracker_call c
  where c.ticket_id = %(ticket)s and c.kind = 'open' and c.state = 'done' and c.repository_id = %(repository)s
  union all select t.issue_id, 0 from ticket t where t.id = %(ticket)s) as known (issue_id, call_id)
join issue i on i.id = known.issue_id and i.repository_id = %(repository)s order by known.call_id desc limit 1"""

# What nobody has tried yet, or what was certainly not carried out, is as if it had never been asked for.
_WITHDRAW = """
update tracker_call set state = 'refused', problem = 'withdrawn', content = content - 'title' - 'body',
  settled_at = %(now)s, retry_at = null
where ticket_id = %(ticket)s and state = 'queued' and tried_at is null and leased_by is null"""

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

_SETTLE = """
update tracker_call set state = %(state)s, issue_id = %(issue)s, comment_id = %(comment)s, problem = %(problem)s,
  number = coalesce(number, %(number)s), content = content - 'title' - 'body',
  settled_at = %(now)s, leased_by = null, lease_until = null, retry_at = null
where id = %(id)s and state = 'queued' returning id"""

_PUT_OFF = """
update tracker_call set retry_at = %(at)s, problem = %(problem)s, leased_by = null, lease_until = null,
  attempts = attempts - case when %(sent)s then 0 else 1 end,
  tried_at = case when %(sent)s or %(again)s then tried_at end
where id = %(id)s and state = 'queued'"""

_DUE = """
select distinct connection_id from tracker_call where state = 'queued' and (retry_at is null or retry_at <= %(now)s)"""


@frozen_dataclass
class TrackerCall:
    """A call that this process has taken. `again`: an attempt before it may have been carried out."""

    id: int
    repository_id: int
    kind: Wish
    key: str
    ticket_id: int | None
    number: int | None
    message_id: int | None
    content: dict[str, Any]
    actor_kind: ActorKind
    actor_id: int | None
    actor_ref: str | None
    attempts: int
    again: bool
    tried_at: datetime
    created_at: datetime

    @property
    def actor(self) -> Actor:
        """Who asked for it."""
        return Actor(self.actor_kind, self.actor_id, self.actor_ref)

    def issue_draft(self, repository: str) -> IssueDraft:
        return IssueDraft(
            self.key,
            repository,
            self.content["title"],
            self.content["body"],
            tuple(self.content["labels"]),
            tuple(self.content["assignees"]),
            self.tried_at if self.again else None,
        )

    def comment_draft(self, repository: str, number: int) -> CommentDraft:
        return CommentDraft(self.key, repository, number, self.content["body"], self.tried_at if self.again else None)

    @property
    def erases(self) -> int | None:
        """The call whose comment is to be taken away, for a change that is no more than that."""
        return self.content.get("erases")

    def change(self) -> IssueChange:
        """As it was asked for; JSON has made lists of tuples."""
        asked = self.content
        return IssueChange(
            state=asked["state"],
            reason=asked["reason"],
            title=asked["title"],
            body=asked["body"],
            add_labels=tuple(asked["add_labels"]),
            remove_labels=tuple(asked["remove_labels"]),
            add_assignees=tuple(asked["add_assignees"]),
        )


class IssueNotOpen(Conflict):
    """There is no issue to write to: the ticket's was never opened."""

    def __init__(self) -> None:
        super().__init__("There is no issue to write to.")


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
) -> int:
    """Open an issue after the commit: `bodies` are its text and, in their order, comments that continue it.

    The same `client_key` asks for the same thing. Returns the call, which IssueOpened and IssueRefused name. Raises
    NotFound.
    """
    content = {"title": title, "body": bodies[0], "labels": list(labels), "assignees": list(assignees)}
    # What continues it needs to know which issue it was: it goes by the ticket, or by the call where there is none.
    call_id = await _enqueue(
        tx, repository_id, "open", content, ticket_id=ticket_id, client_key=client_key, by=by, now=now
    )
    for n, body in enumerate(bodies[1:], 1):
        await _enqueue(
            tx,
            repository_id,
            "comment",
            {"body": body, "after": call_id},
            ticket_id=ticket_id,
            client_key=f"{client_key}+{n}",
            by=by,
            now=now,
        )
    return call_id


async def enqueue_comment(
    tx: Transaction,
    repository_id: int,
    *,
    body: str,
    number: int | None = None,
    ticket_id: int | None = None,
    message_id: int | None = None,
    client_key: str,
    by: Actor,
    now: datetime,
) -> int:
    """Comment on the issue of this number, or on the one that was opened for the ticket, also when it is yet to be.

    `message_id` names the message that the comment says. Returns the call. Raises NotFound.
    """
    return await _enqueue(
        tx,
        repository_id,
        "comment",
        {"body": body},
        number=number,
        ticket_id=ticket_id,
        message_id=message_id,
        client_key=client_key,
        by=by,
        now=now,
    )


async def enqueue_change(
    tx: Transaction,
    repository_id: int,
    *,
    change: IssueChange,
    number: int | None = None,
    ticket_id: int | None = None,
    message_id: int | None = None,
    client_key: str,
    by: Actor,
    now: datetime,
) -> int:
    """Change the issue of this number, or the ticket's. Returns the call. Raises NotFound."""
    return await _enqueue(
        tx,
        repository_id,
        "change",
        asdict(change),
        number=number,
        ticket_id=ticket_id,
        message_id=message_id,
        client_key=client_key,
        by=by,
        now=now,
    )


async def enqueue_erasure(
    tx: Transaction, repository_id: int, *, call_id: int, ticket_id: int, client_key: str, by: Actor, now: datetime
) -> int:
    """Take away the comment that this call has written, or will have. Returns the call. Raises NotFound."""
    content = {"erases": call_id}
    return await _enqueue(
        tx, repository_id, "change", content, ticket_id=ticket_id, client_key=client_key, by=by, now=now
    )


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


async def rewrite_untried(tx: Transaction, ticket_id: int, *, title: str, bodies: Sequence[str]) -> bool:
    """Let the issue that waits to be opened, and the comments that continue it, say this instead. False where an
    attempt may have opened it already."""
    found = await tx.rows(_REWRITE, ticket=ticket_id, title=title, body=bodies[0])
    for call_id, _ in found:
        for n, comment_id in enumerate(await tx.values(_CONTINUED, call=call_id), 1):
            body = bodies[n] if n < len(bodies) else "\u2026"
            await tx.run(
                "update tracker_call set content = content || jsonb_build_object('body', %(body)s::text) "
                "where id = %(id)s and state = 'queued'",
                body=body,
                id=comment_id,
            )
    return bool(found) and all(attempts == 0 for _, attempts in found)


async def _enqueue(
    tx: Transaction,
    repository_id: int,
    kind: Wish,
    content: dict[str, Any],
    *,
    number: int | None = None,
    ticket_id: int | None = None,
    message_id: int | None = None,
    client_key: str,
    by: Actor,
    now: datetime,
) -> int:
    repository = await access_repository(tx, repository_id)
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
        now=now,
    )
    if call_id is None:
        return int(await tx.value("select id from tracker_call where client_key = %(key)s", key=client_key))
    tx.publish_after_commit(TRACKER_CALL_WAITING, repository.connection_id)
    return int(call_id)


# ------------------------------------------------------------------------------------------------ for the worker


async def due(tx: Transaction, *, now: datetime) -> list[int]:
    """The connections that have something to write now."""
    return await tx.values(_DUE, now=now)


async def take(tx: Transaction, connection_id: int, *, process_id: int, now: datetime) -> TrackerCall | None:
    """The next call of this connection, ours for the length of a lease; None when there is none, or another works.

    One call at a time goes out for a connection, in order for each ticket and issue.
    """
    await tx.run("select pg_advisory_xact_lock(%(lock)s, %(id)s::int)", lock=LOCK, id=connection_id % 2**31)
    if await tx.value(_HELD, connection=connection_id, me=process_id, now=now):
        return None
    return await tx.object(TrackerCall, _TAKE, connection=connection_id, me=process_id, until=now + LEASE, now=now)


async def target(tx: Transaction, call: TrackerCall) -> int:
    """The number of the issue that the call is about, kept with the call. Raises IssueNotOpen."""
    number = call.number
    if number is None and "after" in call.content:
        number = await tx.value(
            "select i.number from tracker_call c join issue i on i.workspace_id = c.workspace_id and i.id = c.issue_id "
            "where c.id = %(id)s",
            id=call.content["after"],
        )
    if number is None and call.ticket_id is not None:
        number = await tx.value(_NUMBER, ticket=call.ticket_id, repository=call.repository_id)
    if number is None:
        raise IssueNotOpen
    await tx.run("update tracker_call set number = %(number)s where id = %(id)s", number=number, id=call.id)
    return int(number)


async def settle_opened(tx: Transaction, call: TrackerCall, opened: OpenedIssue, *, now: datetime) -> bool:
    """The issue is open. False when somebody else has settled this meanwhile."""
    issue = opened.issue
    issue_id = await issues.note(tx, call.repository_id, issue, actor=issue.author, call_id=call.id, now=now)
    if not await _settle(tx, call, "done", issue_id=issue_id, number=issue.number, now=now):
        return False
    fact = IssueOpened(
        actor=call.actor,
        at=now,
        repository_id=call.repository_id,
        issue_id=issue_id,
        number=issue.number,
        url=issue.url,
        call_id=call.id,
        ticket_id=call.ticket_id,
        dropped_labels=opened.dropped_labels,
        dropped_assignees=opened.dropped_assignees,
    )
    await event_log.append(tx, fact)
    return True


async def settle_commented(
    tx: Transaction, call: TrackerCall, issue_id: int, comment: IssueComment, *, now: datetime
) -> bool:
    """The comment is written. False when somebody else has settled this meanwhile."""
    await issues.note_comment(tx, issue_id, comment, call_id=call.id, now=now)
    comment_id = await issues.comment_known(tx, issue_id, comment.external_id)
    return await _settle(tx, call, "done", issue_id=issue_id, comment_id=comment_id, now=now)


async def settle_changed(tx: Transaction, call: TrackerCall, changed: OpenedIssue, *, now: datetime) -> bool:
    """The issue is as it was asked for. False when somebody else has settled this meanwhile."""
    issue = changed.issue
    issue_id = await issues.note(tx, call.repository_id, issue, call_id=call.id, now=now)
    dropped = ", ".join((*changed.dropped_labels, *changed.dropped_assignees))
    problem = f"The tracker left out: {dropped}." if dropped else None
    return await _settle(tx, call, "done", issue_id=issue_id, number=issue.number, problem=problem, now=now)


async def erasable(tx: Transaction, call_id: int) -> tuple[int, int, str] | None:
    """Row and number of the issue, and the tracker's id, of the comment that a call wrote; None where there is none."""
    found = await tx.rows(
        "select i.id, i.number, m.external_id from tracker_call c "
        "join issue_comment m on m.workspace_id = c.workspace_id and m.id = c.comment_id "
        "join issue i on i.workspace_id = m.workspace_id and i.id = m.issue_id where c.id = %(id)s",
        id=call_id,
    )
    return found[0] if found else None


async def settle_erased(
    tx: Transaction, call: TrackerCall, place: tuple[int, int, str] | None, *, now: datetime
) -> bool:
    """The comment is gone. False when somebody else has settled this meanwhile."""
    if place is not None:
        issue_id, _, external_id = place
        await issues.note_comment_removed(tx, issue_id, external_id, now=now)
    return await _settle(tx, call, "done", now=now)


async def settle_refused(tx: Transaction, call: TrackerCall, reason: str, sentence: str, *, now: datetime) -> bool:
    """It will not be done. False when somebody else has settled this meanwhile."""
    if not await _settle(tx, call, "refused", problem=sentence[:500], now=now):
        return False
    fact = IssueRefused(
        actor=call.actor,
        at=now,
        repository_id=call.repository_id,
        call_id=call.id,
        wish=call.kind,
        reason=reason,
        sentence=sentence,
        ticket_id=call.ticket_id,
        number=call.number,
    )
    await event_log.append(tx, fact)
    return True


async def put_off(
    tx: Transaction, call: TrackerCall, *, until: datetime, problem: str, sent: bool, now: datetime
) -> None:
    """Try again then. `sent`: this attempt may have been carried out; otherwise it does not count as one."""
    await tx.run(_PUT_OFF, id=call.id, at=until, problem=problem[:500], sent=sent, again=call.again, now=now)


async def moved(tx: Transaction, call: TrackerCall, name: str, *, now: datetime) -> None:
    """The repository is called like this now: the call is tried again at once."""
    await rename(tx, call.repository_id, name, now=now)
    await put_off(tx, call, until=now, problem="", sent=False, now=now)


async def _settle(
    tx: Transaction,
    call: TrackerCall,
    state: Literal["done", "refused"],
    *,
    issue_id: int | None = None,
    comment_id: int | None = None,
    number: int | None = None,
    problem: str | None = None,
    now: datetime,
) -> bool:
    settled = await tx.value(
        _SETTLE,
        id=call.id,
        state=state,
        issue=issue_id,
        comment=comment_id,
        number=number,
        problem=problem,
        now=now,
    )
    return settled is not None
