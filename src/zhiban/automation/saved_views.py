"""Saved views: conditions over conversations, in the words and the editor of rules, that become a list of the desk.

Only conditions of the conversation itself can be asked of a list: what they say is SQL over its row, and a list looks
through so many rows at most. The status is left to the tabs above the list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, TypeAdapter, ValidationError

from zhiban.automation.condition_fields import Bind, WordList, check_wanted, value_of, value_sql
from zhiban.automation.contact_label_conditions import ContactLabelCondition
from zhiban.automation.definition import BadDefinition, bad_definition, check_texts
from zhiban.automation.facts import RuleFacts
from zhiban.automation.field_names import check_field_names
from zhiban.automation.message_conditions import ContactAttributeCondition
from zhiban.automation.operators import text_holds
from zhiban.automation.parts import GroupPart, RulePart, rule_part
from zhiban.automation.state_conditions import (
    AssigneeCondition,
    AttributeCondition,
    ChannelCondition,
    InboxCondition,
    LabelCondition,
    PriorityCondition,
    ReturningCondition,
    TeamCondition,
    WaitingCondition,
)
from zhiban.automation.wording import RuleWording
from zhiban.conversations.list_models import ListFilter
from zhiban.events import Actor, SavedViewAdded, SavedViewChanged, SavedViewRemoved
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.people.ownership import clean_name, in_turn

LONGEST_NAME = 30  # characters
MOST = 20  # that are shared, and as many of each agent: each is counted with every look at the desk
DEEPEST = 3  # groups inside each other


@rule_part
class AssignedToMeCondition(RulePart):
    """Whoever looks has it."""

    kind: Literal["assigned_to_me"] = "assigned_to_me"

    def sql(self, bind: Bind) -> str:  # noqa: ARG002 - every list names who looks
        return "c.assignee_id = %(agent)s"

    def label(self, words: RuleWording) -> str:
        return words.texts("由我处理")


@rule_part
class ContactNamedCondition(RulePart):
    """What the contact is called, without the patterns that rules may ask for: no index limits what they cost."""

    operator: Literal["equal", "not_equal", "contains", "not_contains", "starts_with", "present", "not_present"] = (
        "contains"
    )
    values: WordList = ()
    kind: Literal["contact_name"] = "contact_name"

    def __post_init__(self) -> None:
        check_wanted(self.operator, self.values)

    def holds(self, facts: RuleFacts) -> bool:
        return text_holds(self.operator, self.values, facts.contact.name)

    def sql(self, bind: Bind) -> str:
        shown, compared = f"coalesce({NAME_SHOWN}, '')", "coalesce(p.plain_name, '')"
        return value_sql(self.operator, shown, self.values, bind, plain_value=compared)

    def label(self, words: RuleWording) -> str:
        return value_of(words, self.operator, words.texts("联系人的名字"), self.values)


NAME_SHOWN = "coalesce(nullif(p.remark, ''), p.name)"  # of the contact `p` whom the row of a list is with

SingleViewCondition = (
    AssignedToMeCondition
    | AssigneeCondition
    | TeamCondition
    | LabelCondition
    | ContactLabelCondition
    | PriorityCondition
    | WaitingCondition
    | ReturningCondition
    | AttributeCondition
    | InboxCondition
    | ChannelCondition
    | ContactNamedCondition
    | ContactAttributeCondition
)
VIEW_CONDITIONS: dict[str, type[SingleViewCondition]] = {
    one.__dataclass_fields__["kind"].default: one for one in get_args(SingleViewCondition)
}


@rule_part
class ViewGroup(GroupPart):
    """All or any of its parts, as they are shown."""

    match: Literal["all", "any"] = "all"
    conditions: Annotated[tuple[ViewCondition, ...], Field(max_length=20)] = ()
    kind: Literal["group"] = "group"

    def sql(self, bind: Bind) -> str:
        """SQL over `conversation c`; a group without parts holds."""
        parts = [one.sql(bind) for one in self.conditions]
        return f"({(' and ' if self.match == 'all' else ' or ').join(parts)})" if parts else "true"


ViewCondition = Annotated[SingleViewCondition | ViewGroup, Discriminator("kind")]


@cache
def _adapter() -> TypeAdapter[ViewGroup]:
    return TypeAdapter(ViewGroup)


def load_view(values: Mapping[str, Any]) -> ViewGroup:
    """The conditions that plain values describe. Raises BadDefinition."""
    try:
        found = _adapter().validate_python(values)
    except ValidationError as error:
        raise bad_definition(error, "conditions") from None
    check_texts(values)
    if not found.conditions:
        raise BadDefinition("conditions: A view has at least one condition.", ("conditions",))
    if found.depth() > DEEPEST:
        raise BadDefinition(f"Groups of conditions may stand {DEEPEST} deep in each other.")
    return found


@frozen_dataclass
class SavedView:
    """`owner_id`: the agent who alone sees it; None: everybody does."""

    id: int
    owner_id: int | None
    name: str
    conditions: dict[str, Any]
    changed_at: datetime

    def filter(self) -> ListFilter:
        """As a list takes it. Raises BadDefinition where this version knows a condition of it no more."""
        params: dict[str, object] = {}

        def bind(value: object) -> str:
            name = f"view_{self.id}_{len(params)}"
            params[name] = value
            return f"%({name})s"

        condition = load_view(self.conditions).sql(bind)
        return ListFilter(self.id, self.name, condition, params)


_COLUMNS = "select id, owner_id, name, conditions, changed_at from saved_view where removed_at is null"
_SEEN = " and (owner_id is null or owner_id = %(agent)s)"


async def saved_views(tx: Transaction, agent_id: int) -> list[SavedView]:
    """Those that are everybody's, and those of this agent, by name."""
    return await tx.objects(
        SavedView, _COLUMNS + _SEEN + " order by lower(name), owner_id nulls last, id", agent=agent_id
    )


LONGEST_FILTER = 2000  # characters in an address


def written_filter(conditions: ViewGroup) -> str:
    """Conditions that nobody saves, for an address. Raises Conflict where they are too long for one."""
    text = _adapter().dump_json(conditions).decode()
    if len(text) > LONGEST_FILTER:
        raise Conflict(mark("These conditions are too long to be looked at without saving them."))
    return text


def read_filter(text: str) -> dict[str, Any]:
    """What `written_filter` wrote. Raises BadDefinition."""
    try:
        found = json.loads(text) if len(text) <= LONGEST_FILTER else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadDefinition("conditions: This is no filter.", ("conditions",))
    return found


def unsaved_filter(text: str) -> ListFilter:
    """As a list takes it, under the id 0. Raises BadDefinition."""
    return SavedView(0, None, "", read_filter(text), datetime.min.replace(tzinfo=UTC)).filter()


async def list_filters(tx: Transaction, agent_id: int) -> tuple[ListFilter, ...]:
    """The views of an agent as lists take them; one that cannot be read is left out."""
    found = []
    for view in await saved_views(tx, agent_id):
        try:
            found.append(view.filter())
        except BadDefinition:
            continue
    return tuple(found)


async def access_view(tx: Transaction, view_id: int, *, agent_id: int) -> SavedView:
    """One that this agent sees. Raises NotFound."""
    found = await tx.object(SavedView, _COLUMNS + _SEEN + " and id = %(id)s", id=view_id, agent=agent_id)
    if found is None:
        raise NotFound("There is no such view.")
    return found


async def add_view(
    tx: Transaction, *, name: str, conditions: ViewGroup, owner_id: int | None, by: Actor, now: datetime
) -> int:
    """A new one, of an agent or of everybody. Returns its id. Raises Conflict."""
    name = clean_name(name, longest=LONGEST_NAME)
    await in_turn(tx, "saved_view")
    count = await tx.value(
        "select count(*) from saved_view where removed_at is null and owner_id is not distinct from %(owner)s",
        owner=owner_id,
    )
    if count >= MOST:
        raise Conflict(mark(f"There are {MOST} views already; remove some first."))
    await _check_free(tx, name, owner_id)
    await check_field_names(tx, (conditions,))
    view_id: int = await tx.value(
        "insert into saved_view (workspace_id, owner_id, name, conditions, changed_at) "
        "values (%(workspace)s, %(owner)s, %(name)s, %(conditions)s::jsonb, %(now)s) returning id",
        workspace=tx.workspace_id,
        owner=owner_id,
        name=name,
        conditions=_adapter().dump_json(conditions).decode(),
        now=now,
    )
    await event_log.append(tx, SavedViewAdded(actor=by, at=now, view_id=view_id, name=name, owner_id=owner_id))
    return view_id


async def change_view(
    tx: Transaction, view: SavedView, *, name: str, conditions: ViewGroup, by: Actor, now: datetime
) -> None:
    """Another name, other conditions. Raises Conflict, and NotFound when it is gone meanwhile."""
    name = clean_name(name, longest=LONGEST_NAME)
    await in_turn(tx, "saved_view")
    plain = _adapter().dump_python(conditions, mode="json")
    known, wanted = {"name": view.name, "conditions": view.conditions}, {"name": name, "conditions": plain}
    changed = [key for key, value in wanted.items() if known[key] != value]
    if not changed:
        return
    await _check_free(tx, name, view.owner_id, besides=view.id)
    if "conditions" in changed:
        await check_field_names(tx, (conditions,))
    written = await tx.run(
        "update saved_view set name = %(name)s, conditions = %(conditions)s::jsonb, changed_at = %(now)s "
        "where id = %(id)s and removed_at is null",
        id=view.id,
        name=name,
        conditions=_adapter().dump_json(conditions).decode(),
        now=now,
    )
    if not written:
        raise NotFound("There is no such view.")
    before: dict[str, object] = {key: known[key] for key in changed}
    after: dict[str, object] = {key: wanted[key] for key in changed}
    await event_log.append(tx, SavedViewChanged(actor=by, at=now, view_id=view.id, before=before, after=after))


async def remove_view(tx: Transaction, view: SavedView, *, by: Actor, now: datetime) -> None:
    """It is offered no more. Once more is nothing."""
    removed = await tx.run(
        "update saved_view set removed_at = %(now)s where id = %(id)s and removed_at is null", id=view.id, now=now
    )
    if removed:
        fact = SavedViewRemoved(actor=by, at=now, view_id=view.id, name=view.name, owner_id=view.owner_id)
        await event_log.append(tx, fact)


async def _check_free(tx: Transaction, name: str, owner_id: int | None, *, besides: int = 0) -> None:
    taken = await tx.value(
        "select 1 from saved_view where lower(name) = lower(%(name)s) and owner_id is not distinct from %(owner)s "
        "and removed_at is null and id <> %(id)s",
        name=name,
        owner=owner_id,
        id=besides,
    )
    if taken:
        raise Conflict(mark(f"There is a view {name} already."))
