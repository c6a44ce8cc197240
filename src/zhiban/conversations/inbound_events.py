"""What happened besides messages: recalls, failures, people entering, sessions and accounts changing hands."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Literal, assert_never

from zhiban.channels.connections import OpenInbox, ensure_inbox
from zhiban.channels.inboxes import archive_accounts
from zhiban.conversations import contact_follows, groups, service, transitions, work_state
from zhiban.conversations.changes import ChangeNativeSession, EnterChat, Open, Resolve
from zhiban.conversations.group_reading import read_later
from zhiban.conversations.models import PROGRAMS, Author, ConversationState, Status
from zhiban.conversations.outbox import enqueue
from zhiban.conversations.queries import is_recorded
from zhiban.conversations.quotes import message_called
from zhiban.conversations.threads import match_or_create
from zhiban.conversations.topics import CONVERSATION_WAITING
from zhiban.events import (
    SYSTEM,
    AccountsAssigned,
    Actor,
    CardActionReceived,
    MessageDelivered,
    MessageFailed,
    MessageRecalled,
    VendorEventReceived,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.people.agents import agent_with_account
from zhiban.people.contacts import ensure_contacts, learn_profiles
from zhiban.people.permissions import access_of_agent
from zhiban.ports import (
    AccountsChanged,
    CardTapped,
    ContactChanged,
    ContactFollowChanged,
    Entered,
    GroupChanged,
    GroupStale,
    Incoming,
    IncomingMessage,
    Limits,
    MembersJoined,
    MembersLeft,
    NativeState,
    Recalled,
    Receipt,
    SenderRole,
    SendFailed,
    SessionChanged,
    UnknownVendorEvent,
)

TAKEN = mark("已接入")
DONE = mark("已处理")
NOT_YOURS = mark("请在工作台接入")


async def apply(tx: Transaction, inbox: OpenInbox, item: Incoming, *, now: datetime) -> None:
    """Store one thing that happened. Messages are not taken in here."""
    match item:
        case IncomingMessage():
            return
        case Recalled() | SendFailed() | Receipt():
            await _message_changed(tx, inbox, item, now=now)
        case Entered():
            await _entered(tx, inbox, item, now=now)
        case SessionChanged():
            await _session_changed(tx, inbox, item, now=now)
        case ContactFollowChanged():
            await contact_follows.changed(tx, inbox.connection, item, now=now)
        case CardTapped():
            await _card_tapped(tx, inbox, item, now=now)
        case AccountsChanged():
            await _accounts_changed(tx, inbox, item)
        case ContactChanged():
            await _contact_changed(tx, inbox, item, now=now)
        case GroupChanged() | MembersJoined() | MembersLeft():
            await groups.take_in(tx, inbox, item, now=now)
        case GroupStale():
            await read_later(tx, inbox.inbox_id, item.thread, now=now)
        case UnknownVendorEvent():
            await event_log.append(
                tx,
                VendorEventReceived(
                    actor=SYSTEM,
                    at=item.happened_at,
                    name=clean(item.kind)[:80],
                    inbox_id=inbox.inbox_id,
                    content=dict(item.content),
                ),
            )
        case never:
            assert_never(never)


async def _message_changed(
    tx: Transaction, inbox: OpenInbox, item: Recalled | SendFailed | Receipt, *, now: datetime
) -> None:
    match item:
        case Recalled():
            await _recalled(tx, inbox, item)
        case SendFailed():
            await _send_failed(tx, inbox, item, now=now)
        case Receipt():
            await _receipt(tx, inbox, item)
        case never:
            assert_never(never)


async def _contact_changed(tx: Transaction, inbox: OpenInbox, item: ContactChanged, *, now: datetime) -> None:
    kind, account = inbox.connection.vendor.namespace(inbox.kind)
    await ensure_contacts(tx, kind, account, [item.profile.external_id], now=now)
    await learn_profiles(tx, kind, account, [item.profile], now=now)


async def _receipt(tx: Transaction, inbox: OpenInbox, item: Receipt) -> None:
    """Later news of the same kind is no news; a message that failed before stays failed."""
    column = "delivered_at" if item.status == "delivered" else "read_at"
    found = await _lock_of(tx, inbox, item.external_id)
    if found is None:
        return
    state, known = found
    message_id = await tx.value(
        f"update message set {column} = %(at)s where id = %(id)s and direction = 'out' and state = 'sent' "
        f"and {column} is null returning id",
        at=item.happened_at,
        id=known,
    )
    if message_id is None:
        return
    receipt: Literal["delivered", "read"] = "delivered" if item.status == "delivered" else "read"
    await event_log.append(
        tx,
        MessageDelivered(
            actor=Actor("contact", state.contact_id),
            at=item.happened_at,
            receipt=receipt,
            message_id=message_id,
            **state.about(),
        ),
    )


async def _recalled(tx: Transaction, inbox: OpenInbox, item: Recalled) -> None:
    found = await _lock_of(tx, inbox, item.external_id)
    if found is None:
        return
    state, known = found
    row = await tx.row(
        "update message set recalled_at = %(at)s, state = case when state = 'pending' then 'handled' else state end "
        "where id = %(id)s and recalled_at is null returning id, sender_contact_id",
        at=item.happened_at,
        id=known,
    )
    if row is None:
        return
    message_id, sender = row
    actor = (
        Actor("contact", sender if state.is_group else state.contact_id)
        if item.role is SenderRole.CONTACT
        else Actor("servicer")
    )
    await event_log.append(
        tx, MessageRecalled(actor=actor, at=item.happened_at, message_id=message_id, **state.about())
    )
    await work_state.bump(tx, state.id)
    tx.publish_after_commit(CONVERSATION_WAITING, state.id)


async def _send_failed(tx: Transaction, inbox: OpenInbox, item: SendFailed, *, now: datetime) -> None:
    """The vendor took a message and could not deliver it. May come before the answer to our call was read."""
    found = await _lock_of(tx, inbox, item.external_id)
    if found is None:
        return
    state, known = found
    row = await tx.row(
        "update message set state = 'failed', failure = %(reason)s, failure_code = %(code)s "
        "where id = %(id)s and direction = 'out' and state <> 'failed' returning id, author",
        reason=item.reason,
        code=item.code,
        id=known,
    )
    if row is None:
        return
    message_id, author = row
    await event_log.append(
        tx,
        MessageFailed(
            actor=SYSTEM,
            at=item.happened_at,
            reason=item.reason,
            code=item.code,
            message_id=message_id,
            **state.about(),
        ),
    )
    state = await groups.note_refused(tx, state, item.reason, now=now)
    if author in PROGRAMS and state.status is Status.PENDING:
        await service.hand_off(tx, state.id, reason="reply_failed", actor=SYSTEM, now=now)


async def _lock_of(tx: Transaction, inbox: OpenInbox, external_id: str) -> tuple[ConversationState, int] | None:
    """The message that the vendor knows by this id, and its conversation.

    That is locked before the message as every verb does, so that no two wait in a ring.
    """
    found = await message_called(tx, inbox.inbox_id, external_id)
    if found is None:
        return None
    conversation_id, message_id = found
    return await transitions.lock(tx, conversation_id), message_id


async def _entered(tx: Transaction, inbox: OpenInbox, item: Entered, *, now: datetime) -> None:
    # They have said nothing: nobody has to do anything yet.
    matched = await match_or_create(tx, inbox, [item.thread], quiet=[item.thread], now=now)
    conversation = matched[item.thread]
    event_id = _short(item.event_id)
    if event_id is not None and await is_recorded(tx, conversation.state.id, event_id):
        return
    change = EnterChat(_short(item.scene), _short(item.scene_param), event_id)
    contact = Actor("contact", conversation.state.contact_id)
    applied = await transitions.apply_to(tx, conversation.state, change, actor=contact, now=now)
    expires = item.happened_at + timedelta(seconds=inbox.channel.limits.event_reply_seconds)
    silent = conversation.blocked or applied.state.muted
    if item.welcome_code and inbox.settings.welcome and now < expires and not silent:
        await _say_on_code(
            tx,
            applied.state,
            "w",
            item.welcome_code,
            inbox.settings.welcome,
            expires,
            limits=inbox.channel.limits,
            now=now,
        )


async def _say_on_code(
    tx: Transaction,
    state: ConversationState,
    prefix: str,
    code: str,
    text: str,
    expires: datetime,
    *,
    limits: Limits,
    now: datetime,
) -> None:
    """Queue the one message that an event's code allows."""
    await enqueue(
        tx,
        state,
        author=Author.ASSISTANT,
        actor=Actor("assistant"),
        text=text,
        key=prefix + hashlib.sha256(code.encode()).hexdigest()[:28],
        limits=limits,
        now=now,
        content={"code": code, "expires": expires.isoformat()},
        most=1,
    )


async def _session_changed(tx: Transaction, inbox: OpenInbox, item: SessionChanged, *, now: datetime) -> None:
    matched = await match_or_create(tx, inbox, [item.thread], now=now)
    state = matched[item.thread].state
    event_id = _short(item.event_id)
    if event_id is not None and await is_recorded(tx, state.id, event_id):
        return
    servicer = Actor("servicer", ref=item.servicer)
    change = ChangeNativeSession(item.state, item.servicer, item.previous_servicer, event_id)
    applied = await transitions.apply_to(tx, state, change, actor=servicer, now=now)
    if item.state in (NativeState.HUMAN, NativeState.POOL):
        await transitions.apply_to(tx, applied.state, Open("native"), actor=servicer, now=now)
    elif item.state is NativeState.ENDED:
        ended = await transitions.apply_to(tx, applied.state, Resolve("native"), actor=servicer, now=now)
        expires = item.happened_at + timedelta(seconds=inbox.channel.limits.event_reply_seconds)
        if item.reply_code and inbox.settings.closing and now < expires:
            await _say_on_code(
                tx,
                ended.state,
                "e",
                item.reply_code,
                inbox.settings.closing,
                expires,
                limits=inbox.channel.limits,
                now=now,
            )


async def _card_tapped(tx: Transaction, inbox: OpenInbox, item: CardTapped, *, now: datetime) -> None:
    agent_id = await agent_with_account(tx, inbox.connection.vendor_name, item.member)
    verb, _, number = item.key.partition(":")
    wanted = int(number) if verb == "take" and number.isdecimal() and len(number) < 19 else None
    known = await transitions.lock_many(tx, [wanted]) if wanted is not None else []
    state = known[0] if known else None
    # A card can be tapped for three days; by then others may have finished.
    access = await access_of_agent(tx, agent_id) if agent_id is not None else None
    answers = access is not None and state is not None and access.answers(state.inbox_id)
    done = answers and state is not None and state.status is Status.RESOLVED
    # What a colleague has meanwhile is taken from them at the desk, where one sees that they have it.
    takes = answers and not done and state is not None and state.assignee_id in (None, agent_id)
    await event_log.append(
        tx,
        CardActionReceived(
            actor=Actor("agent", agent_id, item.member) if agent_id is not None else Actor("servicer", ref=item.member),
            at=item.happened_at,
            action=clean(item.key)[:80],
            inbox_id=inbox.inbox_id,
            conversation_id=state.id if state else None,
            update_code=item.reply_code,
            label=TAKEN if takes else DONE if done else NOT_YOURS,
            member=None if takes or done else item.member,
        ),
    )
    if takes and agent_id is not None and state is not None:
        await service.take(tx, state.id, by=agent_id, now=now)


async def _accounts_changed(tx: Transaction, inbox: OpenInbox, item: AccountsChanged) -> None:
    connection = inbox.connection
    for external_id in item.added:
        account = connection.vendor.account(external_id)
        await ensure_inbox(tx, connection.id, account.kind, account.external_id, account.name, now=item.happened_at)
    if item.removed:
        await archive_accounts(tx, connection.id, item.removed, now=item.happened_at)
    await event_log.append(
        tx,
        AccountsAssigned(
            actor=SYSTEM, at=item.happened_at, connection_id=connection.id, added=item.added, removed=item.removed
        ),
    )


def _short(text: str | None) -> str | None:
    return None if text is None else clean(text)[:300]
