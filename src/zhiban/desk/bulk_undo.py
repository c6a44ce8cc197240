"""How what was done to several conversations of the list at once is offered to be undone, and read again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from zhiban.conversations.bulk import BulkResult, change_many
from zhiban.conversations.bulk_undo import (
    ASSISTANT,
    NOBODY,
    has_holder,
    holder_of,
    undo_assignments,
    undo_priorities,
    undo_resolutions,
    undo_snoozes,
    undo_teams,
)
from zhiban.conversations.changes import ChangeLabels
from zhiban.conversations.labels import access_label
from zhiban.conversations.models import Priority
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access

UNDO = "undo-"
NO_TEAM = "none"
_PRIORITIES = {str(int(one)): one for one in Priority}

Chunk = Callable[[Transaction, Sequence[int]], Awaitable[BulkResult]]


def undoing(do: str, to: str, result: BulkResult) -> dict[str, str] | None:
    """What is posted to undo it, of those that were changed; None where nothing is left to be undone."""
    changed = result.before
    was: Mapping[int, str] = {}
    match do:
        case "resolve" | "snooze" | "label" | "unlabel":
            pass
        case "assign":
            changed = tuple(one for one in changed if has_holder(one))
            was = {one.id: holder_of(one) for one in changed}
        case "team":
            was = {one.id: str(one.team_id or NO_TEAM) for one in changed}
        case "priority":
            was = {one.id: str(int(one.priority)) for one in changed}
        case _:
            return None
    if not changed:
        return None
    said = {"do": UNDO + do, "ids": ",".join(str(id_) for id_ in sorted(one.id for one in changed))}
    if do not in ("resolve", "snooze"):
        said["to"] = to
    if was:
        said["was"] = ",".join(f"{id_}:{value}" for id_, value in sorted(was.items()))
    return said


@frozen_dataclass
class BulkUndo:
    """What is to be undone: what was done, to whom or which, and what each was before."""

    did: str
    to: str
    was: Mapping[int, str]

    @classmethod
    def parse(cls, do: str, to: str, was: str) -> BulkUndo | None:
        """None where nothing is to be undone."""
        if not do.startswith(UNDO):
            return None
        pairs = (one.partition(":") for one in was.split(","))
        return cls(do.removeprefix(UNDO), to, {int(id_): value for id_, _, value in pairs if _is_id(id_)})

    async def chunk(self, tx: Transaction, access: Access, now: datetime) -> Chunk:
        """How it is undone. Raises Conflict where nothing of that kind is, NotFound where the label is gone."""
        match self.did:
            case "resolve":
                return lambda tx, ids: undo_resolutions(tx, access, ids, now=now)
            case "snooze":
                return lambda tx, ids: undo_snoozes(tx, access, ids, now=now)
            case "label" | "unlabel" if _is_id(self.to):
                label = frozenset({(await access_label(tx, int(self.to))).id})
                back = ChangeLabels(remove=label) if self.did == "label" else ChangeLabels(add=label)
                return lambda tx, ids: change_many(tx, access, ids, back, now=now)
            case "assign":
                return lambda tx, ids: undo_assignments(tx, access, self._holders(ids), given=self.to, now=now)
            case "team":
                return lambda tx, ids: undo_teams(tx, access, self._teams(ids), given=_team(self.to), now=now)
            case "priority" if self.to in _PRIORITIES:
                given = _PRIORITIES[self.to]
                return lambda tx, ids: undo_priorities(tx, access, self._priorities(ids), given=given, now=now)
        raise Conflict("There is no such action.")

    def _holders(self, ids: Sequence[int]) -> dict[int, str]:
        known = {id_: self.was.get(id_, "") for id_ in ids}
        return {id_: one for id_, one in known.items() if one in (ASSISTANT, NOBODY) or _is_id(one)}

    def _teams(self, ids: Sequence[int]) -> dict[int, int | None]:
        known = {id_: self.was.get(id_, "") for id_ in ids}
        return {id_: _team(one) for id_, one in known.items() if one == NO_TEAM or _is_id(one)}

    def _priorities(self, ids: Sequence[int]) -> dict[int, Priority]:
        known = {id_: self.was.get(id_, "") for id_ in ids}
        return {id_: _PRIORITIES[one] for id_, one in known.items() if one in _PRIORITIES}


def _is_id(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) < 19


def _team(text: str) -> int | None:
    return int(text) if _is_id(text) else None
