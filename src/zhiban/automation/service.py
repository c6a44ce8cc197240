"""The verbs about rules. Each takes a transaction and never commits; the rules of all processes are read anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from zhiban.automation import topics
from zhiban.automation.definition import Definition, RuleInFile, load_definition
from zhiban.automation.field_names import check_field_names
from zhiban.automation.kept_files import check_files
from zhiban.automation.models import RuleRow
from zhiban.automation.queries import access_rule, rules
from zhiban.events import DIRECT, Actor, Cause, RuleAdded, RuleChanged, RuleRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict

MOST_RULES = 200
NAME_LENGTH = 80

_ADD = """
insert into rule (workspace_id, position, name, enabled, stops, definition, shipped, created_at, changed_at, changed_by,
  enabled_at)
select %(workspace)s, coalesce(max(position), 0) + 1, %(name)s, %(enabled)s, %(stops)s, %(definition)s::jsonb,
  %(shipped)s, %(now)s, %(now)s, %(by)s, case when %(enabled)s then %(now)s::timestamptz end
from rule where removed_at is null
returning id"""

_WRITE = """
update rule set name = %(name)s, enabled = %(enabled)s, stops = %(stops)s, definition = %(definition)s::jsonb,
  revision = revision + 1, changed_at = %(now)s, changed_by = %(by)s,
  enabled_at = case when not %(enabled)s then null when enabled then enabled_at else %(now)s end
where id = %(id)s and revision = %(revision)s and removed_at is null returning revision"""


async def add(
    tx: Transaction,
    *,
    name: str,
    definition: Definition,
    by: Actor,
    now: datetime,
    stops: bool = False,
    enabled: bool = False,
    shipped: str | None = None,
) -> int:
    """A new rule, after all others. It is off unless said otherwise. Returns its id. Raises Conflict."""
    name = _named(name)
    if await tx.value("select count(*) from rule where removed_at is null") >= MOST_RULES:
        raise Conflict(f"There are {MOST_RULES} rules already; more would slow every message down.")
    await check_files(tx, definition.actions, by=by)
    await check_field_names(tx, (definition.conditions, *definition.actions))
    rule_id: int = await tx.value(
        _ADD,
        workspace=tx.workspace_id,
        name=name,
        enabled=enabled,
        stops=stops,
        definition=definition.to_json(),
        shipped=shipped,
        now=now,
        by=_agent(by),
    )
    await _record(tx, RuleAdded(actor=by, at=now, rule_id=rule_id, name=name, enabled=enabled))
    return rule_id


async def change(
    tx: Transaction,
    rule_id: int,
    *,
    by: Actor,
    now: datetime,
    name: str | None = None,
    definition: Definition | None = None,
    stops: bool | None = None,
    enabled: bool | None = None,
    revision: int | None = None,
    cause: Cause = DIRECT,
) -> RuleRow:
    """Change what is given; the rest stays. With `revision`, only if nobody changed it since then.

    Returns the rule as it is now. Raises NotFound, Conflict.
    """
    before = await access_rule(tx, rule_id)
    if revision is not None and revision != before.revision:
        raise Conflict("Somebody changed this rule meanwhile. Look at it again, and repeat your change.")
    wanted: dict[str, Any] = {
        "name": before.name if name is None else _named(name),
        "enabled": before.enabled if enabled is None else enabled,
        "stops": before.stops if stops is None else stops,
        "definition": (load_definition(before.definition) if definition is None else definition).plain(),
    }
    known = {"name": before.name, "enabled": before.enabled, "stops": before.stops, "definition": before.definition}
    changed = [key for key, value in wanted.items() if known[key] != value]
    if not changed:
        return before
    if definition is not None and "definition" in changed:
        await check_field_names(tx, (definition.conditions, *definition.actions))
    if definition is not None:
        await check_files(tx, definition.actions, by=by, before=before.definition.get("actions", ()))
    written = await tx.value(
        _WRITE,
        id=rule_id,
        revision=before.revision,
        name=wanted["name"],
        enabled=wanted["enabled"],
        stops=wanted["stops"],
        definition=load_definition(wanted["definition"]).to_json(),
        now=now,
        by=_agent(by),
    )
    if written is None:
        raise Conflict("Somebody changed this rule meanwhile. Look at it again, and repeat your change.")
    await _record(
        tx,
        RuleChanged(
            actor=by,
            at=now,
            cause=cause,
            rule_id=rule_id,
            revision=written,
            before={key: known[key] for key in changed},
            after={key: wanted[key] for key in changed},
        ),
    )
    return await access_rule(tx, rule_id)


async def adopt(tx: Transaction, wanted: Sequence[RuleInFile], *, by: Actor, now: datetime) -> tuple[int, int]:
    """Take over the rules of a file: those of a known name are changed, the others added after all others.

    Returns how many were added and how many changed. Raises Conflict, also where a name stands twice.
    """
    known = {one.name: one for one in await rules(tx)}
    if len({_named(one.name) for one in wanted}) < len(wanted):
        raise Conflict("Two rules of the file have the same name.")
    added = changed = 0
    for one in wanted:
        there = known.get(_named(one.name))
        if there is None:
            await add(
                tx, name=one.name, definition=one.definition, enabled=one.enabled, stops=one.stops, by=by, now=now
            )
            added += 1
            continue
        after = await change(
            tx, there.id, definition=one.definition, enabled=one.enabled, stops=one.stops, by=by, now=now
        )
        changed += after.revision != there.revision
    return added, changed


async def switch(tx: Transaction, rule_id: int, *, on: bool, by: Actor, now: datetime) -> RuleRow:
    """Let the rule work, or rest. Raises NotFound."""
    return await change(tx, rule_id, enabled=on, by=by, now=now)


async def order(tx: Transaction, ids: Sequence[int], *, by: Actor, now: datetime) -> None:
    """Ask the rules in this order. Raises Conflict where it does not name every rule once."""
    there = await rules(tx)
    if sorted(ids) != sorted(one.id for one in there):
        raise Conflict("The rules changed meanwhile. Look at them again, and move them once more.")
    places = {id_: place for place, id_ in enumerate(ids, 1)}
    moved = [one for one in there if places[one.id] != one.position]
    if not moved:
        return
    await tx.run(
        "update rule set position = t.place from unnest(%(ids)s::bigint[]) with ordinality as t(id, place) "
        "where rule.id = t.id",
        ids=list(ids),
    )
    await _record(
        tx,
        *(
            RuleChanged(
                actor=by,
                at=now,
                rule_id=one.id,
                revision=one.revision,
                before={"position": one.position},
                after={"position": places[one.id]},
            )
            for one in moved
        ),
    )


async def move(tx: Transaction, rule_id: int, *, up: bool, by: Actor, now: datetime) -> None:
    """One place up or down; at the end it stays where it is. Raises NotFound."""
    ids = [one.id for one in await rules(tx)]
    await access_rule(tx, rule_id)
    at = ids.index(rule_id)
    to = max(at - 1, 0) if up else min(at + 1, len(ids) - 1)
    ids.insert(to, ids.pop(at))
    await order(tx, ids, by=by, now=now)


async def remove(tx: Transaction, rule_id: int, *, by: Actor, now: datetime) -> None:
    """Nobody sees or asks the rule any more; its runs stay. Raises NotFound."""
    rule = await access_rule(tx, rule_id)
    await tx.run("update rule set removed_at = %(now)s, enabled = false where id = %(id)s", id=rule_id, now=now)
    await tx.run("delete from rule_delay where rule_id = %(id)s", id=rule_id)
    await _record(tx, RuleRemoved(actor=by, at=now, rule_id=rule_id, name=rule.name))


async def forget_runs(tx: Transaction, *, before: datetime, limit: int) -> int:
    """Delete the oldest records of what rules did before then."""
    return await tx.run(
        "delete from rule_run using (select id as old from rule_run order by id limit %(limit)s) r "
        "where id = r.old and at < %(before)s",
        before=before,
        limit=limit,
    )


async def count_runs(tx: Transaction, *, before: datetime, most: int) -> int:
    """How many of them are older than that; `most` stands for that many or more."""
    return int(
        await tx.value(
            "select count(*) from (select at from rule_run order by id limit %(most)s) r where at < %(before)s",
            before=before,
            most=most,
        )
    )


def _named(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > NAME_LENGTH:
        raise Conflict(f"A rule has a name of at most {NAME_LENGTH} characters.")
    return name


def _agent(by: Actor) -> int | None:
    return by.id if by.kind == "agent" else None


async def _record(tx: Transaction, *events: RuleAdded | RuleChanged | RuleRemoved) -> None:
    await event_log.append(tx, *events)
    for event in events:
        tx.publish_after_commit(topics.RULES_CHANGED, event.rule_id)
