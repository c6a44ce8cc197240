"""How calls to trackers are taken and settled: one at a time for a connection, in order for each ticket and issue.

`tracker_outbox` stores them; `workers/tracker_worker.py` carries them out.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, assert_never

from zhiban.events import Actor, ActorKind, IssueOpened, IssueRefused, IssueWritten
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.pubsub import LIVING
from zhiban.ports import CommentDraft, IssueChange, IssueComment, IssueDraft, OpenedIssue
from zhiban.tickets import issues
from zhiban.tickets.logins import same_account
from zhiban.tickets.repositories import rename
from zhiban.tickets.tracker_writes import (
    Erasure,
    NewComment,
    NewIssue,
    NewReaction,
    TrackerWrite,
    WriteKind,
    read_write,
)

LEASE = timedelta(seconds=120)  # longer than any attempt takes
LOCK = 0x5A54  # class of the advisory locks under which calls of a connection are taken

# Whoever is not alive holds nothing; one of our own leases was left by a task of ours that ended.
_HELD = f"""
select 1 from tracker_call where connection_id = %(connection)s and state = 'queued' and leased_by is not null
and leased_by <> %(me)s and lease_expires_at > %(now)s and leased_by in ({LIVING}) limit 1"""

_TAKE = """
update tracker_call set leased_by = %(me)s, lease_expires_at = %(until)s, attempts = attempts + 1,
  tried_at = coalesce(tried_at, %(now)s), begun_at = coalesce(begun_at, %(now)s)
where id = (
  select c.id from tracker_call c
  where c.connection_id = %(connection)s and c.state = 'queued' and (c.retry_at is null or c.retry_at <= %(now)s)
    and not exists (
      select 1 from tracker_call e where e.connection_id = c.connection_id and e.state = 'queued' and e.id < c.id
        and (e.ticket_id = c.ticket_id or (e.repository_id = c.repository_id and e.number = c.number)
          or e.id = (c.content ->> 'after')::bigint or e.content ->> 'after' = c.content ->> 'after'))
  order by c.id limit 1) and state = 'queued'
returning id, repository_id, kind, key, ticket_id, number, message_id, content, actor_kind, actor_id, actor_ref,
  login_id, attempts, attempts > 1 as again, tried_at, begun_at"""

# The issue that we opened for the ticket, or the one that the ticket was put to.
_NUMBER = """
select i.number from (
  select c.issue_id, c.id from tracker_call c
  where c.ticket_id = %(ticket)s and c.kind = 'open' and c.state = 'done' and c.repository_id = %(repository)s
  union all select t.issue_id, 0 from ticket t where t.id = %(ticket)s) as known (issue_id, call_id)
join issue i on i.id = known.issue_id and i.repository_id = %(repository)s order by known.call_id desc limit 1"""

_SETTLE = """
update tracker_call set state = %(state)s, issue_id = %(issue)s, comment_id = %(comment)s, problem = %(problem)s,
  number = coalesce(number, %(number)s), content = content - 'title' - 'body' - 'via',
  settled_at = %(now)s, leased_by = null, lease_expires_at = null, retry_at = null
where id = %(id)s and state = 'queued' returning id"""

_PUT_OFF = """
update tracker_call set retry_at = %(at)s, problem = %(problem)s, leased_by = null, lease_expires_at = null,
  attempts = attempts - case when %(sent)s then 0 else 1 end,
  tried_at = case when %(sent)s or %(again)s then tried_at end
where id = %(id)s and state = 'queued'"""

_DUE = """from tracker_call where state = 'queued' and (retry_at is null or retry_at <= %(now)s)"""
ANY_DUE = f"exists (select {_DUE})"  # whether `due` finds any


@frozen_dataclass
class TrackerCall:
    """A call that this process has taken. `again`: an attempt before it may have been carried out.

    `begun_at`: since when it has been tried; what waited before that, for whatever reason, does not count.
    """

    id: int
    repository_id: int
    kind: WriteKind
    key: str
    ticket_id: int | None
    number: int | None
    message_id: int | None
    content: dict[str, Any]
    actor_kind: ActorKind
    actor_id: int | None
    actor_ref: str | None
    login_id: int | None
    attempts: int
    again: bool
    tried_at: datetime
    begun_at: datetime

    @property
    def actor(self) -> Actor:
        """Who asked for it."""
        return Actor(self.actor_kind, self.actor_id, self.actor_ref)

    @property
    def write(self) -> TrackerWrite:
        """What it asks for."""
        return read_write(self.kind, self.content)

    def issue_draft(self, repository: str, issue: NewIssue) -> IssueDraft:
        return IssueDraft(self.key, repository, issue.title, issue.body, issue.labels, issue.assignees, self._tried)

    def comment_draft(self, repository: str, number: int, comment: NewComment) -> CommentDraft:
        """Under the member's own account nobody has to say who says so."""
        body = comment.body if self.login_id is not None or not comment.via else f"{comment.body}\n\n{comment.via}"
        return CommentDraft(self.key, repository, number, body, self._tried)

    @property
    def _tried(self) -> datetime | None:
        return self.tried_at if self.again else None


class IssueNotOpen(Conflict):
    """There is no issue to write to: the ticket's was never opened."""

    def __init__(self) -> None:
        super().__init__("There is no issue to write to.")


async def due(tx: Transaction, *, now: datetime) -> list[int]:
    """The connections that have something to write now."""
    return await tx.values(f"select distinct connection_id {_DUE}", now=now)


async def take(tx: Transaction, connection_id: int, *, process_id: int, now: datetime) -> TrackerCall | None:
    """The next call of this connection, ours for the length of a lease; None when there is none, or another works.

    One call at a time goes out for a connection, in order for each ticket and issue.
    """
    await tx.run("select pg_advisory_xact_lock(%(lock)s, %(id)s::int)", lock=LOCK, id=connection_id % 2**31)
    if await tx.value(_HELD, connection=connection_id, me=process_id, now=now):
        return None
    call = await tx.object(TrackerCall, _TAKE, connection=connection_id, me=process_id, until=now + LEASE, now=now)
    if call is None or call.login_id is None:
        return call
    return replace(call, login_id=await _account(tx, call, call.login_id))


async def _account(tx: Transaction, call: TrackerCall, login_id: int) -> int | None:
    """Under which account the call goes out. What is taken away was perhaps written under ours in the end; and whoever
    bound the same account again is who they were."""
    write = call.write
    if isinstance(write, Erasure):
        login_id = await tx.value("select login_id from tracker_call where id = %(id)s", id=write.call_id)
    return None if login_id is None else await same_account(tx, login_id)


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
    if not await _settle(tx, call, "done", issue_id=issue_id, number=issue.number, now=now) or issue_id is None:
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
    if not await _settle(tx, call, "done", issue_id=issue_id, comment_id=comment_id, now=now):
        return False
    await _tell_written(tx, call, issue_id, url=comment.url, now=now)
    return True


async def settle_changed(tx: Transaction, call: TrackerCall, changed: OpenedIssue, *, now: datetime) -> bool:
    """The issue is as it was asked for. False when somebody else has settled this meanwhile."""
    issue = changed.issue
    known = await issues.issue_numbered(tx, call.repository_id, issue.number)
    issue_id: int | None
    if known is not None and known.removed_at is not None:  # an answer to us does not bring it back
        issue_id = known.id
    else:
        issue_id = await issues.note(tx, call.repository_id, issue, call_id=call.id, now=now)
    dropped = (*changed.dropped_labels, *changed.dropped_assignees)
    problem = f"The tracker left out: {', '.join(dropped)}." if dropped else None
    if not await _settle(tx, call, "done", issue_id=issue_id, number=issue.number, problem=problem, now=now):
        return False
    if issue_id is not None:
        await _tell_written(tx, call, issue_id, url=issue.url, dropped=dropped, now=now)
    return True


async def settle_reacted(tx: Transaction, call: TrackerCall, issue_id: int, external_id: str, *, now: datetime) -> bool:
    """The reaction stands there under this id of the tracker's. False when somebody else has settled this meanwhile."""
    if not await _settle(tx, call, "done", issue_id=issue_id, now=now):
        return False
    await tx.run(
        "update tracker_call set content = content || jsonb_build_object('external', %(external)s::text) "
        "where id = %(id)s",
        external=external_id,
        id=call.id,
    )
    await _tell_written(tx, call, issue_id, now=now)
    return True


async def _tell_written(
    tx: Transaction, call: TrackerCall, issue_id: int, *, url: str = "", dropped: tuple[str, ...] = (), now: datetime
) -> None:
    fact = IssueWritten(
        actor=call.actor,
        at=now,
        repository_id=call.repository_id,
        issue_id=issue_id,
        call_id=call.id,
        wish=call.kind,
        url=url,
        dropped=dropped,
    )
    await event_log.append(tx, fact)


# A tracker keeps one reaction of a kind for an account: what another member asked for stands there as the same one.
_ERASABLE = """
select i.id as issue_id, i.number, coalesce(m.external_id, c.content ->> 'external') as external_id,
  c.kind = 'comment' as is_comment, coalesce(c.content ->> 'comment', '') as comment
from tracker_call c
left join issue_comment m on m.workspace_id = c.workspace_id and m.id = c.comment_id
left join member_login a on a.workspace_id = c.workspace_id and a.id = c.login_id
join issue i on i.workspace_id = c.workspace_id and i.id = c.issue_id
where c.id = %(id)s and (m.external_id is not null or c.content ? 'external') and not exists (
  select from tracker_call d
  join card_reply o on o.workspace_id = d.workspace_id and o.call_id = d.id and o.recalled_at is null
  left join member_login b on b.workspace_id = d.workspace_id and b.id = d.login_id
  where c.kind = 'react' and d.kind = 'react' and d.state = 'done' and d.id <> c.id and d.issue_id = c.issue_id
    and d.content ->> 'reaction' = c.content ->> 'reaction' and d.content ->> 'comment' = c.content ->> 'comment'
    and lower(b.login) is not distinct from lower(a.login))"""


@frozen_dataclass
class Erasable:
    """What a call wrote that can be taken away: a comment, or a reaction to the issue or to a comment of it."""

    issue_id: int
    number: int
    external_id: str
    is_comment: bool
    comment: str  # to which the reaction is; empty: to the issue


async def erasable(tx: Transaction, call_id: int) -> Erasable | None:
    """What this call wrote, None where there is nothing, or what others asked for as well."""
    return await tx.object(Erasable, _ERASABLE, id=call_id)


async def settle_erased(tx: Transaction, call: TrackerCall, place: Erasable | None, *, now: datetime) -> bool:
    """It is gone. False when somebody else has settled this meanwhile."""
    if place is not None and place.is_comment:
        await issues.note_comment_removed(tx, place.issue_id, place.external_id, now=now)
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


async def may_be_ours(tx: Transaction, call: TrackerCall) -> bool:
    """Whether what a member asked for under their account may be done under ours: their words, not their rights."""
    match call.write:
        case NewComment() | NewReaction():
            return True
        case Erasure(call_id=written):
            mine = "select kind = 'comment' or login_id is null from tracker_call where id = %(id)s"
            return bool(await tx.value(mine, id=written))
        case NewIssue() | IssueChange():
            return False
        case never:
            assert_never(never)


async def write_as_ours(tx: Transaction, call: TrackerCall, *, now: datetime) -> None:
    """The member's account cannot be used: the call is tried again at once under ours."""
    await tx.run("update tracker_call set login_id = null where id = %(id)s", id=call.id)
    await put_off(tx, call, until=now, problem="", sent=False, now=now)


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
