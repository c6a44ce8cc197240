"""Messages of ours on their way out: stored first, sent afterwards, always in order.

A stored message carries its own idempotency key, so that sending it again after a crash cannot double it. The channel's
reply window is counted on the conversation; the assistant always leaves one reply for the handoff.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from zhiban.conversations import topics, transitions, work_state
from zhiban.conversations.changes import QueueReply
from zhiban.conversations.draft_files import DraftFile
from zhiban.conversations.groups import chat_of
from zhiban.conversations.models import PEOPLE, PROGRAMS, Author, ConversationState
from zhiban.conversations.quotes import Quotation
from zhiban.events import DIRECT, Actor, Cause
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.json_safe import json_safe
from zhiban.ports import Choice, Kind, Limits, LinkCard, Mention, NativeState, Refusal, ReplyWindow

_INSERT = """
insert into message (workspace_id, conversation_id, inbox_id, direction, author, agent_id, kind, text, content,
  external_id, state, turn_id, client_key, reply_to_id, mentions, sent_at)
select %(workspace)s, %(conversation)s, %(inbox)s, %(direction)s, %(author)s, %(agent)s, kind, part, content,
  key, 'queued', %(turn)s, client_key, reply_to, coalesce(mentions, '[]'), %(now)s
from rows from (json_to_recordset(%(parts)s::json)
    as (kind text, part text, content jsonb, key text, client_key text, reply_to bigint, mentions jsonb))
  with ordinality as t(kind, part, content, key, client_key, reply_to, mentions, n)
order by n on conflict do nothing returning id"""

_ATTACH = """
insert into attachment (workspace_id, message_id, kind, reference, filename, content_type, size, sha256, width, height,
  state, fetched_at)
select %(workspace)s, message, kind, '', filename, content_type, size, sha256, width, height, 'stored', %(now)s
from json_to_recordset(%(rows)s::json) as t(message bigint, kind text, filename text, content_type text, size bigint,
  sha256 text, width int, height int)"""


_CLOSED = {
    Refusal.WINDOW_CLOSED: mark("The channel lets nobody write to this contact until they write again."),
    Refusal.ALLOWANCE_USED: mark("All messages that the channel allows until the contact writes again are used up."),
    Refusal.HUMAN_ACTIVE: mark("A colleague has this session in the vendor's client; it comes back when they end it."),
    Refusal.IN_POOL: mark("This session waits in the vendor's own pool; whoever takes it there answers it there."),
    Refusal.SESSION_ENDED: mark("This session is over; the channel lets nobody write until the contact writes again."),
}
_GROUP_CLOSED = {
    "read_only": mark("This group is read only: nothing is sent there. That is set on its page."),
    "left": mark("Our account is not in this group any more."),
    "mute": mark("This channel gives and takes no messages in groups: they can be looked at only."),
}
_HELD = {
    NativeState.HUMAN: Refusal.HUMAN_ACTIVE,
    NativeState.POOL: Refusal.IN_POOL,
    NativeState.ENDED: Refusal.SESSION_ENDED,
}


class ReplyWindowClosed(Conflict):
    """The channel does not let us write to this contact now. `reason` is a refusal's word, such as window_closed."""

    def __init__(self, reason: str) -> None:
        super().__init__(_CLOSED[Refusal(reason)])
        self.reason = reason


class GroupClosed(Conflict):
    """Nothing may be said in this group: we only read it (`read_only`), are in it no more (`left`), or the channel
    carries no talk of groups (`mute`)."""

    def __init__(self, reason: Literal["read_only", "left", "mute"]) -> None:
        super().__init__(_GROUP_CLOSED[reason])
        self.reason = reason


class ReplyCollision(Conflict):
    """Somebody else answered after what the writer has read. `name`: of a colleague, empty for others."""

    def __init__(self, author: Author, name: str = "") -> None:
        if name:
            super().__init__(f"{name} has just replied. Read it, then send yours if it is still needed.")
        elif author in PROGRAMS:
            super().__init__("The assistant has just replied. Read it, then send yours if it is still needed.")
        else:
            super().__init__("A colleague has just replied. Read it, then send yours if it is still needed.")
        self.author = author
        self.name = name


class ReplyTooLong(Conflict):
    """A reply of a person needs more messages than the channel still allows; nothing of it is sent."""

    def __init__(self, needed: int, left: int) -> None:
        super().__init__(f"This reply takes {needed} messages, and {left} may still be sent. Shorten it.")
        self.needed = needed
        self.left = left


@frozen_dataclass
class QueuedMessage:
    """A message that waits to be sent. `external_id` is our idempotency key."""

    id: int
    author: str
    kind: str
    text: str
    content: Mapping[str, Any]
    external_id: str
    attempts: int
    sent_at: datetime
    agent_id: int | None = None
    mentions: tuple[Mention, ...] = ()
    reply_to_id: int | None = None
    tried: bool = False  # before, where a repeat would be heard twice, and nobody knows what became of it


@frozen_dataclass
class QueueResult:
    """What was stored, none when the key was known; the state and the revision of the work afterwards."""

    messages: list[QueuedMessage]
    state: ConversationState
    revision: int | None = None


@frozen_dataclass
class Allowance:
    """What may still be sent: `left` messages (None: no limit) until `closes_at` (None: for ever).

    `held` is why nothing may be sent whatever is left: the session is not ours in the vendor's own view.
    """

    left: int | None
    closes_at: datetime | None
    held: Refusal | None = None

    def closed(self, now: datetime) -> str | None:
        """Why nothing may be sent, or None."""
        if self.held is not None:
            return self.held.value
        if self.closes_at is not None and now >= self.closes_at:
            return "window_closed"
        if self.left is not None and self.left <= 0:
            return "allowance_used"
        return None


def allowance(
    window: ReplyWindow | None,
    *,
    last_incoming_at: datetime | None,
    replies_used: int,
    native_state: str | None = None,
) -> Allowance:
    """What the channel's window leaves. A contact who never wrote may not be written to at all."""
    held = _HELD.get(NativeState(native_state)) if native_state else None
    if window is None:
        return Allowance(None, None, held)
    if last_incoming_at is None:
        return Allowance(0, None, held)
    closes_at = last_incoming_at + timedelta(hours=window.hours)
    return Allowance(max(window.messages - replies_used, 0), closes_at, held)


def allowance_of(state: ConversationState, window: ReplyWindow | None) -> Allowance:
    return allowance(
        window,
        last_incoming_at=state.last_incoming_at,
        replies_used=state.replies_used,
        native_state=state.native_state,
    )


def shortened(text: str, limits: Limits, *, most: int | None) -> list[str]:
    """The text in pieces that the channel takes whole, at most `most`; the last is cut and ends in an ellipsis.

    Never for people's words.
    """
    parts = limits.parts(text)
    if most is None or len(parts) <= most:
        return parts
    kept = parts[: max(most, 1)]
    room = replace(limits, text=limits.text - limits.size("…"))
    kept[-1] = room.parts(kept[-1])[0] + "…"
    return kept


def key_for(*names: object) -> str:
    """An idempotency key of at most 32 characters from what makes this message unique for ever."""
    return "z" + hashlib.sha256("\x1f".join(map(str, names)).encode()).hexdigest()[:28]


async def reword(tx: Transaction, message_id: int, text: str, *, limits: Limits) -> str:
    """Say this instead, in a message that this transaction has queued; nobody has read it. Returns what fits."""
    fits = shortened(text, limits, most=1)[0]
    await tx.run("update message set text = %(text)s where id = %(id)s and state = 'queued'", text=fits, id=message_id)
    return fits


async def enqueue(
    tx: Transaction,
    state: ConversationState,
    *,
    author: Author,
    actor: Actor,
    text: str,
    key: str,
    limits: Limits,
    now: datetime,
    files: Sequence[DraftFile] = (),
    answers: Quotation | None = None,
    mentions: Sequence[Mention] = (),
    kind: Kind = Kind.TEXT,
    choices: Sequence[Choice] = (),
    footer: str = "",
    content: Mapping[str, Any] | None = None,
    turn_id: int | None = None,
    client_key: str | None = None,
    most: int | None = None,
    counts: bool = True,
    from_person: bool | None = None,
    helped: bool | None = None,
    link: LinkCard | None = None,
    cause: Cause = DIRECT,
) -> QueueResult:
    """Store a message to be sent, in parts if it is long, for a conversation that this transaction has locked.

    `files` follow, each as a message; with them the text may be empty. `answers` names what the first part answers;
    its line stands above the text already. `limits` are the channel's; with `most`, what would need more parts is cut.
    `helped` tells whether the assistant's words answered something; None leaves its failures as they are. What an
    event's code pays for (`content["code"]`) uses up no reply. `mentions` are members of a group whom it names.

    `from_person`: a person wrote it; None: the author tells. Without `counts` it uses up no reply either. With `link`
    it is a card where the channel has them; the text has to say the same, for all others, and for whoever refuses it.

    Into a group to which nothing may be said, nothing is stored; for people's words that raises GroupClosed.
    """
    if state.is_group and await _is_closed(tx, state, author, limits):
        return QueueResult([], state)
    if mentions and not limits.mentions:
        text = "".join(f"@{one.name} " for one in mentions) + text
        mentions = ()
    card = limits.link.fitting(link) if link is not None and limits.link is not None else None
    if card is not None:
        kind, content = Kind.LINK, {**(content or {}), **_fields(card)}
        texts = shortened(text, limits, most=1)
    else:
        texts = shortened(text, limits, most=most) if kind is Kind.TEXT else [text]
    if files and not text.strip():
        texts = []
    base = dict(content or {})
    if choices:
        base["choices"] = [{"id": choice.id, "label": choice.label} for choice in choices]
    if footer:
        base["footer"] = footer
    agent_id = actor.id if actor.kind == "agent" else None
    parts = _parts(texts, files, kind=kind, content=base, key=key)
    parts[0]["client_key"] = client_key
    if mentions:
        parts[0]["mentions"] = [{"id": one.external_id, "name": one.name} for one in mentions]
    if answers is not None:
        parts[0]["reply_to"] = answers.message_id
        parts[0]["content"] = {**parts[0]["content"], **answers.content()}
    new_ids = await tx.values(
        _INSERT,
        workspace=tx.workspace_id,
        conversation=state.id,
        inbox=state.inbox_id,
        direction="out",
        author=author,
        agent=agent_id,
        turn=turn_id,
        now=now,
        parts=json_safe(parts),
    )
    ids = tuple(new_ids)
    if not ids:
        return QueueResult([], state)
    if files and len(ids) == len(parts):
        await _attach(tx, ids[len(texts) :], files, now=now)
    by_person = author in PEOPLE if from_person is None else from_person
    change = QueueReply(ids, counts=counts and not base.get("code"), from_person=by_person, helped=helped)
    applied = await transitions.apply_to(tx, state, change, actor=actor, now=now, cause=cause)
    if len(ids) < len(parts):
        return QueueResult([], applied.state, applied.revision)
    messages = [
        QueuedMessage(
            id_,
            author,
            part["kind"],
            part["part"],
            part["content"],
            part["key"],
            0,
            now,
            agent_id,
            tuple(mentions) if "mentions" in part else (),
            part.get("reply_to"),
        )
        for id_, part in zip(ids, parts, strict=True)
    ]
    return QueueResult(messages, applied.state, applied.revision)


def _fields(card: LinkCard) -> dict[str, str]:
    """A card as a message keeps it, as those of contacts do."""
    return {"title": card.title, "description": card.description, "url": card.url}


async def check_group_open(tx: Transaction, state: ConversationState, limits: Limits) -> None:
    """Raises GroupClosed where nothing may be said in this group."""
    closed: Literal["read_only", "left", "mute"] | None
    closed = "mute" if limits.hears == "nothing" else (await chat_of(tx, state.id)).closed
    if closed:
        raise GroupClosed(closed)


async def _is_closed(tx: Transaction, state: ConversationState, author: Author, limits: Limits) -> bool:
    """Whether nothing may be said in this group. Raises GroupClosed where a person wants to."""
    try:
        await check_group_open(tx, state, limits)
    except GroupClosed:
        if author in PEOPLE:
            raise
        return True
    return False


def _parts(
    texts: Sequence[str], files: Sequence[DraftFile], *, kind: Kind, content: Mapping[str, Any], key: str
) -> list[dict[str, Any]]:
    """The messages that a reply consists of: its text in pieces, of which the last has the content, then its files.

    Each of them names the program that said it, and whether for a person."""
    said_by = {name: content[name] for name in ("program", "from_person") if name in content}
    parts: list[dict[str, Any]] = [{"kind": kind, "part": part, "content": said_by} for part in texts]
    if parts:
        parts[-1]["content"] = content
    parts += [{"kind": file.kind, "part": "", "content": said_by} for file in files]
    for n, part in enumerate(parts):
        part["key"] = key if n == 0 else f"{key}_{n}"
    return parts


async def _attach(tx: Transaction, message_ids: Sequence[int], files: Sequence[DraftFile], *, now: datetime) -> None:
    """Let each of these messages carry its file."""
    rows = [
        {
            "message": message_id,
            "kind": file.kind,
            "filename": file.filename,
            "content_type": file.content_type,
            "size": file.size,
            "sha256": file.sha256,
            "width": file.width,
            "height": file.height,
        }
        for message_id, file in zip(message_ids, files, strict=True)
    ]
    await tx.run(_ATTACH, workspace=tx.workspace_id, rows=json_safe(rows), now=now)


async def enqueue_session_transfer(
    tx: Transaction,
    state: ConversationState,
    *,
    to: str,
    actor: Actor,
    key: str,
    now: datetime,
    servicer: str | None = None,
    text: str = "",
) -> None:
    """Move the session in the vendor's own view, after everything queued before; `text` goes out on its reply code."""
    await tx.run(
        _INSERT,
        workspace=tx.workspace_id,
        conversation=state.id,
        inbox=state.inbox_id,
        direction="internal",
        author=Author.SYSTEM,
        agent=actor.id if actor.kind == "agent" else None,
        turn=None,
        now=now,
        parts=json_safe(
            [{"kind": "move", "part": "", "content": {"to": to, "servicer": servicer, "say": text}, "key": key}]
        ),
    )
    await work_state.bump(tx, state.id)
    tx.publish_after_commit(topics.CONVERSATION_WAITING, state.id)
