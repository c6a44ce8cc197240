"""What a rule may ask. Each condition is one small class: its kind, its fields, whether it holds, and how it is said.

The union `Condition` is the registry, the schema, the validation and the editor's list: a new condition is a class and
its name in the union. `holds` is pure; it raises CannotTell where the facts do not allow an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field

from zhiban.automation.agent_conditions import (
    AgentCondition,
    AgentsOnlineCondition,
    AssigneeAvailabilityCondition,
    AssigneeOpenCountCondition,
    PreviousAssigneeAvailabilityCondition,
)
from zhiban.automation.change_conditions import (
    AssigneeChangeCondition,
    LabelChangeCondition,
    PriorityChangeCondition,
    StatusChangeCondition,
    TeamChangeCondition,
)
from zhiban.automation.contact_label_conditions import ContactLabelChangeCondition, ContactLabelCondition
from zhiban.automation.facts import RuleFacts
from zhiban.automation.message_conditions import (
    ContactAttributeCondition,
    ContactNameCondition,
    MessageAuthorCondition,
    MessageDirectionCondition,
    MessageKindCondition,
    MessageLanguageCondition,
    MessageSentimentCondition,
    MessageTextCondition,
)
from zhiban.automation.operators import CannotTell
from zhiban.automation.parts import GroupPart, rule_part
from zhiban.automation.state_conditions import (
    AssigneeCondition,
    AttributeCondition,
    BusinessHoursCondition,
    ChannelCondition,
    InboxCondition,
    LabelCondition,
    PriorityCondition,
    ReturningCondition,
    StatusCondition,
    TeamCondition,
    WaitingCondition,
)
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark

log = logging.getLogger(__name__)

SingleCondition = (
    StatusCondition
    | AssigneeCondition
    | TeamCondition
    | InboxCondition
    | ChannelCondition
    | LabelCondition
    | PriorityCondition
    | WaitingCondition
    | BusinessHoursCondition
    | ReturningCondition
    | AttributeCondition
    | ContactNameCondition
    | ContactAttributeCondition
    | ContactLabelCondition
    | MessageTextCondition
    | MessageKindCondition
    | MessageDirectionCondition
    | MessageAuthorCondition
    | MessageLanguageCondition
    | MessageSentimentCondition
    | AssigneeAvailabilityCondition
    | PreviousAssigneeAvailabilityCondition
    | AssigneeOpenCountCondition
    | AgentsOnlineCondition
    | StatusChangeCondition
    | AssigneeChangeCondition
    | TeamChangeCondition
    | LabelChangeCondition
    | PriorityChangeCondition
    | ContactLabelChangeCondition
)
CONDITIONS: dict[str, type[SingleCondition]] = {
    one.__dataclass_fields__["kind"].default: one for one in get_args(SingleCondition)
}


@rule_part
class ConditionGroup(GroupPart):
    """All or any of its parts, exactly as they are shown. A group without parts holds."""

    match: Literal["all", "any"] = "all"
    conditions: Annotated[tuple[Condition, ...], Field(max_length=50)] = ()
    kind: Literal["group"] = "group"


Condition = Annotated[SingleCondition | ConditionGroup, Discriminator("kind")]


def needs_agents(condition: SingleCondition | ConditionGroup) -> bool:
    """Whether it has to be known who is there."""
    if isinstance(condition, ConditionGroup):
        return any(needs_agents(one) for one in condition.conditions)
    return isinstance(condition, AgentCondition)


def needs_contact_labels(condition: SingleCondition | ConditionGroup) -> bool:
    """Whether the labels of the contact have to be known."""
    if isinstance(condition, ConditionGroup):
        return any(needs_contact_labels(one) for one in condition.conditions)
    return isinstance(condition, ContactLabelCondition)


@frozen_dataclass
class CheckedCondition:
    """What became of a condition: `held` is None where it could not be told, and `error` says why."""

    condition: SingleCondition | ConditionGroup
    held: bool | None
    seen: object = None
    error: str = ""
    parts: tuple[CheckedCondition, ...] = ()

    def failed(self) -> Iterator[str]:
        """Why conditions in here could not be told."""
        if self.error:
            yield self.error
        for part in self.parts:
            yield from part.failed()

    def stored(self) -> dict[str, Any]:
        """What a run keeps of it."""
        kept: dict[str, Any] = {"held": self.held}
        match self.condition:
            case ConditionGroup(match=match):
                kept["match"] = match
            case single:
                kept["condition"] = single.stored()
        if self.seen is not None:
            kept["seen"] = self.seen
        if self.error:
            kept["error"] = self.error
        if self.parts:
            kept["parts"] = [part.stored() for part in self.parts]
        return kept


def check(condition: SingleCondition | ConditionGroup, facts: RuleFacts) -> CheckedCondition:
    """Whether it holds, and every part of it, for whoever wants to know why. Never raises.

    All parts are looked at, also those that cannot change the answer any more. A group is certain as soon as one part
    decides it; otherwise it fails with the first part that failed.
    """
    if isinstance(condition, ConditionGroup):
        parts = tuple(check(one, facts) for one in condition.conditions)
        return CheckedCondition(condition, _together(condition.match, [one.held for one in parts]), parts=parts)
    try:
        return CheckedCondition(condition, condition.holds(facts), condition.seen(facts))
    except CannotTell as error:
        return CheckedCondition(condition, None, error=error.sentence)
    except Exception:  # a defect of ours must neither stop what people do nor look like an answer
        log.exception("The condition %s failed.", condition.kind)
        return CheckedCondition(condition, None, error=mark("This condition failed; the log says more."))


def _together(match: Literal["all", "any"], held: list[bool | None]) -> bool | None:
    if not held:
        return True
    decides = match == "any"
    if decides in held:
        return decides
    return None if None in held else not decides
