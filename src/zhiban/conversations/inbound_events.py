"""What happened besides messages: recalls, failures, people entering, sessions and accounts changing hands."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import assert_never

from zhiban.channels.connections import Place, ensure_inbox
from zhiban.conversations import contact_follows as relations
from zhiban.conversations.models import Author, Status
from zhiban.conversations.outbox import queue
from zhiban.conversations.service import hand_off, hold, open_by_hand, open_for_people, resolve
from zhiban.conversations.threads import beginnings, find_or_make
from zhiban.events import (
    SYSTEM,
    AccountsAssigned,
    Actor,
    CardAnswered,
    ContactEntered,
    MessageFailed,
    MessageRecalled,
    SessionMoved,
    VendorNoted,
)
from zhiban.kit.db import Work
from zhiban.kit.event_log import LANE, record
from zhiban.kit.jobs import later
from zhiban.kit.json_safe import storable_json
from zhiban.kit.text import clean
from zhiban.ports import (
    AccountsChanged,
    CardTapped,
    Entered,
    Incoming,
    IncomingMessage,
    NativeState,
    Noted,
    Recalled,
    RelationChanged,
    Role,
    SendFailed,
    SessionChanged,
)

WELCOME_SECONDS = 20  # WeCom: how long a welcome or closing code lives


async def happened(work: Work, place: Place, item: Incoming, *, now: datetime) -> None:
    """Store one happening. Messages are not taken in here."""
    match item:
        case IncomingMessage():
            return
        case Recalled():
            await _recalled(work, place, item)
        case SendFailed():
            await _send_failed(work, place, item, now=now)
        case Entered():
            await _entered(work, place, item, now=now)
        case SessionChanged():
            await _session_changed(work, place, item, now=now)
        case RelationChanged():
            await relations.changed(work, place.link, item, now=now)
        case CardTapped():
            await _card_tapped(work, place, item, now=now)
        case AccountsChanged():
            await _accounts_changed(work, place, item)
        case Noted():
            await record(
                work,
                VendorNoted(
                    actor=SYSTEM,
                    at=item.happened_at,
                    cause=clean(item.kind)[:80],
                    inbox_id=place.inbox_id,
                    after=json.loads(storable_json(item.content)),
                ),
            )
        case never:
            assert_never(never)


async def _recalled(work: Work, place: Place, item: Recalled) -> None:
    row = await work.row(
        "update message set recalled_at = %(at)s, state = case when state = 'pending' then 'handled' else state end "
        "where inbox_id = %(inbox)s and external_id = %(external)s and recalled_at is null "
        "returning id, conversation_id",
        at=item.happened_at,
        inbox=place.inbox_id,
        external=item.external_id,
    )
    if row is None:
        return
    message_id, conversation_id = row
    actor = Actor("contact") if item.role is Role.CONTACT else Actor("servicer")
    await record(
        work,
        MessageRecalled(actor=actor, at=item.happened_at, conversation_id=conversation_id, message_id=message_id),
    )
    await work.run("update conversation set rings = rings + 1 where id = %(id)s", id=conversation_id)
    work.touch(LANE, conversation_id)


async def _send_failed(work: Work, place: Place, item: SendFailed, *, now: datetime) -> None:
    """The vendor took a message and could not deliver it. May come before the answer to our call was read."""
    row = await work.row(
        "update message set state = 'failed', failure = %(reason)s, failure_code = %(code)s "
        "where inbox_id = %(inbox)s and external_id = %(external)s and direction = 'out' and state <> 'failed' "
        "returning id, conversation_id, author, (select status from conversation c "
        "where c.workspace_id = message.workspace_id and c.id = message.conversation_id)",
        reason=item.reason,
        code=item.code,
        inbox=place.inbox_id,
        external=item.external_id,
    )
    if row is None:
        return
    message_id, conversation_id, author, status = row
    await record(
        work,
        MessageFailed(
            actor=SYSTEM, at=item.happened_at, cause=item.reason, conversation_id=conversation_id, message_id=message_id
        ),
    )
    if author == Author.ASSISTANT and status == Status.PENDING:
        await hand_off(work, conversation_id, reason="reply_failed", actor=SYSTEM, now=now)


async def _entered(work: Work, place: Place, item: Entered, *, now: datetime) -> None:
    talks = await find_or_make(work, place, [item.thread], now=now)
    talk = talks[item.thread]
    if await _known(work, talk.id, item.event_id):
        return
    await record(
        work,
        *beginnings(place, talks.values(), now=now),
        ContactEntered(
            actor=Actor("contact", talk.contact_id),
            at=item.happened_at,
            conversation_id=talk.id,
            contact_id=talk.contact_id,
            inbox_id=place.inbox_id,
            after={
                "scene": _short(item.scene),
                "scene_param": _short(item.scene_param),
                "event_id": _short(item.event_id),
            },
        ),
    )
    if talk.fresh:
        # They opened the chat and have said nothing: nobody has to do anything yet.
        await work.run("update conversation set status = 'resolved' where id = %(id)s", id=talk.id)
    expires = item.happened_at + timedelta(seconds=WELCOME_SECONDS)
    if item.welcome_code and place.manners.welcome and now < expires and not talk.blocked:
        await queue(
            work,
            talk.id,
            author=Author.ASSISTANT,
            actor=Actor("assistant"),
            text=place.manners.welcome,
            key="w" + hashlib.sha256(item.welcome_code.encode()).hexdigest()[:28],
            now=now,
            content={"code": item.welcome_code, "expires": expires.isoformat()},
            most=1,
        )


async def _session_changed(work: Work, place: Place, item: SessionChanged, *, now: datetime) -> None:
    talks = await find_or_make(work, place, [item.thread], now=now)
    held = await hold(work, talks[item.thread].id)
    if await _known(work, held.id, item.event_id):
        return
    await work.run(
        "update conversation set native_state = %(state)s, native_servicer = %(servicer)s where id = %(id)s",
        state=item.state,
        servicer=item.servicer,
        id=held.id,
    )
    servicer = Actor("servicer")
    await record(
        work,
        *beginnings(place, talks.values(), now=now),
        SessionMoved(
            actor=servicer,
            at=item.happened_at,
            conversation_id=held.id,
            contact_id=held.contact_id,
            inbox_id=place.inbox_id,
            before={"state": held.native_state, "servicer": item.previous_servicer},
            after={"state": item.state, "servicer": item.servicer, "event_id": _short(item.event_id)},
        ),
    )
    if item.state in (NativeState.HUMAN, NativeState.POOL):
        await open_for_people(work, held, actor=servicer, now=now, cause="native")
    elif item.state is NativeState.ENDED:
        await resolve(work, held.id, by=servicer, now=now, cause="native", closing="")
        expires = item.happened_at + timedelta(seconds=WELCOME_SECONDS)
        if item.reply_code and place.manners.closing and now < expires:
            await queue(
                work,
                held.id,
                author=Author.ASSISTANT,
                actor=Actor("assistant"),
                text=place.manners.closing,
                key="e" + hashlib.sha256(item.reply_code.encode()).hexdigest()[:28],
                now=now,
                content={"code": item.reply_code, "expires": expires.isoformat()},
                most=1,
            )


async def _card_tapped(work: Work, place: Place, item: CardTapped, *, now: datetime) -> None:
    agent_id = await work.value(
        "select id from agent where wecom_userid = %(member)s and disabled_at is null", member=item.member
    )
    verb, _, number = item.key.partition(":")
    conversation_id = int(number) if verb == "take" and number.isdecimal() and len(number) < 19 else None
    status = conversation_id and await work.value(
        "select status from conversation where id = %(id)s", id=conversation_id
    )
    # A card can be tapped for three days; by then others may have finished.
    takes = bool(agent_id and status and status != Status.RESOLVED)
    await record(
        work,
        CardAnswered(
            actor=Actor("agent", agent_id) if agent_id else Actor("servicer"),
            at=item.happened_at,
            cause=clean(item.key)[:80],
            conversation_id=conversation_id if status else None,
            inbox_id=place.inbox_id,
        ),
    )
    if takes and agent_id and conversation_id is not None:
        await open_by_hand(work, conversation_id, by=agent_id, now=now)
    if item.reply_code:
        await later(
            work,
            "update_card",
            inbox_id=place.inbox_id,
            code=item.reply_code,
            label="已接入" if takes else "已处理" if agent_id and status else "请在工作台接入",
        )


async def _accounts_changed(work: Work, place: Place, item: AccountsChanged) -> None:
    vendor = place.link.vendor
    for external_id in item.added:
        account = vendor.account(external_id)
        await ensure_inbox(work, place.link.id, account.kind, account.external_id, account.name)
    if item.removed:
        await work.run(
            "update inbox set archived_at = %(now)s where connection_id = %(connection)s "
            "and external_id = any(%(removed)s::text[])",
            now=item.happened_at,
            connection=place.link.id,
            removed=list(item.removed),
        )
    await record(
        work,
        AccountsAssigned(actor=SYSTEM, at=item.happened_at, after={"added": item.added, "removed": item.removed}),
    )


async def _known(work: Work, conversation_id: int, event_id: str | None) -> bool:
    """Whether this event is in the log: a cursor that was lost or restored brings old ones again."""
    return event_id is not None and bool(
        await work.value(
            "select 1 from event where conversation_id = %(id)s and after ->> 'event_id' = %(event)s limit 1",
            id=conversation_id,
            event=_short(event_id),
        )
    )


def _short(text: str | None) -> str | None:
    return None if text is None else clean(text)[:300]
