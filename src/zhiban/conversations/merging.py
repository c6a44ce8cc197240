"""Two contacts who turn out to be one person become one, with everything they wrote and whatever they will write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.conversations import transitions
from zhiban.conversations.changes import ChangeContact
from zhiban.conversations.contact_labels import unite_labels
from zhiban.conversations.message_search import FoundConversation, conversations
from zhiban.conversations.models import ConversationState
from zhiban.conversations.transitions import Planned
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.people.contact_card import ContactCard, contact_card, merge_into
from zhiban.people.permissions import Access, NotAllowed, Permission

_SAID = """
update message m set sender_contact_id = %(base)s
from participant g where g.contact_id = %(other)s and m.workspace_id = g.workspace_id
  and m.conversation_id = g.conversation_id and m.sender_contact_id = %(other)s"""

# Where both of them are in a group, the one that stays is there as it was.
_PRESENT = """
with known as (
  select conversation_id from participant where contact_id = %(base)s),
doubled as (
  delete from participant where contact_id = %(other)s and conversation_id in (select conversation_id from known))
update participant set contact_id = %(base)s
where contact_id = %(other)s and conversation_id not in (select conversation_id from known)"""

# They wrote to us there, or are or were a member.
_WITH = """(c.contact_id = %(contact)s or c.id in (
  select g.conversation_id from participant g where g.contact_id = %(contact)s))"""

_GROUPS_OF = """
select distinct c.inbox_id from participant g
join conversation c on c.workspace_id = g.workspace_id and c.id = g.conversation_id where g.contact_id = %(contact)s"""

_THEIRS = "select id from conversation where contact_id = %(contact)s order by id"


async def access_contact(tx: Transaction, access: Access, contact_id: int) -> ContactCard:
    """One contact to look at: of whom there is a conversation that the agent sees, or a group. Raises NotFound."""
    card = await contact_card(tx, contact_id)
    if access.inbox_ids is not None and not await tx.value(
        f"select 1 from conversation c where {_WITH}{access.condition('c.inbox_id')} limit 1",
        **access.params,
        contact=card.merged_into or card.id,
    ):
        raise NotFound("There is no such contact.")
    return card


async def conversations_with(tx: Transaction, access: Access, contact_id: int) -> list[FoundConversation]:
    """Their last conversations and groups that the agent sees, newest first, 50 at most."""
    ids = await tx.values(
        f"select c.id from conversation c where {_WITH}{access.condition('c.inbox_id')} "
        "order by c.last_activity_at desc, c.id desc limit 50",
        **access.params,
        contact=contact_id,
    )
    found = await conversations(tx, ids)
    return [found[id_] for id_ in ids]


def check_sees_all(access: Access, states: Sequence[ConversationState], *inboxes: int) -> None:
    """Raises NotAllowed where some of these conversations, or `inboxes`, are kept from the agent."""
    if any(not access.sees(inbox_id) for inbox_id in (*inboxes, *(state.inbox_id for state in states))):
        raise NotAllowed("This contact has also written to inboxes that you do not see.")


async def merge_contacts(
    tx: Transaction, access: Access, base_id: int, other_id: int, *, by: Actor, now: datetime
) -> int:
    """`base_id` keeps what it has, takes over what it has not, and has the conversations. Returns how many moved.

    Raises NotFound, Conflict, and NotAllowed where some of them are in inboxes that the agent does not see.
    """
    access.check(Permission.ANSWER)
    for contact_id in (base_id, other_id):
        await access_contact(tx, access, contact_id)
    # Conversations before contacts, as everybody locks them. Once the contacts are locked none can begin; see `create`.
    await transitions.lock_many(tx, await tx.values(_THEIRS, contact=other_id))
    await merge_into(tx, base_id, other_id, by=by, now=now)
    states = await transitions.lock_many(tx, await tx.values(_THEIRS, contact=other_id))
    in_groups: list[int] = await tx.values(_GROUPS_OF, contact=other_id)
    check_sees_all(access, states, *in_groups)
    await transitions.apply_many(tx, [Planned(state, ChangeContact(base_id), by) for state in states], now=now)
    moved = "update contact_follow set contact_id = %(base)s where contact_id = %(other)s"
    await tx.run(moved, base=base_id, other=other_id)
    await unite_labels(tx, base_id, other_id)
    await tx.run(_SAID, base=base_id, other=other_id)
    await tx.run(_PRESENT, base=base_id, other=other_id)
    return len(states)
