"""Contacts who call nobody any more, by hand: blocked, unblocked, and blocked by mistake."""

from __future__ import annotations

from datetime import datetime

from zhiban.conversations import transitions
from zhiban.conversations.changes import UndoResolve
from zhiban.conversations.merging import access_contact, check_sees_all
from zhiban.conversations.models import Status
from zhiban.conversations.queries import last_resolutions
from zhiban.conversations.service import UNDO_TIME, before_resolution, set_contact_blocked
from zhiban.conversations.transitions import Planned
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people.contacts import blocked_since
from zhiban.people.permissions import Access, Permission


async def block_contact(tx: Transaction, access: Access, contact_id: int, *, now: datetime) -> None:
    """What they write is kept and calls nobody; their conversations are resolved. Once more is nothing.

    Raises NotFound, and NotAllowed where some of their conversations are in inboxes that the agent does not see.
    """
    await _check(tx, access, contact_id)
    by = Actor("agent", access.agent_id)
    check_sees_all(access, await set_contact_blocked(tx, contact_id, blocked=True, by=by, now=now))


async def unblock_contact(tx: Transaction, access: Access, contact_id: int, *, now: datetime) -> None:
    """What they write calls somebody again; the status of their conversations stays. Raises as `block_contact`."""
    await _check(tx, access, contact_id)
    by = Actor("agent", access.agent_id)
    check_sees_all(access, await set_contact_blocked(tx, contact_id, blocked=False, by=by, now=now))


async def undo_block(tx: Transaction, access: Access, contact_id: int, *, now: datetime) -> None:
    """Everything as it was before this agent blocked them. Raises Conflict when it is too late, and as the others."""
    await _check(tx, access, contact_id)
    by = Actor("agent", access.agent_id)
    blocked_at = await blocked_since(tx, contact_id)
    if blocked_at is None or now - blocked_at > UNDO_TIME:
        raise Conflict(mark("It is too late to take that back; unblock the contact instead."))
    states = await set_contact_blocked(tx, contact_id, blocked=False, by=by, now=now)
    check_sees_all(access, states)
    resolutions = await last_resolutions(tx, [state.id for state in states])
    states = await transitions.lock_many(tx, [state.id for state in states])
    planned = [
        Planned(state, UndoResolve(before_resolution(resolutions[state.id], by=access.agent_id, now=now)), by)
        for state in states
        if state.status is Status.RESOLVED and state.id in resolutions and resolutions[state.id].at == blocked_at
    ]
    await transitions.apply_many(tx, planned, now=now)


async def _check(tx: Transaction, access: Access, contact_id: int) -> None:
    access.check(Permission.ANSWER)
    await access_contact(tx, access, contact_id)
