"""The verbs about flows. Each takes a transaction and never commits.

What a flow asks is kept in versions: a run goes on with the one with which it began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from zhiban.automation.flow_definition import FlowDefinition, FlowInFile, load_flow
from zhiban.automation.flow_queries import FlowRow, access_flow, flows
from zhiban.events import Actor, FlowAdded, FlowChanged, FlowRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people.ownership import clean_name, in_turn

LONGEST_NAME = 40  # characters
MOST = 100

_ADD = """
insert into flow (workspace_id, name, enabled, definition, created_at, changed_at, changed_by)
values (%(workspace)s, %(name)s, %(enabled)s, %(definition)s::jsonb, %(now)s, %(now)s, %(by)s) returning id"""

_WRITE = """
update flow set name = %(name)s, enabled = %(enabled)s, definition = %(definition)s::jsonb, revision = revision + 1,
  changed_at = %(now)s, changed_by = %(by)s
where id = %(id)s and revision = %(revision)s and removed_at is null returning revision"""

_KEEP = """
insert into flow_version (workspace_id, flow_id, revision, definition)
select workspace_id, id, revision, definition from flow where id = %(id)s"""


async def add_flow(
    tx: Transaction, *, name: str, definition: FlowDefinition, by: Actor, now: datetime, enabled: bool = False
) -> int:
    """A new one, off unless said otherwise. Returns its id. Raises Conflict."""
    name = clean_name(name, longest=LONGEST_NAME)
    await in_turn(tx, "flow")
    if await tx.value("select count(*) from flow where removed_at is null") >= MOST:
        raise Conflict(mark(f"There are {MOST} flows already; remove some first."))
    await _check_free(tx, name)
    flow_id: int = await tx.value(
        _ADD,
        workspace=tx.workspace_id,
        name=name,
        enabled=enabled,
        definition=definition.to_json(),
        now=now,
        by=_agent(by),
    )
    await tx.run(_KEEP, id=flow_id)
    await event_log.append(tx, FlowAdded(actor=by, at=now, flow_id=flow_id, name=name, enabled=enabled))
    return flow_id


async def change_flow(
    tx: Transaction,
    flow_id: int,
    *,
    by: Actor,
    now: datetime,
    name: str | None = None,
    definition: FlowDefinition | None = None,
    enabled: bool | None = None,
    revision: int | None = None,
) -> FlowRow:
    """Change what is given; the rest stays. With `revision`, only if nobody changed it since then.

    What has begun goes on as it began. Returns the flow as it is now. Raises NotFound, Conflict.
    """
    await in_turn(tx, "flow")
    before = await access_flow(tx, flow_id)
    if revision is not None and revision != before.revision:
        raise Conflict("Somebody changed this flow meanwhile. Look at it again, and repeat your change.")
    known: dict[str, Any] = {"name": before.name, "enabled": before.enabled, "definition": before.definition}
    wanted: dict[str, Any] = {
        "name": before.name if name is None else clean_name(name, longest=LONGEST_NAME),
        "enabled": before.enabled if enabled is None else enabled,
        "definition": before.definition if definition is None else definition.plain(),
    }
    changed = [key for key, value in wanted.items() if known[key] != value]
    if not changed:
        return before
    await _check_free(tx, wanted["name"], besides=flow_id)
    written: int = await tx.value(
        _WRITE,
        id=flow_id,
        revision=before.revision,
        name=wanted["name"],
        enabled=wanted["enabled"],
        definition=load_flow(wanted["definition"]).to_json(),
        now=now,
        by=_agent(by),
    )
    await tx.run(_KEEP, id=flow_id)
    await event_log.append(
        tx,
        FlowChanged(
            actor=by,
            at=now,
            flow_id=flow_id,
            name=wanted["name"],
            revision=written,
            before={key: known[key] for key in changed},
            after={key: wanted[key] for key in changed},
        ),
    )
    return await access_flow(tx, flow_id)


async def remove_flow(tx: Transaction, flow_id: int, *, by: Actor, now: datetime) -> None:
    """Nobody may start it any more, and whom it is talking to is handed over next time. Raises NotFound."""
    await in_turn(tx, "flow")
    flow = await access_flow(tx, flow_id)
    await tx.run("update flow set removed_at = %(now)s, enabled = false where id = %(id)s", id=flow_id, now=now)
    await event_log.append(tx, FlowRemoved(actor=by, at=now, flow_id=flow_id, name=flow.name))


async def adopt_flows(tx: Transaction, wanted: Sequence[FlowInFile], *, by: Actor, now: datetime) -> tuple[int, int]:
    """Take over the flows of a file: those of a known name are changed, the others added.

    Returns how many were added and how many changed. Raises Conflict, also where a name stands twice.
    """
    known = {one.name.lower(): one for one in await flows(tx)}
    if len({clean_name(one.name, longest=LONGEST_NAME).lower() for one in wanted}) < len(wanted):
        raise Conflict(mark("Two flows of the file have the same name."))
    added = changed = 0
    for one in wanted:
        there = known.get(clean_name(one.name, longest=LONGEST_NAME).lower())
        if there is None:
            await add_flow(tx, name=one.name, definition=one.definition, enabled=one.enabled, by=by, now=now)
            added += 1
            continue
        after = await change_flow(tx, there.id, definition=one.definition, enabled=one.enabled, by=by, now=now)
        changed += after.revision != there.revision
    return added, changed


async def forget_answers_in(tx: Transaction, until: Mapping[int, datetime]) -> int:
    """Delete what was answered in conversations whose messages go, up to a moment in each. What runs, stays."""
    return await tx.run(
        "delete from flow_run r using unnest(%(ids)s::bigint[], %(until)s::timestamptz[]) as u(id, until) "
        "where r.conversation_id = u.id and r.conversation_id = any(%(ids)s::bigint[]) and r.ended_at < u.until",
        ids=list(until),
        until=list(until.values()),
    )


async def _check_free(tx: Transaction, name: str, *, besides: int = 0) -> None:
    taken = await tx.value(
        "select 1 from flow where lower(name) = lower(%(name)s) and removed_at is null and id <> %(id)s",
        name=name,
        id=besides,
    )
    if taken:
        raise Conflict(mark(f"There is a flow {name} already."))


def _agent(by: Actor) -> int | None:
    return by.id if by.kind == "agent" else None
