"""Rules, macros and views name fields of contacts and conversations: those that there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zhiban.automation.attribute_action import SetAttributeAction
from zhiban.automation.message_conditions import ContactAttributeCondition
from zhiban.automation.parts import GroupPart, RulePart
from zhiban.automation.queries import contact_field_names, conversation_field_names
from zhiban.automation.state_conditions import AttributeCondition
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark


async def check_field_names(tx: Transaction, parts: Iterable[RulePart]) -> None:
    """Raises Conflict where one of them names a field that is not there, of which it could tell nothing."""
    found = list(_all(parts))
    of_contacts = [one.name for one in found if isinstance(one, ContactAttributeCondition)]
    of_conversations = [one.name for one in found if isinstance(one, AttributeCondition | SetAttributeAction)]
    if of_contacts:
        known = await contact_field_names(tx)
        for name in of_contacts:
            if name not in known:
                raise Conflict(mark(f"There is no contact field {name}; choose one that there is, or add it first."))
    if of_conversations:
        known = await conversation_field_names(tx)
        for name in of_conversations:
            if name not in known:
                raise Conflict(
                    mark(f"There is no conversation field {name}; choose one that there is, or add it first.")
                )


def _all(parts: Iterable[RulePart]) -> Iterator[RulePart]:
    for part in parts:
        if isinstance(part, GroupPart):
            yield from _all(part.conditions)
        else:
            yield part
