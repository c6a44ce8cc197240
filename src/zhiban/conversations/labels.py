"""The labels of a workspace. Who bears them is decided by `service.change_labels`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from zhiban.events import Actor, LabelAdded, LabelChanged, LabelRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

COLORS = (1, 2, 3, 4, 5, 6)  # places in the palette of the pages
LONGEST = 30  # characters of a name
MOST = 200  # labels of a workspace; more would be no order


@frozen_dataclass
class Label:
    id: int
    name: str
    color: int


async def labels(tx: Transaction) -> tuple[Label, ...]:
    """Every label in use, by name."""
    return tuple(
        await tx.objects(Label, "select id, name, color from label where removed_at is null order by lower(name), id")
    )


async def label_names(tx: Transaction) -> Mapping[int, str]:
    """What each label is or was called, the removed ones too: facts of the past name them by id."""
    return {int(id_): str(name) for id_, name in await tx.rows("select id, name from label")}


async def access_label(tx: Transaction, label_id: int) -> Label:
    """Raises NotFound, also for one that was removed."""
    found = await tx.object(
        Label, "select id, name, color from label where id = %(id)s and removed_at is null", id=label_id
    )
    if found is None:
        raise NotFound("There is no such label.")
    return found


async def check_labels(tx: Transaction, ids: Collection[int]) -> None:
    """Raises NotFound where one of them is not there, or was removed."""
    known = await tx.value(
        "select count(*) from label where id = any(%(ids)s::bigint[]) and removed_at is null", ids=list(ids)
    )
    if known < len(set(ids)):
        raise NotFound("There is no such label any more.")


async def still_there(tx: Transaction, ids: Collection[int]) -> frozenset[int]:
    """Those of these labels that exist and were not removed."""
    found = await tx.values(
        "select id from label where id = any(%(ids)s::bigint[]) and removed_at is null", ids=list(ids)
    )
    return frozenset(found)


async def add_label(tx: Transaction, *, name: str, color: int, by: Actor, now: datetime) -> int:
    """A new label. Raises Conflict."""
    name = _name(name)
    await _in_turn(tx)
    if await tx.value("select count(*) from label where removed_at is null") >= MOST:
        raise Conflict(mark(f"There are {MOST} labels already; remove some first."))
    await _free(tx, name)
    label_id = int(
        await tx.value(
            "insert into label (workspace_id, name, color) values (%(w)s, %(name)s, %(color)s) returning id",
            w=tx.workspace_id,
            name=name,
            color=_color(color),
        )
    )
    await event_log.append(tx, LabelAdded(actor=by, at=now, label_id=label_id, name=name))
    return label_id


async def change_label(tx: Transaction, label_id: int, *, name: str, color: int, by: Actor, now: datetime) -> None:
    """Another name or colour; whoever bears it keeps it. Raises NotFound, Conflict."""
    name = _name(name)
    await _in_turn(tx)
    old = await access_label(tx, label_id)
    if (name, color) == (old.name, old.color):
        return
    await _free(tx, name, besides=label_id)
    await tx.run(
        "update label set name = %(name)s, color = %(color)s where id = %(id)s",
        id=label_id,
        name=name,
        color=_color(color),
    )
    before, after = {"name": old.name, "color": old.color}, {"name": name, "color": color}
    await event_log.append(tx, LabelChanged(actor=by, at=now, label_id=label_id, before=before, after=after))


async def remove_label(tx: Transaction, label_id: int, *, by: Actor, now: datetime) -> None:
    """It is offered and shown no more; what reports count by it stays. Raises NotFound."""
    await _in_turn(tx)
    old = await access_label(tx, label_id)
    await tx.run("update label set removed_at = %(now)s where id = %(id)s", id=label_id, now=now)
    await event_log.append(tx, LabelRemoved(actor=by, at=now, label_id=label_id, name=old.name))


async def _in_turn(tx: Transaction) -> None:
    """Two who change labels at once do so one after the other, so that the second reads what the first wrote."""
    await tx.value("select pg_advisory_xact_lock(hashtextextended('label', %(w)s))", w=tx.workspace_id)


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise Conflict(mark("A label needs a name."))
    if len(name) > LONGEST:
        raise Conflict(mark(f"A label's name has at most {LONGEST} characters."))
    if not name.isprintable():
        raise Conflict(mark("A label's name has visible characters only."))
    return name


def _color(color: int) -> int:
    if color not in COLORS:
        raise Conflict(mark("There is no such colour."))
    return color


async def _free(tx: Transaction, name: str, *, besides: int = 0) -> None:
    taken = await tx.value(
        "select 1 from label where lower(name) = lower(%(name)s) and removed_at is null and id <> %(id)s",
        name=name,
        id=besides,
    )
    if taken:
        raise Conflict(mark(f"There is a label {name} already."))
