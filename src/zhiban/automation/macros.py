"""Macros: several actions that an agent lets happen at once, by hand, on one conversation or on many.

What a macro does goes through the verbs that the buttons call, in one transaction, by the agent who runs it. Where one
action cannot be done, nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg

from zhiban.automation.action_context import ActionContext, ActionOutcome
from zhiban.automation.actions import AnyMacroAction
from zhiban.automation.facts import RuleFacts
from zhiban.automation.field_names import check_field_names
from zhiban.automation.kept_files import check_files
from zhiban.automation.macro_definition import MacroDefinition, load_macro
from zhiban.conversations import transitions
from zhiban.conversations.changes import NoteMacro
from zhiban.conversations.facts import conversation_facts
from zhiban.conversations.models import Status
from zhiban.conversations.seen import Seen, check_heard
from zhiban.events import Actor, Cause, MacroAdded, MacroApplied, MacroChanged, MacroRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.ownership import clean_name, in_turn
from zhiban.ports import Limits

LONGEST_NAME = 40  # characters
MOST = 100  # that are shared, and as many of each agent

_COLUMNS = "select id, owner_id, name, actions, revision, changed_at from macro where removed_at is null"
_USES = """
select at, actor_id as agent_id, conversation_id from event
where kind = %(kind)s and (data ->> 'macro_id')::bigint = %(macro)s order by id desc limit %(limit)s"""


@frozen_dataclass
class MacroRow:
    """`owner_id`: the agent who alone sees it; None: everybody does. `revision` grows with every change."""

    id: int
    owner_id: int | None
    name: str
    actions: list[dict[str, Any]]
    revision: int
    changed_at: datetime


@frozen_dataclass
class MacroUse:
    """That an agent let it act."""

    at: datetime
    agent_id: int
    conversation_id: int


class MacroFailed(Conflict):
    """The action at `position` (from 0) could not be done, therefore none was; the sentence says why."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(why)
        self.position = position


async def macros(tx: Transaction, agent_id: int) -> list[MacroRow]:
    """Those that are everybody's, and those of this agent, by name."""
    return await tx.objects(
        MacroRow,
        _COLUMNS + " and (owner_id is null or owner_id = %(agent)s) order by lower(name), owner_id nulls last, id",
        agent=agent_id,
    )


async def access_macro(tx: Transaction, macro_id: int, *, agent_id: int) -> MacroRow:
    """One that this agent sees. Raises NotFound."""
    found = await tx.object(
        MacroRow,
        _COLUMNS + " and id = %(id)s and (owner_id is null or owner_id = %(agent)s)",
        id=macro_id,
        agent=agent_id,
    )
    if found is None:
        raise NotFound("There is no such macro.")
    return found


async def uses_of(tx: Transaction, macro_id: int, *, limit: int = 30) -> list[MacroUse]:
    """When it acted, the last time first."""
    return await tx.objects(MacroUse, _USES, kind=MacroApplied.kind(), macro=macro_id, limit=limit)


# ------------------------------------------------------------------------------------------------------------- keeping


async def add_macro(
    tx: Transaction, *, name: str, definition: MacroDefinition, owner_id: int | None, by: Actor, now: datetime
) -> int:
    """A new one, of an agent or of everybody. Returns its id. Raises Conflict."""
    name = clean_name(name, longest=LONGEST_NAME)
    await in_turn(tx, "macro")
    count = await tx.value(
        "select count(*) from macro where removed_at is null and owner_id is not distinct from %(owner)s",
        owner=owner_id,
    )
    if count >= MOST:
        raise Conflict(mark(f"There are {MOST} macros already; remove some first."))
    await _check_free(tx, name, owner_id)
    await check_files(tx, definition.actions, by=by)
    await check_field_names(tx, definition.actions)
    macro_id: int = await tx.value(
        "insert into macro (workspace_id, owner_id, name, actions, changed_at) "
        "values (%(workspace)s, %(owner)s, %(name)s, %(actions)s::jsonb, %(now)s) returning id",
        workspace=tx.workspace_id,
        owner=owner_id,
        name=name,
        actions=definition.to_json(),
        now=now,
    )
    await event_log.append(tx, MacroAdded(actor=by, at=now, macro_id=macro_id, name=name, owner_id=owner_id))
    return macro_id


async def change_macro(
    tx: Transaction,
    macro: MacroRow,
    *,
    name: str,
    definition: MacroDefinition,
    revision: int,
    by: Actor,
    now: datetime,
) -> None:
    """Another name, other actions; only if nobody changed it since `revision`. Raises Conflict."""
    name = clean_name(name, longest=LONGEST_NAME)
    await in_turn(tx, "macro")
    known, wanted = {"name": macro.name, "actions": macro.actions}, {"name": name, "actions": definition.plain()}
    changed = [key for key, value in wanted.items() if known[key] != value]
    if not changed and revision == macro.revision:
        return
    await _check_free(tx, name, macro.owner_id, besides=macro.id)
    await check_files(tx, definition.actions, by=by, before=macro.actions)
    if "actions" in changed:
        await check_field_names(tx, definition.actions)
    written = await tx.value(
        "update macro set name = %(name)s, actions = %(actions)s::jsonb, revision = revision + 1, changed_at = %(now)s "
        "where id = %(id)s and revision = %(revision)s and removed_at is null returning revision",
        id=macro.id,
        name=name,
        actions=definition.to_json(),
        revision=revision,
        now=now,
    )
    if written is None:
        raise Conflict("Somebody changed this macro meanwhile. Look at it again, and repeat your change.")
    before: dict[str, object] = {key: known[key] for key in changed}
    after: dict[str, object] = {key: wanted[key] for key in changed}
    await event_log.append(
        tx, MacroChanged(actor=by, at=now, macro_id=macro.id, revision=written, before=before, after=after)
    )


async def remove_macro(tx: Transaction, macro: MacroRow, *, by: Actor, now: datetime) -> None:
    """It is offered no more; what it did stays. Once more is nothing."""
    removed = await tx.run(
        "update macro set removed_at = %(now)s where id = %(id)s and removed_at is null", id=macro.id, now=now
    )
    if removed:
        await event_log.append(
            tx, MacroRemoved(actor=by, at=now, macro_id=macro.id, name=macro.name, owner_id=macro.owner_id)
        )


async def _check_free(tx: Transaction, name: str, owner_id: int | None, *, besides: int = 0) -> None:
    taken = await tx.value(
        "select 1 from macro where lower(name) = lower(%(name)s) and owner_id is not distinct from %(owner)s "
        "and removed_at is null and id <> %(id)s",
        name=name,
        owner=owner_id,
        id=besides,
    )
    if taken:
        raise Conflict(mark(f"There is a macro {name} already."))


# ------------------------------------------------------------------------------------------------------------- running


async def run_macro(
    tx: Transaction,
    macro: MacroRow,
    conversation_id: int,
    *,
    agent_id: int,
    limits_of: Callable[[str], Limits],
    key: str,
    now: datetime,
    seen: Seen | None = None,
) -> tuple[ActionOutcome, ...] | None:
    """Do what the macro says, all of it or nothing: whoever calls rolls back when this raises.

    The same `key` acts once, an empty one each time; None when it has acted already. Raises MacroFailed, BadDefinition,
    NotFound, and WroteMeanwhile where it would resolve what the contact wrote after what was `seen`.
    """
    definition = load_macro(macro.actions)
    before = await transitions.lock(tx, conversation_id)
    found = await conversation_facts(tx, conversation_id)
    if found is None:
        raise NotFound("There is no such conversation.")
    if key and await _has_acted(tx, conversation_id, key):
        return None
    actor, cause = Actor("agent", agent_id), Cause("macro", macro.id)
    await transitions.apply(
        tx, conversation_id, NoteMacro(macro.id, macro.name, key), actor=actor, now=now, cause=cause
    )
    facts, limits = RuleFacts(now, found), limits_of(found.channel)
    outcomes: list[ActionOutcome] = []
    for position, action in enumerate(definition.actions):
        context = ActionContext(
            tx=tx,
            facts=facts,
            limits=limits,
            actor=actor,
            cause=cause,
            name=macro.name,
            reason="macro",
            key=f"macro-{key}",
            run_id=None,
            position=position,
            now=now,
        )
        outcomes.append(await _do(action, context))
    if (await transitions.lock(tx, conversation_id)).status is Status.RESOLVED:
        await check_heard(tx, before, seen)
    return tuple(outcomes)


async def _has_acted(tx: Transaction, conversation_id: int, key: str) -> bool:
    return bool(
        await tx.value(
            "select 1 from event where conversation_id = %(id)s and kind = %(kind)s and data ->> 'key' = %(key)s",
            id=conversation_id,
            kind=MacroApplied.kind(),
            key=key,
        )
    )


async def _do(action: AnyMacroAction, context: ActionContext) -> ActionOutcome:
    try:
        return await action.run(context)
    except psycopg.errors.ForeignKeyViolation:
        raise MacroFailed(context.position, "What this action names is not there any more.") from None
    except ZhibanError as error:
        raise MacroFailed(context.position, error.sentence) from error
