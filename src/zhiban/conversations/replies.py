"""The verbs of an agent in a thread: replies, notes, and how far they have read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from zhiban.conversations import queries, transitions
from zhiban.conversations.changes import Open, RequeueReply
from zhiban.conversations.draft_files import DraftFile, take_draft_files
from zhiban.conversations.followers import add_followers
from zhiban.conversations.mentions import mentioned_in
from zhiban.conversations.models import Author, ConversationState
from zhiban.conversations.outbox import (
    ReplyCollision,
    ReplyTooLong,
    ReplyWindowClosed,
    allowance_of,
    check_group_open,
    enqueue,
    key_for,
)
from zhiban.conversations.participants import named_in
from zhiban.conversations.quotes import quotation
from zhiban.conversations.sending import UNCONFIRMED
from zhiban.events import DIRECT, Actor, Cause, NoteAdded
from zhiban.kit import event_log, rich_text
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.json_safe import json_safe
from zhiban.ports import Limits, Mention


async def reply(
    tx: Transaction,
    conversation_id: int,
    *,
    text: str,
    by: int,
    limits: Limits,
    now: datetime,
    client_key: str | None = None,
    seen: int | None = None,
    files: Sequence[int] = (),
    attached: Sequence[DraftFile] = (),
    reply_to: int | None = None,
    formatted: bool = False,
    cause: Cause = DIRECT,
) -> list[int]:
    """An agent answers: the conversation becomes theirs to finish, and the assistant keeps quiet.

    `files`: those that wait beside their reply, by id, in this order; each is a message after the text, as are those
    of `attached`, which somebody else keeps. `reply_to`: the message that they answer. `formatted`: the text has marks
    that the agent meant (`kit.rich_text`), which the channel shows where it can; its words alone are what is said,
    counted and found, and where they need more than one message the marks are left out. In a group, @ and a name tells
    its member. The same `client_key` sends once. `seen`: the last message that the agent has read; where somebody else
    answered after it, nothing is sent. Returns the ids of the parts. Raises ReplyCollision, ReplyWindowClosed,
    ReplyTooLong, Conflict on empty text without files or when a file or the message is gone, NotFound.
    """
    if not text.strip() and not files and not attached:
        raise Conflict("There is nothing to send.")
    state = await transitions.lock(tx, conversation_id)
    if client_key is not None and await tx.value(
        "select 1 from message where conversation_id = %(id)s and client_key = %(key)s", id=state.id, key=client_key
    ):
        return []
    # Whoever writes holds the conversation's lock, so a later message has a higher id.
    if seen is not None and (other := await _answered(tx, state, seen, by=by)) is not None:
        raise ReplyCollision(Author(other.author), other.name)
    mentions: Sequence[Mention] = ()
    if state.is_group:
        mentions, text = await named_in(tx, state.id, text)
    source = text
    if formatted:
        text = rich_text.plain(source)
    taken_files = (*await take_draft_files(tx, state.id, Actor("agent", by), files), *attached)
    answers = None if reply_to is None else await quotation(tx, state.id, reply_to, limits=limits, words=text)
    if answers is not None:
        text = answers.above + text
    _check_allowance(state, text, limits, now=now, files=len(taken_files))
    rich = formatted and len(limits.parts(text)) == 1 and limits.size(source) <= limits.text
    actor = Actor("agent", by)
    taken = Open("replied", take_by=by if state.assignee_id is None else None)
    applied = await transitions.apply_to(tx, state, taken, actor=actor, now=now, cause=cause)
    count = await tx.value("select count(*) from message where conversation_id = %(id)s", id=state.id)
    queued = await enqueue(
        tx,
        applied.state,
        author=Author.AGENT,
        actor=actor,
        text=text,
        key=key_for("reply", tx.workspace_id, state.id, client_key or f"{count}:{now.isoformat()}"),
        limits=limits,
        now=now,
        files=taken_files,
        content={"rich": source} if rich else None,
        answers=answers,
        mentions=mentions,
        client_key=client_key,
        cause=cause,
    )
    return [message.id for message in queued.messages]


async def _answered(tx: Transaction, state: ConversationState, seen: int, *, by: int) -> queries.Answerer | None:
    """Who answered meanwhile. In a group the assistant answers others, which takes nobody's words away."""
    other = await queries.answered_since(tx, state.id, seen, by=by)
    return None if other is not None and state.is_group and other.author == Author.ASSISTANT else other


def _check_allowance(state: ConversationState, text: str, limits: Limits, *, now: datetime, files: int = 0) -> None:
    may = allowance_of(state, limits.reply_window)
    if reason := may.closed(now):
        raise ReplyWindowClosed(reason)
    needed = files + (len(limits.parts(text)) if text.strip() else 0)
    if may.left is not None and needed > may.left:
        raise ReplyTooLong(needed, may.left)


async def send_again(tx: Transaction, message_id: int, *, limits: Limits, by: Actor, now: datetime) -> None:
    """Queue a message once more that failed, or of which nobody knows whether it arrived, under a new key.

    Raises NotFound, Conflict, ReplyWindowClosed, GroupClosed.
    """
    conversation_id = await tx.value(
        "select conversation_id from message where id = %(id)s and direction = 'out'", id=message_id
    )
    if conversation_id is None:
        raise NotFound("There is no such message.")
    state = await transitions.lock(tx, conversation_id)
    if reason := allowance_of(state, limits.reply_window).closed(now):
        raise ReplyWindowClosed(reason)
    if state.is_group:
        await check_group_open(tx, state, limits)
    attempts = await tx.value(
        "update message set state = 'queued', failure = null, failure_code = null, tried_at = null "
        "where id = %(id)s and (state = 'failed' or (state = 'sent' and failure = %(unconfirmed)s)) returning attempts",
        id=message_id,
        unconfirmed=UNCONFIRMED,
    )
    if attempts is None:
        raise Conflict("Only a message that failed can be sent again.")
    await tx.run(
        "update message set external_id = %(key)s, vendor_id = null where id = %(id)s",
        id=message_id,
        key=key_for("again", tx.workspace_id, message_id, attempts, now.isoformat()),
    )
    await transitions.apply_to(tx, state, RequeueReply(message_id), actor=by, now=now)


async def send_as_rule(
    tx: Transaction,
    conversation_id: int,
    *,
    text: str,
    by: Actor,
    key: str,
    limits: Limits,
    now: datetime,
    cause: Cause,
    files: Sequence[DraftFile] = (),
) -> list[int]:
    """A rule, or a flow at its end, writes to the contact; nobody becomes the assignee, and who waits goes on waiting.

    `files` follow, each as a message. The same `key` sends once. Returns the ids of the parts. Raises
    ReplyWindowClosed, ReplyTooLong, GroupClosed, NotFound.
    """
    state = await transitions.lock(tx, conversation_id)
    _check_allowance(state, text, limits, now=now, files=len(files))
    if state.is_group:
        await check_group_open(tx, state, limits)
    queued = await enqueue(
        tx, state, author=_author(by), actor=by, text=text, key=key, limits=limits, now=now, files=files, cause=cause
    )
    return [message.id for message in queued.messages]


def _author(by: Actor) -> Author:
    match by.kind:
        case "agent":
            return Author.AGENT
        case "flow":
            return Author.FLOW
        case "api":
            return Author.API
        case _:
            return Author.RULE


async def send_as_program(
    tx: Transaction,
    conversation_id: int,
    *,
    text: str,
    by: Actor,
    key: str,
    limits: Limits,
    now: datetime,
    from_person: bool = False,
    seen: int | None = None,
    files: Sequence[int] = (),
    reply_to: int | None = None,
) -> list[int]:
    """A program writes to the contact by the API; nobody becomes the assignee. Returns the ids of the parts.

    `from_person`: somebody wrote it there, so that people have the conversation and the contact waits no longer; if
    not, who waits goes on waiting, as with a rule's words. `seen`, `files`, `reply_to` as in `reply`. The same
    `key` sends once. Raises what `reply` raises, and GroupClosed.
    """
    if not text.strip() and not files:
        raise Conflict("There is nothing to send.")
    state = await transitions.lock(tx, conversation_id)
    # Not by the message's own key, which is another one once it failed and was sent again.
    if await tx.value(
        "select 1 from message where conversation_id = %(id)s and client_key = %(k)s", id=state.id, k=key
    ):
        return []
    if seen is not None and (other := await _answered(tx, state, seen, by=0)) is not None:
        raise ReplyCollision(Author(other.author), other.name)
    taken_files = await take_draft_files(tx, state.id, by, files)
    answers = None if reply_to is None else await quotation(tx, state.id, reply_to, limits=limits, words=text)
    if answers is not None:
        text = answers.above + text
    _check_allowance(state, text, limits, now=now, files=len(taken_files))
    if state.is_group:
        await check_group_open(tx, state, limits)
    if from_person:
        state = (await transitions.apply_to(tx, state, Open("replied"), actor=by, now=now)).state
    queued = await enqueue(
        tx,
        state,
        author=Author.API,
        actor=by,
        text=text,
        key=key,
        limits=limits,
        now=now,
        files=taken_files,
        content={"program": by.ref or "", **({"from_person": True} if from_person else {})},
        answers=answers,
        client_key=key,
        from_person=from_person,
    )
    return [message.id for message in queued.messages]


async def add_note(
    tx: Transaction,
    conversation_id: int,
    *,
    text: str,
    by: Actor,
    now: datetime,
    client_key: str | None = None,
    cause: Cause = DIRECT,
) -> int:
    """Write something for colleagues only; @name mentions one who sees it, who follows from then on.

    The same `client_key` notes once. Raises Conflict on empty text, NotFound."""
    if not text.strip():
        raise Conflict("There is nothing to note.")
    state = await transitions.lock(tx, conversation_id)
    noted = "select id from message where conversation_id = %(id)s and client_key = %(key)s"
    if client_key is not None and (there := await tx.value(noted, id=state.id, key=client_key)) is not None:
        return int(there)
    mentioned: tuple[int, ...] = ()
    if "@" in text:
        known = await queries.agent_names(tx, state.inbox_id)
        mentioned = mentioned_in(text, {one.id: one.name for one in known})
    message_id = await tx.value(
        "insert into message (workspace_id, conversation_id, inbox_id, direction, author, agent_id, kind, text, state, "
        "mentions, client_key, content, sent_at) "
        "values (%(workspace)s, %(conversation)s, %(inbox)s, 'internal', %(author)s, %(agent)s, "
        "'note', %(text)s, 'stored', to_jsonb(%(mentions)s::bigint[]), %(key)s, %(content)s::jsonb, %(now)s) "
        "returning id",
        workspace=tx.workspace_id,
        conversation=state.id,
        inbox=state.inbox_id,
        author=_author(by),
        agent=by.id if by.kind == "agent" else None,
        text=text,
        mentions=list(mentioned),
        key=client_key,
        content=json_safe({"program": by.ref or ""} if by.kind == "api" else {}),
        now=now,
    )
    fact = NoteAdded(actor=by, at=now, cause=cause, message_id=int(message_id), mentioned=mentioned, **state.about())
    await event_log.append(tx, fact)
    if mentioned:
        with suppress(Conflict):  # too many follow: the note stands all the same
            await add_followers(tx, state.id, mentioned, by=by, now=now, reason="mentioned", cause=cause)
    return int(message_id)


async def mark_read(tx: Transaction, conversation_id: int, *, agent_id: int, message_id: int) -> None:
    """Remember how far an agent has read; it never goes back. Raises NotFound."""
    marked = await tx.run(
        "insert into read_mark (workspace_id, conversation_id, agent_id, message_id) "
        "select %(workspace)s, id, %(agent)s, %(message)s from conversation where id = %(conversation)s "
        "on conflict (workspace_id, conversation_id, agent_id) do update "
        "set message_id = greatest(read_mark.message_id, excluded.message_id)",
        workspace=tx.workspace_id,
        conversation=conversation_id,
        agent=agent_id,
        message=message_id,
    )
    if not marked:
        raise NotFound("There is no such conversation.")
