"""Conversations as one agent may see them. What is not in their inboxes does not exist for them."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.conversations import queries
from zhiban.conversations.queries import ThreadHead
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access, Permission


async def access_conversation(tx: Transaction, access: Access, conversation_id: int) -> ThreadHead:
    """One conversation to look at. Raises NotFound."""
    head = await queries.head(tx, conversation_id)
    if not access.sees(head.inbox_id):
        raise NotFound("There is no such conversation.")
    return head


async def access_conversation_to_answer(tx: Transaction, access: Access, conversation_id: int) -> ThreadHead:
    """One conversation to change: answer, note, assign, resolve … Raises NotFound, NotAllowed."""
    head = await access_conversation(tx, access, conversation_id)
    access.check(Permission.ANSWER)
    return head


async def visible(tx: Transaction, access: Access, ids: Sequence[int]) -> set[int]:
    """Those of these conversations that the agent sees."""
    if access.inbox_ids is None or not ids:
        return set(ids)
    found = await tx.values(
        f"select c.id from conversation c where c.id = any(%(ids)s::bigint[]){access.condition('c.inbox_id')}",
        ids=list(ids),
        **access.params,
    )
    return set(found)


@frozen_dataclass
class ChangedConversation:
    """Where a conversation stands, and with whom: enough to decide who has to hear of it."""

    id: int
    inbox_id: int
    assignee_id: int | None
    status: str

    @property
    def is_unclaimed(self) -> bool:
        """Whether it needs a person and nobody has it."""
        return self.status == "open" and self.assignee_id is None


async def changed_conversations(tx: Transaction, ids: Sequence[int]) -> list[ChangedConversation]:
    """Those of these that there are, by id."""
    if not ids:
        return []
    return await tx.objects(
        ChangedConversation,
        "select id, inbox_id, assignee_id, status from conversation where id = any(%(ids)s::bigint[]) order by id",
        ids=list(ids),
    )
