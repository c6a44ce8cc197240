"""What was said in a conversation, with its speakers, for whoever quotes it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from zhiban.conversations.attachments import Attachment, attachments_of
from zhiban.conversations.group_policy import Consent
from zhiban.conversations.quotes import own_words
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

_SPOKEN = """
select m.id, m.author, m.sender_contact_id as contact_id, m.agent_id, m.kind, m.text, m.content, m.sent_at,
  m.recalled_at is not null as recalled, m.reply_to_id,
  coalesce(p.name, a.name, '') as name, coalesce(g.nickname, '') as nickname,
  coalesce(g.consent, 'all') as consent
from message m
left join agent a on a.workspace_id = m.workspace_id and a.id = m.agent_id
left join contact p on p.workspace_id = m.workspace_id and p.id = m.sender_contact_id
left join participant g on g.workspace_id = m.workspace_id and g.conversation_id = m.conversation_id
  and g.contact_id = m.sender_contact_id
where m.conversation_id = %(id)s and m.direction <> 'internal' and m.state <> 'dropped' and {which}"""

_BEFORE = _SPOKEN.format(which="m.id < %(before)s order by m.id desc limit %(limit)s")
_THESE = _SPOKEN.format(which="m.id = any(%(ids)s::bigint[]) order by m.id")


@frozen_dataclass
class SpokenMessage:
    """A message with its speaker: `name` is what they call themselves, never what colleagues wrote of them; `nickname`
    what they are called in the group."""

    id: int
    author: str
    contact_id: int | None
    agent_id: int | None
    kind: str
    text: str
    content: Mapping[str, Any]
    sent_at: datetime
    recalled: bool
    reply_to_id: int | None
    name: str
    nickname: str
    consent: str

    @property
    def words(self) -> str:
        """What its writer wrote, without what was put above and below it."""
        return "" if self.recalled else own_words(self.text, self.content)

    @property
    def quotable(self) -> bool:
        """Whether the speaker lets others quote it."""
        return self.consent == Consent.ALL and not self.content.get("withheld")


async def spoken_before(tx: Transaction, conversation_id: int, message_id: int, *, limit: int) -> list[SpokenMessage]:
    """The last messages before this one, oldest first."""
    found = await tx.objects(SpokenMessage, _BEFORE, id=conversation_id, before=message_id, limit=limit)
    found.reverse()
    return found


async def spoken(tx: Transaction, conversation_id: int, ids: Sequence[int]) -> list[SpokenMessage]:
    """Those of these messages that are of this conversation, oldest first."""
    return await tx.objects(SpokenMessage, _THESE, id=conversation_id, ids=list(ids)) if ids else []


async def answers_to(tx: Transaction, message_id: int) -> list[int]:
    """The messages that answer this one."""
    return await tx.values("select id from message where reply_to_id = %(id)s", id=message_id)


async def said_between(tx: Transaction, conversation_id: int, after: int, before: int) -> list[str]:
    """What contacts said between two messages; the first twenty."""
    return await tx.values(
        "select text from message where conversation_id = %(id)s and author = 'contact' "
        "and direction <> 'internal' and id > %(after)s and id < %(before)s order by id limit 20",
        id=conversation_id,
        after=after,
        before=before,
    )


async def subject_of(tx: Transaction, conversation_id: int | None) -> str:
    """What a conversation is called: a group's name."""
    return await tx.value("select subject from conversation where id = %(id)s", id=conversation_id) or ""


async def files_of(tx: Transaction, messages: Sequence[SpokenMessage]) -> dict[int, list[Attachment]]:
    """Their files, by message."""
    return await attachments_of(tx, [one.id for one in messages if one.kind != "text" and not one.recalled])
