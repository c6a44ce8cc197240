"""Forgetting the messages of conversations that were over long ago, with everything that hangs on them.

The conversation stays, with its facts, ratings and labels; it says how many of its messages are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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

_FILES = """
select f.sha256 from attachment a, lateral (values (a.sha256), (a.playback_sha256)) as f(sha256)
where a.message_id = any(%(ids)s::bigint[]) and f.sha256 is not null
union select sha256 from draft_file
where conversation_id = any(%(conversations)s::bigint[]) and created_at < %(before)s"""

_NOTE = """
insert into forgotten (workspace_id, conversation_id, messages, at)
select %(workspace)s, id, count(*), %(now)s from unnest(%(conversations)s::bigint[]) as t(id) group by id order by id
on conflict (workspace_id, conversation_id) do update
set messages = forgotten.messages + excluded.messages, at = excluded.at"""

_UNUSED = """
select f.sha256 from unnest(%(files)s::text[]) as f(sha256)
where not exists (select from attachment where sha256 = f.sha256)
  and not exists (select from attachment where playback_sha256 = f.sha256)
  and not exists (select from draft_file where sha256 = f.sha256)"""

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

Position = tuple[datetime, int]  # when a conversation was over, and which: all up to it are done


@frozen_dataclass
class ForgottenMessages:
    """What one step has deleted. `files` are no longer named by these messages; `to` is how far it has come."""

    messages: int
    conversations: tuple[int, ...]
    new_conversations: int  # those of which this run had deleted nothing before
    files: tuple[str, ...]
    to: Position
    more: bool


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
    ids, written_in = [id_ for id_, _ in found], [conversation_id for _, conversation_id in found]
    touched = list(dict.fromkeys(written_in))
    files = await tx.values(_FILES, ids=ids, conversations=touched, before=before)
    await tx.run("delete from message where id = any(%(ids)s::bigint[])", ids=ids)
    for table, since in (("draft", "saved_at"), ("draft_file", "created_at")):
        await tx.run(
            f"delete from {table} where conversation_id = any(%(ids)s::bigint[]) and {since} < %(before)s",
            ids=touched,
            before=before,
        )
    known = await tx.values(
        "select conversation_id from forgotten where conversation_id = any(%(ids)s::bigint[]) and at >= %(began)s",
        ids=touched,
        began=run_began,
    )
    await tx.run(_NOTE, workspace=tx.workspace_id, conversations=written_in, now=now)
    unfinished = written_in[-1] if len(found) == AT_ONCE else None
    to = after
    for id_, over in due:
        if id_ not in ours or id_ == unfinished:
            break
        to = (over, id_)
    new = len(touched) - len(known)
    return ForgottenMessages(len(ids), tuple(touched), new, tuple(files), to, bool(ids) or to != after)


async def unused_files(tx: Transaction, files: Sequence[str]) -> list[str]:
    """Those of these files that no message and no draft names any more."""
    return await tx.values(_UNUSED, files=list(files))


async def count_messages(tx: Transaction, *, before: datetime, after: Position, most: int) -> tuple[int, int]:
    """How many messages of how many conversations would go; `most` stands for that many or more."""
    messages, conversations = await tx.row(_COUNT, before=before, at=after[0], id=after[1], most=most) or (0, 0)
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
