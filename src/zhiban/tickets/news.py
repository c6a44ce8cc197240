"""What a tracker tells us, taken into the local index: repositories, issues, comments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.ports import IssueComment, TrackerNews
from zhiban.tickets import group_news, issues, repositories

# Whoever copies a text of ours with what is hidden in it has not written ours: that is known by its own id.
_CALL_OF = """
select c.id from tracker_call c left join issue_comment m on m.workspace_id = c.workspace_id and m.id = c.comment_id
where c.key = %(key)s and c.kind = case when %(comment)s::text is null then 'open' else 'comment' end
and (m.id is null or %(comment)s::text is null or m.external_id = %(comment)s)"""
# A change carries no key. What arrives while one of ours is under way at this issue, and says what that one asked for,
# is ours: who else did the same at that moment has brought about what we wanted, too.
_CHANGING = """
select id from tracker_call where repository_id = %(repository)s and kind = 'change' and state = 'queued'
and leased_by is not null and number = %(number)s and case %(action)s
  when 'closed' then content ->> 'state' = 'closed'
  when 'reopened' then content ->> 'state' = 'open'
  when 'edited' then content ->> 'title' = %(title)s or content ->> 'body' is not null
  when 'labeled' then jsonb_array_length(content -> 'add_labels') > 0
  when 'unlabeled' then jsonb_array_length(content -> 'remove_labels') > 0
  when 'assigned' then jsonb_array_length(content -> 'add_assignees') > 0
  else false end order by id limit 1"""


async def take_in(tx: Transaction, connection_id: int, news: Sequence[TrackerNews], *, now: datetime) -> None:
    """Know what the news say. Each fact is told once, however often and in whatever order the news come."""
    for one in news:
        await _take_in(tx, connection_id, one, now=now)


async def _take_in(tx: Transaction, connection_id: int, news: TrackerNews, *, now: datetime) -> None:
    by = Actor("tracker", ref=news.actor.login)
    if news.kind == "repository" and news.action in ("removed", "deleted"):
        await repositories.remove(tx, connection_id, news.repository.external_id, now=now)
        return
    repository_id = await repositories.keep(tx, connection_id, news.repository, by=by, now=now)
    if news.issue is None:
        await group_news.note_news(tx, repository_id, None, news, now=now)
        return
    if news.issue.confidential:
        await issues.note(tx, repository_id, news.issue, actor=news.actor, now=now)
        return
    if news.kind in ("issue", "change") and news.action in ("deleted", "transferred"):
        await issues.note_removed(tx, repository_id, news.issue.number, actor=news.actor, now=now)
        return
    # Our own echo may arrive before our call was answered: what it tells is then the call's to tell.
    if news.key:
        call_id = await call_of(tx, news.key, news.comment)
    elif news.kind == "comment":
        call_id = None
    else:
        call_id = await tx.value(
            _CHANGING,
            repository=repository_id,
            number=news.issue.number,
            action=news.action,
            title=news.issue.title,
        )
    did = news.action if news.comment is None else ""
    issue_id = await issues.note(tx, repository_id, news.issue, actor=news.actor, action=did, call_id=call_id, now=now)
    if issue_id is None:
        return
    if news.comment is None:
        await group_news.note_news(tx, repository_id, issue_id, news, now=now)
        return
    if news.action == "deleted":
        await issues.note_comment_removed(tx, issue_id, news.comment.external_id, now=now)
        return
    comment = news.comment
    if news.key and call_id is None:
        comment = _theirs(comment)
    # What was edited before we knew of it is no news.
    await issues.note_comment(tx, issue_id, comment, call_id=call_id, quietly=news.action == "edited", now=now)


async def recognised(tx: Transaction, comment: IssueComment) -> tuple[int | None, IssueComment]:
    """A comment that was found by looking, and the call of ours that wrote it, None where none did."""
    call_id = await call_of(tx, comment.key, comment) if comment.key else None
    return call_id, comment if call_id is not None or not comment.key else _theirs(comment)


def _theirs(comment: IssueComment) -> IssueComment:
    """What carries a mark of which we know nothing is a copy, made up, or another workspace's."""
    return replace(comment, author=replace(comment.author, ours=False))


async def opening(tx: Transaction, key: str) -> int | None:
    """The call that is opening the issue with this key at this moment, or does not know yet that it has."""
    found = await tx.value(
        "select id from tracker_call where key = %(key)s and kind = 'open' and state = 'queued'", key=key
    )
    return None if found is None else int(found)


async def call_of(tx: Transaction, key: str, comment: IssueComment | None = None) -> int | None:
    """The call of ours that wrote the text with this key; None where it is nobody's, or a copy."""
    found = await tx.value(_CALL_OF, key=key, comment=comment.external_id if comment is not None else None)
    return None if found is None else int(found)
