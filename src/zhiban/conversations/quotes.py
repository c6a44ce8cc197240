"""Which message an answer is about: looked up, told to the channel, or said in a short line above the words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.ports import IncomingMessage, Limits

LONGEST_LINE = 40  # characters of the other message that stand above an answer
SHOWN = 200  # characters of it that the desk shows

_QUOTED = """
select m.id, m.author, m.agent_id, coalesce(a.name, '') as agent_name, m.kind, left(m.text, 400) as text, m.content,
  coalesce(m.vendor_id, m.external_id, '') as external_id, m.state = 'queued' as waits,
  m.recalled_at is not null as recalled, m.sender_contact_id,
  coalesce((select f.filename from attachment f where f.message_id = m.id order by f.id limit 1), '') as filename
from message m left join agent a on a.workspace_id = m.workspace_id and a.id = m.agent_id
where m.conversation_id = %(conversation)s and m.direction <> 'internal' and m.id = any(%(ids)s::bigint[])"""

# Ours is named by the vendor's id for it, or by our key where vendors take that. Each has an index of its own, which
# the limits keep in use: what is asked of the conversation would otherwise read all that was ever said in it.
_RESOLVE = """
update message m set reply_to_id = f.answered
from (
  select n.id, a.id as answered
  from json_to_recordset(%(rows)s::json) as t(message bigint, reply_to text)
  join message n on n.id = t.message and n.id = any(%(ids)s::bigint[])
  cross join lateral (
    select q.id from (
      (select id, conversation_id from message
       where workspace_id = n.workspace_id and inbox_id = n.inbox_id and external_id = t.reply_to limit 1)
      union all
      (select id, conversation_id from message
       where workspace_id = n.workspace_id and inbox_id = n.inbox_id and vendor_id = t.reply_to limit 20)) q
    where q.conversation_id = n.conversation_id and q.id <> n.id order by q.id desc limit 1) a) f
where m.id = f.id"""

_CALLED = """
select conversation_id, id from (
  select conversation_id, id from message where inbox_id = %(inbox)s and external_id = %(external)s
  union all
  select conversation_id, id from message where inbox_id = %(inbox)s and vendor_id = %(external)s) q
order by id desc limit 1"""

_REFERENCE = (
    "select coalesce(vendor_id, external_id) from message where id = %(id)s and state not in ('queued', 'failed')"
)

# Some clients write the words of what a message answers instead of naming it. A member's is the last that said exactly
# this: who listened when it was said knew its id, and may have begun anew since. Ours is found by its words, with or
# without the names that stand before them; blanks are as each client likes them. Of a card with a link they write the
# title, or all that stands on it.
_RESOLVE_WORDS = r"""
update message m set reply_to_id = q.id
from json_to_recordset(%(rows)s::json) as t(message bigint, words text)
join message n on n.id = t.message
cross join lateral (
  select o.id from (
    (select id, true as ours, regexp_replace(text, '\s+', '', 'g') as said, content ->> 'url' as url,
       case when kind = 'link' then regexp_replace(content ->> 'title', '\s+', '', 'g') end as title from message
     where conversation_id = n.conversation_id and direction = 'out' and id < t.message and text <> ''
     order by id desc limit 200)
    union all
    (select id, false, regexp_replace(text, '\s+', '', 'g'), null, null from message
     where conversation_id = n.conversation_id and direction = 'in' and id < t.message and text <> ''
       and recalled_at is null order by id desc limit 200)) o
  where o.said = t.words or o.ours and (
    o.title = t.words
    or (left(t.words, length(o.title)) = o.title and right(t.words, length(o.url)) = o.url)
    or (t.words like '@%%' and length(o.said) > 8 and right(t.words, length(o.said)) = o.said)
    or (length(t.words) >= 30 and left(o.said, length(t.words)) = t.words))
  order by o.id desc limit 1) q
where m.id = t.message and m.reply_to_id is null"""


# What some clients put before the title of a card that is quoted.
_KIND_OF_CARD = re.compile(r"\A\s*\[(?:链接|連結|鏈接|Link)\]")


@frozen_dataclass
class Quoted:
    """A message that another one answers. `external_id` is the vendor's for it, as far as that is known."""

    id: int
    author: str
    agent_id: int | None
    agent_name: str
    kind: str
    text: str
    content: dict[str, Any]
    external_id: str
    waits: bool  # to be sent
    recalled: bool
    sender_contact_id: int | None = None
    filename: str = ""

    @property
    def words(self) -> str:
        """What it says, without what was put above it; the name of its file where it says nothing."""
        return " ".join(own_words(self.text, self.content).split())[:SHOWN] or self.filename


# The words of a message `m` in SQL, without the link to our page of ratings, which is for the contact alone.
WITHOUT_LINK = """case when m.content ? 'survey'
    then left(m.text, greatest(char_length(m.text) - char_length(coalesce(m.content ->> 'below', '')), 0))
    else m.text end"""


def own_words(text: str, content: Mapping[str, Any]) -> str:
    """A message as its writer wrote it: without the line above it that says what it answers, and the sources below."""
    return text.removeprefix(str(content.get("above") or "")).removesuffix(str(content.get("below") or ""))


async def quoted_messages(tx: Transaction, conversation_id: int, ids: Sequence[int]) -> dict[int, Quoted]:
    """Those of these messages that are of this conversation, by id."""
    if not ids:
        return {}
    found = await tx.objects(Quoted, _QUOTED, conversation=conversation_id, ids=list(ids))
    return {one.id: one for one in found}


@frozen_dataclass
class Quotation:
    """What an answer says about the message that it answers: `above` its words, or `reference` for the channel."""

    message_id: int
    reference: str = ""
    above: str = ""

    def content(self) -> dict[str, str]:
        """What the stored message keeps of it."""
        found = {"reply_to": self.reference, "above": self.above}
        return {name: value for name, value in found.items() if value}


async def quotation(tx: Transaction, conversation_id: int, message_id: int, *, limits: Limits, words: str) -> Quotation:
    """How an answer of these words names this message: as the channel can, else by a line above them.

    What the contact said last needs no line, and files without words have none.

    Raises NotFound, and Conflict when it was taken back.
    """
    found = (await quoted_messages(tx, conversation_id, [message_id])).get(message_id)
    if found is None:
        raise NotFound("There is no such message.")
    if found.recalled:
        raise Conflict("The message was taken back meanwhile.")
    if limits.quotes and found.waits:
        return Quotation(found.id)  # the vendor's id is known when it was sent, which is before this
    if limits.quotes and found.external_id:
        return Quotation(found.id, reference=found.external_id)
    if not words.strip():
        return Quotation(found.id)
    later = await tx.value(
        "select exists (select from message where conversation_id = %(id)s and id > %(message)s and direction = 'in')",
        id=conversation_id,
        message=message_id,
    )
    return Quotation(found.id, above=quote_line(found.words) if later else "")


async def message_called(tx: Transaction, inbox_id: int, external_id: str) -> tuple[int, int] | None:
    """The conversation and the id of the message that the vendor knows by this id, or that we sent with this key."""
    row = await tx.row(_CALLED, inbox=inbox_id, external=external_id)
    if row is None:
        return None
    conversation_id, message_id = row
    return int(conversation_id), int(message_id)


async def reference_of(tx: Transaction, message_id: int) -> str | None:
    """By which id the vendor knows a message, so that another can answer it; None where it never got there."""
    found = await tx.value(_REFERENCE, id=message_id)
    return None if found is None else str(found)


def quote_line(words: str) -> str:
    """「怎么申请退款？」 and a new line; nothing for a message without words."""
    if not words:
        return ""
    return f"「{words if len(words) <= LONGEST_LINE else words[: LONGEST_LINE - 1] + '…'}」\n"


async def link_answers(tx: Transaction, stored: Mapping[str, int], messages: Sequence[IncomingMessage]) -> None:
    """Keep which messages new ones answer, where the channel told. `stored`: their ids by the vendor's."""
    rows = [
        {"message": stored[message.external_id], "reply_to": message.reply_to}
        for message in messages
        if message.reply_to and message.external_id in stored
    ]
    if rows:
        await tx.run(_RESOLVE, rows=json_safe(rows), ids=[row["message"] for row in rows])
    worded = [
        {"message": stored[message.external_id], "words": words}
        for message in messages
        if message.external_id in stored and (words := _quoted_words(message))
    ]
    if worded:
        await tx.run(_RESOLVE_WORDS, rows=json_safe(worded))


def _quoted_words(message: IncomingMessage) -> str:
    """The words that it says it answers, without blanks; empty where it says nothing."""
    quoted = message.content.get("quoted")
    if not isinstance(quoted, Mapping):
        return ""
    return "".join(_KIND_OF_CARD.sub("", str(quoted.get("text") or ""), count=1).split())
