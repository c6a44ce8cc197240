"""What rules look at: a conversation with its contact, its inbox and the message that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from zhiban.conversations import transitions
from zhiban.conversations.models import ConversationState
from zhiban.conversations.quotes import WITHOUT_LINK
from zhiban.events import ConversationAssigned
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access


@frozen_dataclass
class ContactFacts:
    """Who wrote. `attributes` are what the vendor told and what people of ours added.

    `own_name` is what they call themselves; `name` may be what colleagues call them, which is not for their eyes.
    """

    name: str = ""
    own_name: str = ""
    attributes: Mapping[str, Any] | None = None


@frozen_dataclass
class MessageFacts:
    """A message. `direction`: in, out or internal (a note)."""

    id: int
    direction: str
    author: str
    kind: str
    text: str


@frozen_dataclass
class ConversationFacts:
    """A conversation as it is now, and what belongs to it.

    `policy` is the inbox's, `team_hours` are the team's, both as they are stored.
    """

    state: ConversationState
    channel: str
    attributes: Mapping[str, Any]
    contact: ContactFacts
    policy: Mapping[str, Any]
    message: MessageFacts | None = None
    team_hours: Mapping[str, Any] | None = None


_COLUMNS = f"""{transitions.STATE_COLUMNS}, i.kind as channel, i.policy, t.hours as team_hours,
  coalesce(nullif(p.remark, ''), p.name, '') as contact_name, coalesce(p.name, '') as contact_own_name,
  coalesce(p.attributes, '{{}}') as contact_attributes"""

_FROM = """
from conversation c join inbox i on i.workspace_id = c.workspace_id and i.id = c.inbox_id
left join team t on t.workspace_id = c.workspace_id and t.id = c.team_id
left join contact p on p.workspace_id = c.workspace_id and p.id = c.contact_id"""

_FACTS = f"""
select {_COLUMNS}, m.id as message_id, m.direction, m.author, m.kind,
  {WITHOUT_LINK} as text {_FROM}
left join message m on m.workspace_id = c.workspace_id and m.id = %(message)s and m.conversation_id = c.id
where c.id = %(id)s for no key update of c"""


async def conversation_facts(
    tx: Transaction, conversation_id: int, message_id: int | None = None
) -> ConversationFacts | None:
    """The conversation, locked, and the message if it has one of this id; None when there is no such conversation."""
    found = await tx.records(_FACTS, id=conversation_id, message=message_id)
    return _facts(found[0]) if found else None


async def latest_conversations(tx: Transaction, *, limit: int) -> list[ConversationFacts]:
    """Those in which something happened last, newest first; not locked."""
    rows = await tx.records(
        f"select {_COLUMNS} {_FROM} order by c.last_activity_at desc, c.id desc limit %(limit)s", limit=limit
    )
    return [_facts(row) for row in rows]


async def conversations_since(tx: Transaction, event_id: int, *, limit: int) -> list[ConversationFacts]:
    """Those about which there is a fact from this one on, and those that are open; newest first, not locked."""
    rows = await tx.records(
        f"select {_COLUMNS} {_FROM} where c.status = 'open' or c.id in (select conversation_id from event "
        "where id >= %(event)s and conversation_id is not null) "
        "order by c.last_activity_at desc, c.id desc limit %(limit)s",
        event=event_id,
        limit=limit,
    )
    return [_facts(row) for row in rows]


async def messages_of(tx: Transaction, ids: Sequence[int]) -> dict[int, MessageFacts]:
    """These messages, by their ids."""
    found = await tx.objects(
        MessageFacts,
        f"select id, direction, author, kind, {WITHOUT_LINK} as text from message m where id = any(%(ids)s::bigint[])",
        ids=list(ids),
    )
    return {one.id: one for one in found}


def _facts(row: Mapping[str, Any]) -> ConversationFacts:
    message_id = row.get("message_id")
    return ConversationFacts(
        state=transitions.state_in(row),
        channel=row["channel"],
        attributes=row["attributes"],
        contact=ContactFacts(row["contact_name"], row["contact_own_name"], row["contact_attributes"]),
        policy=row["policy"],
        team_hours=row["team_hours"],
        message=None
        if message_id is None
        else MessageFacts(message_id, row["direction"], row["author"], row["kind"], row["text"]),
    )


_PREVIOUS = """
select (data ->> 'to_agent_id')::bigint from event
where conversation_id = %(id)s and kind = %(kind)s and data ->> 'to_agent_id' is not null
  and (data ->> 'to_agent_id')::bigint is distinct from %(other)s order by id desc limit 1"""


async def previous_assignee(tx: Transaction, conversation_id: int, *, other_than: int | None) -> int | None:
    """The agent who had the conversation last, apart from the one who has it now."""
    found: int | None = await tx.value(
        _PREVIOUS, id=conversation_id, kind=ConversationAssigned.kind(), other=other_than
    )
    return found


async def those_in(tx: Transaction, statuses: Sequence[str], *, limit: int) -> list[ConversationState]:
    """Conversations in one of these statuses, those in which something happened last first; not locked."""
    rows = await tx.rows(
        f"select {transitions.STATE_COLUMNS} from conversation c where c.status = any(%(statuses)s::text[]) "
        "order by c.last_activity_at desc limit %(limit)s",
        statuses=list(statuses),
        limit=limit,
    )
    return [transitions.as_state(row) for row in rows]


async def open_for(
    tx: Transaction, agent_id: int, *, limit: int, or_nobody_in: Access | None = None
) -> list[ConversationState]:
    """Open conversations whose contact waits for this agent, longest first; not locked.

    With `or_nobody_in`, nobody's in the inboxes of that access too.
    """
    also = "" if or_nobody_in is None else f" or (c.assignee_id is null{or_nobody_in.condition('c.inbox_id')})"
    rows = await tx.rows(
        f"select {transitions.STATE_COLUMNS} from conversation c where c.status = 'open' "
        f"and c.waiting_since is not null and (c.assignee_id = %(agent)s{also}) "
        "order by c.waiting_since, c.id limit %(limit)s",
        agent=agent_id,
        limit=limit,
        **({} if or_nobody_in is None else or_nobody_in.params),
    )
    return [transitions.as_state(row) for row in rows]


async def given_at(tx: Transaction, ids: Sequence[int]) -> dict[int, datetime]:
    """When each of these conversations was last given to whoever has it."""
    return dict(
        await tx.rows(
            "select conversation_id, max(at) from event where conversation_id = any(%(ids)s::bigint[]) "
            "and kind = %(kind)s group by 1",
            ids=list(ids),
            kind=ConversationAssigned.kind(),
        )
    )
