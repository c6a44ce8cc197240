"""Forgetting old messages, with everything that hangs on them.

Of conversations that were over long ago all of them go, in the order in which they were over (`forget_messages`); of
those that go on, what was said in cycles that are done, by its own age (`forget_earlier`). The conversation stays, with
its facts, ratings and labels; it says how many of its messages are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from zhiban.conversations.published_files import withdraw_forgotten
from zhiban.events import TIMER
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

AT_ONCE = 500  # messages in one transaction
CONVERSATIONS_AT_ONCE = 200

# Over: resolved, and nothing has happened since, as the messages of a blocked contact do.
_OVER = "greatest(c.resolved_at, c.last_activity_at)"

_DUE = f"""
select c.id, {_OVER} from conversation c
where c.status = 'resolved' and {_OVER} < %(before)s and ({_OVER}, c.id) > (%(at)s, %(id)s)
order by {_OVER}, c.id limit %(limit)s"""

# Whoever writes into one of them at this moment comes first: it is looked at again in the next run.
_LOCK = f"""
select c.id from conversation c
where c.id = any(%(ids)s::bigint[]) and c.status = 'resolved' and {_OVER} < %(before)s
order by c.id for update skip locked"""

_MESSAGES = """
select m.id, m.conversation_id from unnest(%(ids)s::bigint[]) with ordinality as d(id, n), lateral (
  select id, conversation_id from message
  where conversation_id = d.id and state not in ('pending', 'queued') and sent_at < %(before)s
  order by id limit %(limit)s) m
order by d.n, m.id limit %(limit)s"""

_NEXT = """
select m.id, m.conversation_id, m.sent_at < %(before)s, m.state in ('pending', 'queued') from message m
where m.id > %(after)s order by m.id limit %(limit)s"""

# All cycles are done, and the last one long ago; in a group nobody waits once no person is asked any more.
_WHOLLY = "c.status = 'resolved' and (c.kind = 'group' or coalesce(c.resolved_at, 'epoch') < %(before)s)"

# Up to which message, and which moment, the earlier cycles of a conversation went. Lines of the thread tell it, which
# go after what stands before them: the last cycle of a resolved conversation ends with the last line, and counts from
# there; what was taken back ended nothing.
_EARLIER = f"""
select c.id, case when {_WHOLLY} then 9223372036854775807 else coalesce(line.id, 0) end as to_id,
  case when {_WHOLLY} then %(before)s else least(%(before)s, coalesce(line.sent_at, 'epoch')) end as to_time
from conversation c left join lateral (
  select id, sent_at from (
    select id, sent_at, content ->> 'what' as what, lead(content ->> 'what') over (order by id) as after from message
    where conversation_id = c.id and kind = 'activity' and content ->> 'what' in ('resolved', 'resolution_undone')
      and not ({_WHOLLY})) l
  where what = 'resolved' and after is distinct from 'resolution_undone'
    and (c.status <> 'resolved' or after is not null)
  order by id desc limit 1) line on true
where"""

_LOCK_EARLIER = _EARLIER + " c.id = any(%(ids)s::bigint[]) order by c.id for update of c skip locked"

_FILES = """
select f.sha256 from attachment a, lateral (values (a.sha256), (a.playback_sha256)) as f(sha256)
where a.message_id = any(%(ids)s::bigint[]) and f.sha256 is not null"""

_DRAFTS = """
delete from {table} d using unnest(%(conversations)s::bigint[], %(until)s::timestamptz[]) as t(id, until)
where d.conversation_id = t.id and d.conversation_id = any(%(conversations)s::bigint[]) and d.{since} < t.until"""

_NOTE = """
insert into forgotten (workspace_id, conversation_id, messages, at)
select %(workspace)s, id, count(*), %(now)s from unnest(%(conversations)s::bigint[]) as t(id) group by id order by id
on conflict (workspace_id, conversation_id) do update
set messages = forgotten.messages + excluded.messages, at = excluded.at"""

_UNUSED = """
select f.sha256 from unnest(%(files)s::text[]) as f(sha256)
where not exists (select from attachment where sha256 = f.sha256)
  and not exists (select from attachment where playback_sha256 = f.sha256)
  and not exists (select from draft_file where sha256 = f.sha256)
  and not exists (select from action_file where sha256 = f.sha256)
  and not exists (select from published_file where sha256 = f.sha256)"""

_COUNT = f"""
with over_ones as (
  select c.id from conversation c
  where c.status = 'resolved' and {_OVER} < %(before)s and ({_OVER}, c.id) > (%(at)s, %(id)s)
  order by {_OVER}, c.id limit %(most)s),
counted as (
  select m.conversation_id from over_ones o, lateral (
    select conversation_id from message
    where conversation_id = o.id and state not in ('pending', 'queued') and sent_at < %(before)s) m
  limit %(most)s)
select count(*), count(distinct conversation_id) from counted"""

_COUNT_EARLIER = f"""
with old as (
  select id, conversation_id from (select * from message order by id limit %(most)s) m
  where sent_at < %(before)s and state not in ('pending', 'queued')),
done as ({_EARLIER} c.id in (select conversation_id from old) and not (c.status = 'resolved' and {_OVER} < %(before)s))
select count(*), count(distinct old.conversation_id) from old join done on done.id = old.conversation_id
where old.id < done.to_id"""

Position = tuple[datetime, int]  # when a conversation was over, and which: all up to it are done


@frozen_dataclass
class ForgottenMessages:
    """What one step has deleted. `files` are no longer named by these messages.

    `until` names the conversations, each with the moment up to which what repeats its messages may go, too. `to`, or
    `looked_to`, is how far the step has come.
    """

    messages: int
    until: Mapping[int, datetime]
    new_conversations: int  # those of which this run had deleted nothing before
    files: tuple[str, ...]
    more: bool
    to: Position | None = None
    looked_to: int | None = None


async def forget_messages(
    tx: Transaction, *, before: datetime, after: Position, run_began: datetime, now: datetime
) -> ForgottenMessages:
    """Delete the next messages of conversations that were over before then, the longest over first.

    Attachments and what the search finds them by go with them; so does what agents had begun to write there by then.
    """
    due = await tx.rows(_DUE, before=before, at=after[0], id=after[1], limit=CONVERSATIONS_AT_ONCE)
    locked = await tx.values(_LOCK, ids=[id_ for id_, _ in due], before=before)
    ours = set(locked)
    found = await tx.rows(_MESSAGES, ids=[id_ for id_, _ in due if id_ in ours], before=before, limit=AT_ONCE)
    until = dict.fromkeys([conversation_id for _, conversation_id in found], before)
    files, new = await _delete(tx, found, until, run_began=run_began, now=now)
    unfinished = list(until)[-1] if len(found) == AT_ONCE else None
    to = after
    for id_, over in due:
        if id_ not in ours or id_ == unfinished:
            break
        to = (over, id_)
    return ForgottenMessages(len(found), until, new, files, bool(found) or to != after, to=to)


async def forget_earlier(
    tx: Transaction, *, before: datetime, after: int, run_began: datetime, now: datetime
) -> ForgottenMessages:
    """Delete, of the next messages behind `after`, those from before then of cycles that are done.

    Who keeps writing in one thread, and a group that is never still, would else be kept for ever. Nothing of a cycle
    that people or the assistant have in hand goes. What somebody writes into at this moment waits for the next run.
    """
    seen = await tx.rows(_NEXT, before=before, after=after, limit=AT_ONCE)
    old = [(id_, conversation_id, waits) for id_, conversation_id, is_old, waits in seen if is_old]
    if not old:
        return ForgottenMessages(0, {}, 0, (), more=False)
    rows = await tx.rows(_LOCK_EARLIER, ids=list({conversation_id for _, conversation_id, _ in old}), before=before)
    to_ids, to_times = {id_: to_id for id_, to_id, _ in rows}, {id_: time for id_, _, time in rows}
    found = [
        (id_, conversation_id)
        for id_, conversation_id, waits in old
        if not waits and id_ < to_ids.get(conversation_id, 0)
    ]
    until = {conversation_id: to_times[conversation_id] for _, conversation_id in found}
    files, new = await _delete(tx, found, until, run_began=run_began, now=now)
    return ForgottenMessages(len(found), until, new, files, more=True, looked_to=max(id_ for id_, *_ in seen))


async def _delete(
    tx: Transaction,
    found: Sequence[tuple[int, int]],
    until: Mapping[int, datetime],
    *,
    run_began: datetime,
    now: datetime,
) -> tuple[tuple[str, ...], int]:
    """Delete these messages, of these conversations. Returns their files, and how many conversations are new to it."""
    if not found:
        return (), 0
    ids, written_in = [id_ for id_, _ in found], [conversation_id for _, conversation_id in found]
    files = await tx.values(_FILES, ids=ids)
    await withdraw_forgotten(tx, ids, by=TIMER, now=now)
    await tx.run("delete from message where id = any(%(ids)s::bigint[])", ids=ids)
    mine = {"conversations": list(until), "until": list(until.values())}
    await tx.run(_DRAFTS.format(table="draft", since="saved_at"), **mine)
    await tx.run(_DRAFTS.format(table="transcript_mail", since="created_at"), **mine)
    files += await tx.values(_DRAFTS.format(table="draft_file", since="created_at") + " returning d.sha256", **mine)
    known = await tx.values(
        "select conversation_id from forgotten where conversation_id = any(%(ids)s::bigint[]) and at >= %(began)s",
        ids=list(until),
        began=run_began,
    )
    await tx.run(_NOTE, workspace=tx.workspace_id, conversations=written_in, now=now)
    return tuple(dict.fromkeys(files)), len(until) - len(known)


async def unused_files(tx: Transaction, files: Sequence[str]) -> list[str]:
    """Those of these files that no message, no draft, no action and no address names any more."""
    return await tx.values(_UNUSED, files=list(files))


async def count_messages(tx: Transaction, *, before: datetime, after: Position, most: int) -> tuple[int, int]:
    """How many messages of how many conversations would go; `most` stands for that many or more."""
    over = await tx.row(_COUNT, before=before, at=after[0], id=after[1], most=most) or (0, 0)
    earlier = await tx.row(_COUNT_EARLIER, before=before, most=most) or (0, 0)
    messages, conversations = (min(one + other, most) for one, other in zip(over, earlier, strict=True))
    return messages, conversations


@frozen_dataclass
class Forgotten:
    """That messages of a conversation are gone, and when the last of them went."""

    messages: int
    at: datetime


async def forgotten_in(tx: Transaction, conversation_id: int) -> Forgotten | None:
    return await tx.object(
        Forgotten, "select messages, at from forgotten where conversation_id = %(id)s", id=conversation_id
    )
