"""What happened besides messages: recalls, failures, people entering, sessions and accounts changing hands."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import assert_never

from zhiban.channels.connections import OpenInbox, ensure_inbox
from zhiban.conversations import contact_follows as relations
from zhiban.conversations.models import Author, Status
from zhiban.conversations.outbox import enqueue
from zhiban.conversations.service import hand_off, lock_conversation, open_by_hand, open_for_people, resolve
from zhiban.conversations.threads import created_events, match_or_create
from zhiban.events import (
    SYSTEM,
    AccountsAssigned,
    Actor,
    CardActionReceived,
    ContactEntered,
    MessageFailed,
    MessageRecalled,
    NativeSessionChanged,
    VendorEventReceived,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.event_log import CONVERSATION_CHANGED, CONVERSATION_WAITING
from zhiban.kit.jobs import later
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean
from zhiban.people.agents import agent_with_account
from zhiban.people.contacts import ensure_contacts, learn_profiles
from zhiban.ports import (
    AccountsChanged,
    CardTapped,
    ContactChanged,
    Entered,
    Incoming,
    IncomingMessage,
    NativeState,
    Recalled,
    Receipt,
    RelationChanged,
    SenderRole,
    SendFailed,
    SessionChanged,
    UnknownVendorEvent,
)


async def apply(tx: Transaction, inbox: OpenInbox, item: Incoming, *, now: datetime) -> None:
    """Store one happening. Messages are not taken in here."""
    match item:
        case IncomingMessage():
            return
        case Recalled():
            await _recalled(tx, inbox, item)
        case SendFailed():
            await _send_failed(tx, inbox, item, now=now)
        case Entered():
            await _entered(tx, inbox, item, now=now)
        case SessionChanged():
            await _session_changed(tx, inbox, item, now=now)
        case RelationChanged():
            await relations.changed(tx, inbox.connection, item, now=now)
        case CardTapped():
            await _card_tapped(tx, inbox, item, now=now)
        case AccountsChanged():
            await _accounts_changed(tx, inbox, item)
        case ContactChanged():
            await _contact_changed(tx, inbox, item, now=now)
        case Receipt():
            await _receipt(tx, inbox, item)
        case UnknownVendorEvent():
            await event_log.append(
                tx,
                VendorEventReceived(
                    actor=SYSTEM,
                    at=item.happened_at,
                    cause=clean(item.kind)[:80],
                    inbox_id=inbox.inbox_id,
                    after=json.loads(json_safe(item.content)),
                ),
            )
        case never:
            assert_never(never)


async def _contact_changed(tx: Transaction, inbox: OpenInbox, item: ContactChanged, *, now: datetime) -> None:
    kind, account = inbox.connection.vendor.namespace(inbox.kind)
    await ensure_contacts(tx, kind, account, [item.profile.external_id], now=now)
    await learn_profiles(tx, kind, account, [item.profile], now=now)


async def _receipt(tx: Transaction, inbox: OpenInbox, item: Receipt) -> None:
    """Later news of the same kind is no news; a message that failed before stays failed."""
    column = "delivered_at" if item.status == "delivered" else "read_at"
    conversation_id = await tx.value(
        f"update message set {column} = %(at)s where inbox_id = %(inbox)s and external_id = %(external)s "
        f"and direction = 'out' and state = 'sent' and {column} is null returning conversation_id",
        at=item.happened_at,
        inbox=inbox.inbox_id,
        external=item.external_id,
    )
    if conversation_id is not None:
        tx.publish_after_commit(CONVERSATION_CHANGED, conversation_id)


async def _recalled(tx: Transaction, inbox: OpenInbox, item: Recalled) -> None:
    row = await tx.row(
        "update message set recalled_at = %(at)s, state = case when state = 'pending' then 'handled' else state end "
        "where inbox_id = %(inbox)s and external_id = %(external)s and recalled_at is null "
        "returning id, conversation_id",
        at=item.happened_at,
        inbox=inbox.inbox_id,
        external=item.external_id,
    )
    if row is None:
        return
    message_id, conversation_id = row
    actor = Actor("contact") if item.role is SenderRole.CONTACT else Actor("servicer")
    await event_log.append(
        tx,
        MessageRecalled(actor=actor, at=item.happened_at, conversation_id=conversation_id, message_id=message_id),
    )
    await tx.run("update conversation set rings = rings + 1 where id = %(id)s", id=conversation_id)
    tx.publish_after_commit(CONVERSATION_WAITING, conversation_id)


async def _send_failed(tx: Transaction, inbox: OpenInbox, item: SendFailed, *, now: datetime) -> None:
    """The vendor took a message and could not deliver it. May come before the answer to our call was read."""
    row = await tx.row(
        "update message set state = 'failed', failure = %(reason)s, failure_code = %(code)s "
        "where inbox_id = %(inbox)s and external_id = %(external)s and direction = 'out' and state <> 'failed' "
        "returning id, conversation_id, author, (select status from conversation c "
        "where c.workspace_id = message.workspace_id and c.id = message.conversation_id)",
        reason=item.reason,
        code=item.code,
        inbox=inbox.inbox_id,
        external=item.external_id,
    )
    if row is None:
        return
    message_id, conversation_id, author, status = row
    await event_log.append(
        tx,
        MessageFailed(
            actor=SYSTEM, at=item.happened_at, cause=item.reason, conversation_id=conversation_id, message_id=message_id
        ),
    )
    if author == Author.ASSISTANT and status == Status.PENDING:
        await hand_off(tx, conversation_id, reason="reply_failed", actor=SYSTEM, now=now)


async def _entered(tx: Transaction, inbox: OpenInbox, item: Entered, *, now: datetime) -> None:
    conversations_by_thread = await match_or_create(tx, inbox, [item.thread], now=now)
    conversation = conversations_by_thread[item.thread]
    if await _known(tx, conversation.id, item.event_id):
        return
    await event_log.append(
        tx,
        *created_events(inbox, conversations_by_thread.values(), now=now),
        ContactEntered(
            actor=Actor("contact", conversation.contact_id),
            at=item.happened_at,
            conversation_id=conversation.id,
            contact_id=conversation.contact_id,
            inbox_id=inbox.inbox_id,
            after={
                "scene": _short(item.scene),
                "scene_param": _short(item.scene_param),
                "event_id": _short(item.event_id),
            },
        ),
    )
    if conversation.fresh:
        # They opened the chat and have said nothing: nobody has to do anything yet.
        await tx.run("update conversation set status = 'resolved' where id = %(id)s", id=conversation.id)
    expires = item.happened_at + timedelta(seconds=inbox.channel.limits.event_reply_seconds)
    if item.welcome_code and inbox.settings.welcome and now < expires and not conversation.blocked:
        await enqueue(
            tx,
            conversation.id,
            author=Author.ASSISTANT,
            actor=Actor("assistant"),
            text=inbox.settings.welcome,
            key="w" + hashlib.sha256(item.welcome_code.encode()).hexdigest()[:28],
            now=now,
            content={"code": item.welcome_code, "expires": expires.isoformat()},
            most=1,
        )


async def _session_changed(tx: Transaction, inbox: OpenInbox, item: SessionChanged, *, now: datetime) -> None:
    conversations_by_thread = await match_or_create(tx, inbox, [item.thread], now=now)
    locked = await lock_conversation(tx, conversations_by_thread[item.thread].id)
    if await _known(tx, locked.id, item.event_id):
        return
    await tx.run(
        "update conversation set native_state = %(state)s, native_servicer = %(servicer)s where id = %(id)s",
        state=item.state,
        servicer=item.servicer,
        id=locked.id,
    )
    servicer = Actor("servicer")
    await event_log.append(
        tx,
        *created_events(inbox, conversations_by_thread.values(), now=now),
        NativeSessionChanged(
            actor=servicer,
            at=item.happened_at,
            conversation_id=locked.id,
            contact_id=locked.contact_id,
            inbox_id=inbox.inbox_id,
            before={"state": locked.native_state, "servicer": item.previous_servicer},
            after={"state": item.state, "servicer": item.servicer, "event_id": _short(item.event_id)},
        ),
    )
    if item.state in (NativeState.HUMAN, NativeState.POOL):
        await open_for_people(tx, locked, actor=servicer, now=now, cause="native")
    elif item.state is NativeState.ENDED:
        await resolve(tx, locked.id, by=servicer, now=now, cause="native", closing="")
        expires = item.happened_at + timedelta(seconds=inbox.channel.limits.event_reply_seconds)
        if item.reply_code and inbox.settings.closing and now < expires:
            await enqueue(
                tx,
                locked.id,
                author=Author.ASSISTANT,
                actor=Actor("assistant"),
                text=inbox.settings.closing,
                key="e" + hashlib.sha256(item.reply_code.encode()).hexdigest()[:28],
                now=now,
                content={"code": item.reply_code, "expires": expires.isoformat()},
                most=1,
            )


async def _card_tapped(tx: Transaction, inbox: OpenInbox, item: CardTapped, *, now: datetime) -> None:
    agent_id = await agent_with_account(tx, inbox.connection.vendor_name, item.member)
    verb, _, number = item.key.partition(":")
    conversation_id = int(number) if verb == "take" and number.isdecimal() and len(number) < 19 else None
    status = conversation_id and await tx.value("select status from conversation where id = %(id)s", id=conversation_id)
    # A card can be tapped for three days; by then others may have finished.
    takes = bool(agent_id and status and status != Status.RESOLVED)
    await event_log.append(
        tx,
        CardActionReceived(
            actor=Actor("agent", agent_id) if agent_id else Actor("servicer"),
            at=item.happened_at,
            cause=clean(item.key)[:80],
            conversation_id=conversation_id if status else None,
            inbox_id=inbox.inbox_id,
        ),
    )
    if takes and agent_id and conversation_id is not None:
        await open_by_hand(tx, conversation_id, by=agent_id, now=now)
    if item.reply_code:
        await later(
            tx,
            "update_card",
            inbox_id=inbox.inbox_id,
            code=item.reply_code,
            label="已接入" if takes else "已处理" if agent_id and status else "请在工作台接入",
        )


async def _accounts_changed(tx: Transaction, inbox: OpenInbox, item: AccountsChanged) -> None:
    vendor = inbox.connection.vendor
    for external_id in item.added:
        account = vendor.account(external_id)
        await ensure_inbox(tx, inbox.connection.id, account.kind, account.external_id, account.name)
    if item.removed:
        await tx.run(
            "update inbox set archived_at = %(now)s where connection_id = %(connection)s "
            "and external_id = any(%(removed)s::text[])",
            now=item.happened_at,
            connection=inbox.connection.id,
            removed=list(item.removed),
        )
    await event_log.append(
        tx,
        AccountsAssigned(actor=SYSTEM, at=item.happened_at, after={"added": item.added, "removed": item.removed}),
    )


async def _known(tx: Transaction, conversation_id: int, event_id: str | None) -> bool:
    """Whether this event is in the log: a cursor that was lost or restored brings old ones again."""
    return event_id is not None and bool(
        await tx.value(
            "select 1 from event where conversation_id = %(id)s and after ->> 'event_id' = %(event)s limit 1",
            id=conversation_id,
            event=_short(event_id),
        )
    )


def _short(text: str | None) -> str | None:
    return None if text is None else clean(text)[:300]
