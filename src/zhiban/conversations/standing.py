"""How things stand at this moment: what is open, with whom, and who waits longest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access


@frozen_dataclass
class Hands:
    """What is open with one agent, or with nobody: how many contacts wait for a reply, the longest since when."""

    open: int = 0
    waiting: int = 0
    waiting_since: datetime | None = None


@frozen_dataclass
class DeskStanding:
    """What is open, by assignee (None: nobody), and how much is put off."""

    by_assignee: Mapping[int | None, Hands]
    snoozed: int

    @property
    def open(self) -> int:
        return sum(hands.open for hands in self.by_assignee.values())

    @property
    def waiting(self) -> int:
        return sum(hands.waiting for hands in self.by_assignee.values())

    @property
    def waiting_since(self) -> datetime | None:
        return min((hands.waiting_since for hands in self.by_assignee.values() if hands.waiting_since), default=None)

    def of(self, assignee_id: int | None) -> Hands:
        return self.by_assignee.get(assignee_id, Hands())


async def standing(
    tx: Transaction,
    access: Access,
    *,
    inbox_id: int | None = None,
    team_id: int | None = None,
    agent_id: int | None = None,
    label_id: int | None = None,
) -> DeskStanding:
    """How things stand in what this agent sees, narrowed to one inbox, team, assignee or label."""
    columns = {"inbox_id": inbox_id, "team_id": team_id, "assignee_id": agent_id}
    narrowed = "".join(f" and c.{name} = %({name})s" for name, value in columns.items() if value is not None)
    narrowed += "" if label_id is None else " and %(label)s = any(c.labels)"
    narrowed += access.condition("c.inbox_id")
    rows = await tx.rows(
        "select c.assignee_id, count(*), count(c.waiting_since), min(c.waiting_since) from conversation c "
        f"where c.status = 'open'{narrowed} group by 1",
        label=label_id,
        **columns,
        **access.params,
    )
    snoozed = await tx.value(
        f"select count(*) from conversation c where c.status = 'snoozed'{narrowed}",
        label=label_id,
        **columns,
        **access.params,
    )
    return DeskStanding({assignee: Hands(open_, waiting, since) for assignee, open_, waiting, since in rows}, snoozed)
