"""The local index of issues: what we know of them, whichever way we learnt it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from zhiban.events import Actor, Event, IssueChanged, IssueCommentChanged, IssueCommented
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean
from zhiban.ports import Issue, IssueComment, TrackerUser
from zhiban.tickets.issue_index import forget_issue, index_issue
from zhiban.tickets.naming import reference

BODY_CHARACTERS = 60_000

_COLUMNS = (
    "id, repository_id, number, url, title, body, state, reason, author, author_is_bot, labels, assignees, comments, "
    "locked, is_change, created_at, changed_at, removed_at"
)

_WRITE = """
insert into issue as i (workspace_id, repository_id, number, url, title, body, state, reason, author, author_is_bot,
  labels, assignees, comments, locked, is_change, created_at, changed_at)
values (%(workspace)s, %(repository)s, %(number)s, %(url)s, %(title)s, %(body)s, %(state)s, %(reason)s, %(author)s,
  %(bot)s, %(labels)s::text[], %(assignees)s::text[], %(comments)s, %(locked)s, %(is_change)s,
  %(created)s, %(changed)s)
on conflict (workspace_id, repository_id, number) do update set url = excluded.url, title = excluded.title,
  body = excluded.body, state = excluded.state, reason = excluded.reason, labels = excluded.labels,
  assignees = excluded.assignees, comments = excluded.comments, locked = excluded.locked,
  changed_at = excluded.changed_at, removed_at = null
returning id"""

_OURS = """
select exists (
  select from tracker_call where kind = 'open' and (issue_id = %(issue)s or (id = %(call)s and state = 'queued')))"""

_COMMENT = """
insert into issue_comment (workspace_id, issue_id, external_id, url, body, author, author_is_bot, ours, created_at,
  changed_at)
values (%(workspace)s, %(issue)s, %(external)s, %(url)s, %(body)s, %(author)s, %(bot)s, %(ours)s, %(created)s,
  %(changed)s)
on conflict (workspace_id, issue_id, external_id) do nothing returning id"""

_EDITED = """
update issue_comment set body = %(body)s, changed_at = %(changed)s where issue_id = %(issue)s
and external_id = %(external)s and changed_at <= %(changed)s and removed_at is null and body <> %(body)s returning id"""


@frozen_dataclass
class IssueRow:
    """An issue as we know it. `is_change`: a pull or merge request."""

    id: int
    repository_id: int
    number: int
    url: str
    title: str
    body: str
    state: Literal["open", "closed"]
    reason: str
    author: str
    author_is_bot: bool
    labels: list[str]
    assignees: list[str]
    comments: int
    locked: bool
    is_change: bool
    created_at: datetime
    changed_at: datetime
    removed_at: datetime | None


@frozen_dataclass
class CommentRow:
    """A comment as we know it. `ours`: our account wrote it."""

    id: int
    issue_id: int
    external_id: str
    url: str
    body: str
    author: str
    author_is_bot: bool
    ours: bool
    created_at: datetime
    removed_at: datetime | None


async def access_issue(tx: Transaction, issue_id: int) -> IssueRow:
    """Raises NotFound."""
    row = await tx.object(IssueRow, f"select {_COLUMNS} from issue where id = %(id)s", id=issue_id)
    if row is None:
        raise NotFound("There is no such issue.")
    return row


async def issue_numbered(tx: Transaction, repository_id: int, number: int, *, lock: bool = False) -> IssueRow | None:
    return await tx.object(
        IssueRow,
        f"select {_COLUMNS} from issue where repository_id = %(repository)s and number = %(number)s"
        f"{' for update' if lock else ''}",
        repository=repository_id,
        number=number,
    )


async def issue_called(tx: Transaction, repository_id: int, called: str) -> IssueRow | None:
    """By what people write: `#12`, `!12`, or `#I2YRAH` where an issue has no number."""
    written = called[1:]
    if called[0] == "#" and written.isdecimal():
        return await issue_numbered(tx, repository_id, int(written))
    found = await tx.objects(
        IssueRow,
        f"select {_COLUMNS} from issue where repository_id = %(repository)s and url ilike %(end)s",
        repository=repository_id,
        end=f"%/{written}",
    )
    return next((row for row in found if reference(row.number, row.url).upper() == called), None)


async def label_called(tx: Transaction, repository_id: int, name: str) -> str | None:
    """The label of this name that an issue of the repository has, as it is written there; capital letters do not
    count. None where we know of none."""
    found = await tx.value(
        "select label from issue i, unnest(i.labels) as label where i.repository_id = %(id)s and i.removed_at is null "
        "and lower(label) = lower(%(name)s) limit 1",
        id=repository_id,
        name=name,
    )
    return None if found is None else str(found)


async def access_comment(tx: Transaction, comment_id: int) -> CommentRow:
    """Raises NotFound."""
    row = await tx.object(
        CommentRow,
        "select id, issue_id, external_id, url, body, author, author_is_bot, ours, created_at, removed_at "
        "from issue_comment where id = %(id)s",
        id=comment_id,
    )
    if row is None:
        raise NotFound("There is no such comment.")
    return row


async def note(
    tx: Transaction,
    repository_id: int,
    issue: Issue,
    *,
    actor: TrackerUser | None = None,
    action: str = "",
    call_id: int | None = None,
    quietly: bool = False,
    now: datetime,
) -> int | None:
    """Know the issue as the tracker has it, and tell what is different. Returns its row.

    What is older than what we know changes nothing, so that what arrives late, twice or out of order tells nothing.
    `actor` did it, and the tracker calls it `action`. `quietly` is for issues of before our time. What is confidential
    is none of ours, None where it was unknown, and as if it had been taken away where it was known; of what we opened
    ourselves only its tickets hear.
    """
    before = await issue_numbered(tx, repository_id, issue.number, lock=True)
    if before is None:
        # Of two who hear of it at once, as when a hook tells of an issue while we are answered, one is the first.
        await tx.value(
            "select pg_advisory_xact_lock(hashtextextended('issue', %(repository)s) # %(number)s)",
            repository=repository_id,
            number=issue.number,
        )
        before = await issue_numbered(tx, repository_id, issue.number, lock=True)
    if before is not None and issue.updated_at < before.changed_at:
        return before.id
    if issue.confidential and not await tx.value(_OURS, issue=before.id if before else 0, call=call_id):
        if before is not None:
            await note_removed(tx, repository_id, issue.number, actor=actor, now=now)
        return before.id if before is not None else None
    if issue.confidential and before is not None:
        # Ours: what others have made of it stays there.
        kept, people = tuple(before.labels), tuple(before.assignees)
        issue = replace(issue, title=before.title, body=before.body, labels=kept, assignees=people)
    issue_id = int(await tx.value(_WRITE, **_values(tx, repository_id, issue)))
    # What is not for groups is not found there as much like something else.
    if issue.confidential or issue.is_change:
        await forget_issue(tx, issue_id)
    else:
        await index_issue(tx, repository_id, issue_id, clean(issue.title), clean(issue.body)[:BODY_CHARACTERS])
    if quietly:
        return issue_id
    facts: list[Event] = [
        IssueChanged(
            actor=Actor("tracker", ref=actor.login if actor else None),
            at=now,
            repository_id=repository_id,
            issue_id=issue_id,
            number=issue.number,
            change=change,
            state=issue.state,
            reason=issue.reason,
            login=actor.login if actor else "",
            call_id=call_id,
            confidential=issue.confidential,
        )
        for change in _changes(before, issue, action)
    ]
    await event_log.append(tx, *facts)
    return issue_id


ChangeOfIssue = Literal[
    "opened", "closed", "reopened", "edited", "labels", "assignees", "locked", "unlocked", "removed"
]


def _changes(before: IssueRow | None, issue: Issue, action: str) -> list[ChangeOfIssue]:
    if before is None and action == "reopened":
        return ["reopened"]
    if before is None or before.removed_at is not None:
        return ["opened", *(("closed",) if issue.state == "closed" else ())]
    found: list[ChangeOfIssue] = []
    if before.state != issue.state:
        found.append("closed" if issue.state == "closed" else "reopened")
    if (before.title, before.body) != (clean(issue.title), clean(issue.body)[:BODY_CHARACTERS]):
        found.append("edited")
    if set(before.labels) != set(issue.labels):
        found.append("labels")
    if set(before.assignees) != set(issue.assignees):
        found.append("assignees")
    if before.locked != issue.locked:
        found.append("locked" if issue.locked else "unlocked")
    return found


def _values(tx: Transaction, repository_id: int, issue: Issue) -> dict[str, Any]:
    title, body = clean(issue.title), clean(issue.body)[:BODY_CHARACTERS]
    return {
        "workspace": tx.workspace_id,
        "repository": repository_id,
        "number": issue.number,
        "url": issue.url,
        "title": title,
        "body": body,
        "state": issue.state,
        "reason": issue.reason,
        "author": issue.author.login,
        "bot": issue.author.bot,
        "labels": list(issue.labels),
        "assignees": list(issue.assignees),
        "comments": issue.comments,
        "locked": issue.locked,
        "is_change": issue.is_change,
        "created": issue.created_at,
        "changed": issue.updated_at,
    }


async def note_removed(
    tx: Transaction, repository_id: int, number: int, *, actor: TrackerUser | None = None, now: datetime
) -> None:
    """The issue is gone at the tracker: deleted, or moved to another repository."""
    row = await tx.object(
        IssueRow,
        "update issue set removed_at = %(now)s where repository_id = %(repository)s and number = %(number)s "
        f"and removed_at is null returning {_COLUMNS}",
        now=now,
        repository=repository_id,
        number=number,
    )
    if row is None:
        return
    await forget_issue(tx, row.id)
    removed = IssueChanged(
        actor=Actor("tracker", ref=actor.login if actor else None),
        at=now,
        repository_id=repository_id,
        issue_id=row.id,
        number=number,
        change="removed",
        state=row.state,
        login=actor.login if actor else "",
    )
    await event_log.append(tx, removed)


async def note_comment(
    tx: Transaction,
    issue_id: int,
    comment: IssueComment,
    *,
    call_id: int | None = None,
    quietly: bool = False,
    now: datetime,
) -> int | None:
    """Know the comment, and tell that there is one. Returns its row when it is new, None for one that is known.

    `quietly` is for comments of before our time.
    """
    body = clean(comment.body)[:BODY_CHARACTERS]
    comment_id = await tx.value(
        _COMMENT,
        workspace=tx.workspace_id,
        issue=issue_id,
        external=comment.external_id,
        url=comment.url,
        body=body,
        author=comment.author.login,
        bot=comment.author.bot,
        ours=comment.author.ours,
        created=comment.created_at,
        changed=comment.updated_at,
    )
    if comment_id is None:
        edited = await tx.value(
            _EDITED, body=body, changed=comment.updated_at, issue=issue_id, external=comment.external_id
        )
        if edited is not None:
            await _tell_comment(tx, issue_id, int(edited), "edited", now=now)
        return None
    if quietly:
        return int(comment_id)
    row = await access_issue(tx, issue_id)
    commented = IssueCommented(
        actor=Actor("tracker", ref=comment.author.login),
        at=now,
        repository_id=row.repository_id,
        issue_id=issue_id,
        number=row.number,
        comment_id=int(comment_id),
        login=comment.author.login,
        bot=comment.author.bot,
        ours=comment.author.ours,
        call_id=call_id,
    )
    await event_log.append(tx, commented)
    return int(comment_id)


async def comment_known(tx: Transaction, issue_id: int, external_id: str) -> int | None:
    """The row of a comment."""
    found = await tx.value(
        "select id from issue_comment where issue_id = %(issue)s and external_id = %(external)s",
        issue=issue_id,
        external=external_id,
    )
    return None if found is None else int(found)


async def note_comment_removed(tx: Transaction, issue_id: int, external_id: str, *, now: datetime) -> None:
    """The comment is gone at the tracker."""
    comment_id = await tx.value(
        "update issue_comment set removed_at = %(now)s, body = '' where issue_id = %(issue)s "
        "and external_id = %(external)s and removed_at is null returning id",
        now=now,
        issue=issue_id,
        external=external_id,
    )
    if comment_id is not None:
        await _tell_comment(tx, issue_id, int(comment_id), "removed", now=now)


async def _tell_comment(
    tx: Transaction, issue_id: int, comment_id: int, change: Literal["edited", "removed"], *, now: datetime
) -> None:
    repository_id = (await access_issue(tx, issue_id)).repository_id
    changed = IssueCommentChanged(
        actor=Actor("tracker"),
        at=now,
        repository_id=repository_id,
        issue_id=issue_id,
        comment_id=comment_id,
        change=change,
    )
    await event_log.append(tx, changed)
