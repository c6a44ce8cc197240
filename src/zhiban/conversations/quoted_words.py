"""Quotations that come as words alone: which message is meant, and what is kept of one that never reached us.

A vendor that shows us only what names us lets members point at the rest by quoting it. Such a message stands in the
group from then on, once, of nobody we know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from zhiban.channels.connections import OpenInbox
from zhiban.conversations.models import Author, ConversationState, MessageState
from zhiban.conversations.quotes import own_words
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean
from zhiban.ports import IncomingMessage, QuotedWords

LOOKED_AT = 200  # messages of a conversation among which the quoted one is looked for
LONGEST = 10_000  # characters kept of a quotation
_CUT = 20  # characters from which on a beginning is taken for a quotation that was cut

_LATEST = """
select m.external_id, m.text, m.content from message m
where m.conversation_id = %(id)s and m.direction <> 'internal' and m.external_id is not null and m.recalled_at is null
order by m.id desc limit %(limit)s"""

# Who wrote it is not told: as long as anybody in the group wants nothing kept or quoted, it may be theirs.
_MAY_KEEP = "select not exists (select from participant where conversation_id = %(id)s and consent <> 'all')"

_KEEP = """
insert into message (workspace_id, conversation_id, inbox_id, direction, author, kind, text, content, external_id,
  state, sent_at, created_at)
select %(workspace)s, %(id)s, %(inbox)s, 'in', %(author)s, kind, text, content, external_id, %(state)s, sent_at, %(now)s
from json_to_recordset(%(rows)s::json) as t(kind text, text text, content jsonb, external_id text, sent_at timestamptz)
on conflict do nothing"""


@frozen_dataclass
class _QuotedCandidate:
    external_id: str
    text: str
    content: dict[str, object]


async def place_quoted(
    tx: Transaction,
    inbox: OpenInbox,
    messages: Sequence[IncomingMessage],
    states: Mapping[str, ConversationState],
    *,
    now: datetime,
) -> list[IncomingMessage]:
    """The same messages, saying by id what they quote, where that is known or kept now."""
    found = []
    for message in messages:
        if message.quoted is None or message.reply_to is not None:
            found.append(message)
            continue
        reply_to = await _meant(tx, inbox, message, message.quoted, states[message.thread], now=now)
        found.append(replace(message, reply_to=reply_to))
    return found


async def _meant(
    tx: Transaction,
    inbox: OpenInbox,
    message: IncomingMessage,
    quoted: QuotedWords,
    state: ConversationState,
    *,
    now: datetime,
) -> str | None:
    words = _squeezed(quoted.text)
    if not words:
        return None
    # The words of files are their kinds alone, and say nothing.
    latest = await tx.objects(_QuotedCandidate, _LATEST, id=state.id, limit=LOOKED_AT) if not quoted.files else ()
    for one in latest:
        if one.external_id != message.external_id and _are_same(_squeezed(own_words(one.text, one.content)), words):
            return one.external_id
    if not state.is_group or not await tx.value(_MAY_KEEP, id=state.id):
        return None
    digest = hashlib.sha256("\x1f".join((message.thread, words, *quoted.files)).encode()).hexdigest()[:32]
    row = {
        "kind": quoted.kind,
        "text": clean(quoted.text)[:LONGEST],
        "content": {"quoted": True},
        "external_id": f"quote:{digest}",
        "sent_at": message.sent_at,
    }
    await tx.run(
        _KEEP,
        workspace=tx.workspace_id,
        id=state.id,
        inbox=inbox.inbox_id,
        author=Author.CONTACT,
        state=MessageState.HANDLED,
        now=now,
        rows=json_safe([row]),
    )
    return f"quote:{digest}"


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _are_same(ours: str, quoted: str) -> bool:
    """Whether the quotation is of this message. Long ones may be cut, and ours may have a name put before it."""
    if ours == quoted:
        return True
    return len(quoted) >= _CUT and len(ours) >= _CUT and (ours.startswith(quoted) or ours.endswith(quoted))
