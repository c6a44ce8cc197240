"""Which facts tell single agents something, in the same transaction. `bootstrap.HANDLERS` says which."""

from __future__ import annotations

from dataclasses import replace

from zhiban.conversations import groups
from zhiban.conversations.facts import messages_of
from zhiban.conversations.followers import follower_ids
from zhiban.events import ConversationAssigned, ConversationResolved, GroupMembersLeft, NoteAdded
from zhiban.kit.db import Transaction
from zhiban.notifications.models import NotificationKind
from zhiban.notifications.service import NewNotification, notify, read_unassigned
from zhiban.notifications.watching import responsible_ids


async def tell_assignee(tx: Transaction, event: ConversationAssigned) -> None:
    """Somebody, or a policy or rule, gave an agent a conversation."""
    to = event.to_agent_id
    if to is None or event.inbox_id is None or (event.actor.kind, event.actor.id) == ("agent", to):
        return
    told = NewNotification(
        kind=NotificationKind.ASSIGNED,
        key=f"assigned-{event.id}",
        conversation_id=event.conversation_id,
        inbox_id=event.inbox_id,
        actor=event.actor,
    )
    await notify(tx, told, [to], now=event.at)


async def tell_of_lost_group(tx: Transaction, event: GroupMembersLeft) -> None:
    """Our account is out of a group in which people talked to us: whoever runs this has to know. Of those that are only
    seen there is nothing to mend."""
    if not event.ourselves or not await groups.has_messages(tx, event.conversation_id):
        return
    told = NewNotification(
        kind=NotificationKind.CONNECTION,
        # Once an hour for a group, whose owner may put us out and invite us as often as they like.
        key=f"group-left-{event.conversation_id}-{event.at:%Y%m%d%H}",
        conversation_id=event.conversation_id,
        inbox_id=event.inbox_id,
        actor=event.actor,
    )
    await notify(tx, told, await responsible_ids(tx), now=event.at)


async def settle_unassigned(tx: Transaction, event: ConversationAssigned | ConversationResolved) -> None:
    """What waited for anybody is somebody's now, or over."""
    match event:
        case ConversationAssigned():
            settled = event.assignee_id is None and event.to_agent_id is not None
        case ConversationResolved():
            settled = event.assignee_id is None and event.was_waiting_since is not None
    if settled:
        await read_unassigned(tx, event.conversation_id, now=event.at)


async def tell_mentioned(tx: Transaction, event: NoteAdded) -> None:
    """Somebody wrote the names of colleagues in a note; those who follow hear of every note."""
    if event.inbox_id is None:
        return
    following = [one for one in await follower_ids(tx, event.conversation_id) if one not in event.mentioned]
    if not event.mentioned and not following:
        return
    found = await messages_of(tx, [event.message_id])
    told = NewNotification(
        kind=NotificationKind.MENTIONED,
        key=f"mentioned-{event.message_id}",
        conversation_id=event.conversation_id,
        inbox_id=event.inbox_id,
        actor=event.actor,
        text=found[event.message_id].text,
    )
    await notify(tx, told, event.mentioned, now=event.at)
    await notify(tx, replace(told, kind=NotificationKind.FOLLOWED), following, now=event.at)


async def tell_followers_of_end(tx: Transaction, event: ConversationResolved) -> None:
    """Who follows a conversation hears when it is resolved."""
    following = await follower_ids(tx, event.conversation_id)
    if not following or event.inbox_id is None:
        return
    told = NewNotification(
        kind=NotificationKind.FOLLOWED,
        key=f"resolved-{event.id}",
        conversation_id=event.conversation_id,
        inbox_id=event.inbox_id,
        actor=event.actor,
    )
    await notify(tx, told, following, now=event.at)
