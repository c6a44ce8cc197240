"""What a person of ours replied, with what the contact had said that it answers."""

from __future__ import annotations

from typing import Any

from zhiban.conversations.quotes import own_words
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass

_MOST = 12  # messages of the contact

_REPLY = """
select m.id, m.conversation_id, m.inbox_id, m.text, m.content, m.reply_to_id from message m
where m.id = %(id)s and m.direction = 'out' and m.author in ('agent', 'servicer') and m.kind = 'text'
  and m.state in ('queued', 'sent', 'stored') and m.recalled_at is null"""

# Replies in a row answer the same: what was said before the first of them.
_SAID = """
select m.id, m.text from message m, lateral (
  select max(l.id) as id from message l where l.conversation_id = %(conversation)s and l.id < %(before)s
    and l.direction = 'in' and l.author = 'contact' and l.kind = 'text' and l.recalled_at is null) as last
where m.conversation_id = %(conversation)s and m.id <= last.id and m.direction = 'in' and m.author = 'contact'
  and m.kind = 'text' and m.choice is null and m.recalled_at is null and (%(only)s::bigint is null or m.id = %(only)s)
  and (%(only)s::bigint is not null or m.id > coalesce((
    select max(p.id) from message p where p.conversation_id = %(conversation)s and p.id < last.id
      and p.direction = 'out' and p.author in ('agent', 'servicer')), 0))
order by m.id desc limit %(most)s"""


@frozen_dataclass
class _PersonReply:
    id: int
    conversation_id: int
    inbox_id: int
    text: str
    content: dict[str, Any]
    reply_to_id: int | None


@frozen_dataclass
class ContactWords:
    """A message of the contact."""

    id: int
    text: str


@frozen_dataclass
class PersonReply:
    """A reply in the agent's own words, and what the contact had said before it, oldest first."""

    message_id: int
    conversation_id: int
    inbox_id: int
    words: str
    said: tuple[ContactWords, ...]


async def person_reply(tx: Transaction, message_id: int) -> PersonReply:
    """A reply that a person wrote and the contact may have read: not one that failed, was recalled, or is no text.

    What the contact said is the message that it answers, where one was chosen, else everything since a person answered
    before. Raises NotFound.
    """
    reply = await tx.object(_PersonReply, _REPLY, id=message_id)
    if reply is None:
        raise NotFound("There is no such reply.")
    said: list[ContactWords] = []
    for only in (reply.reply_to_id, None):
        if not said:
            asked = {"conversation": reply.conversation_id, "before": reply.id, "only": only, "most": _MOST}
            said = await tx.objects(ContactWords, _SAID, **asked)
    words = own_words(reply.text, reply.content).strip()
    return PersonReply(reply.id, reply.conversation_id, reply.inbox_id, words, tuple(reversed(said)))
