"""The verbs about what agents want to be told of, and by which ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from zhiban.events import Actor, NotificationSettingsChanged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.json_safe import json_safe
from zhiban.notifications.models import (
    DEFAULT_WAYS,
    LONGEST_WAITING,
    NotificationKind,
    NotificationSettings,
    Way,
)
from zhiban.notifications.service import TRIES_EVERY


async def choose(
    tx: Transaction,
    agent_id: int,
    *,
    ways: Mapping[NotificationKind, Sequence[Way]],
    address: str,
    waiting_minutes: int,
    now: datetime,
) -> None:
    """How this agent, who decides it themselves, is told from now on. Raises Conflict."""
    if not 1 <= waiting_minutes <= LONGEST_WAITING:
        raise Conflict("The time to wait is between 1 minute and 24 hours.")
    if not address and any(Way.PERSONAL in chosen for chosen in ways.values()):
        raise Conflict("Say first how you are reached without the desk.")
    await tx.run("select 1 from notification_setting where agent_id = %(agent)s for update", agent=agent_id)
    before = await settings_of(tx, agent_id)
    await tx.run(
        "insert into notification_setting (workspace_id, agent_id, ways, address, waiting_minutes) "
        "values (%(workspace)s, %(agent)s, %(ways)s::jsonb, %(address)s, %(minutes)s) "
        "on conflict (workspace_id, agent_id) do update set ways = excluded.ways, address = excluded.address, "
        "waiting_minutes = excluded.waiting_minutes, trouble = ''",
        workspace=tx.workspace_id,
        agent=agent_id,
        ways=json_safe({kind: list(dict.fromkeys(ways.get(kind, ()))) for kind in NotificationKind}),
        address=address,
        minutes=waiting_minutes,
    )
    after = await settings_of(tx, agent_id)
    if changed := _changed(before, after):
        me = Actor("agent", agent_id)
        await event_log.append(tx, NotificationSettingsChanged(actor=me, at=now, agent_id=agent_id, changed=changed))


def _changed(
    before: NotificationSettings, after: NotificationSettings
) -> tuple[Literal["ways", "address", "waiting_minutes"], ...]:
    changed: list[Literal["ways", "address", "waiting_minutes"]] = []
    if any(set(before.ways[kind]) != set(after.ways[kind]) for kind in NotificationKind):
        changed.append("ways")
    if before.address != after.address:
        changed.append("address")
    if before.waiting_minutes != after.waiting_minutes:
        changed.append("waiting_minutes")
    return tuple(changed)


async def note_trial(tx: Transaction, agent_id: int, *, now: datetime) -> None:
    """The agent has a word sent to where they are reached. Raises Conflict within TRIES_EVERY of the last one."""
    noted = await tx.run(
        "update notification_setting set tried_at = %(now)s "
        "where agent_id = %(agent)s and (tried_at is null or tried_at <= %(before)s)",
        agent=agent_id,
        now=now,
        before=now - TRIES_EVERY,
    )
    if not noted:
        raise Conflict("One trial a minute is enough.")


async def settings_of(tx: Transaction, agent_id: int) -> NotificationSettings:
    """What this agent chose, or what is usual."""
    row = await tx.row(
        "select ways, address, waiting_minutes, trouble from notification_setting where agent_id = %(agent)s",
        agent=agent_id,
    )
    if row is None:
        return NotificationSettings(DEFAULT_WAYS)
    chosen, address, minutes, trouble = row
    ways = {
        kind: tuple(Way(one) for one in chosen[kind]) if kind in chosen else DEFAULT_WAYS[kind]
        for kind in NotificationKind
    }
    return NotificationSettings(ways, address, minutes, trouble)


async def note_reached(tx: Transaction, agent_id: int, address: str, *, trouble: str) -> None:
    """The address took a word, or, with `trouble`, did not and will not: the agent sees it where they chose it."""
    await tx.run(
        "update notification_setting set trouble = %(trouble)s "
        "where agent_id = %(agent)s and address = %(address)s and trouble <> %(trouble)s",
        agent=agent_id,
        address=address,
        trouble=trouble,
    )
