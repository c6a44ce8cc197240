"""What a rule may ask of our own people: who is there, and how much they have in hand."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from zhiban.automation.condition_fields import IS_LABELS, OPERATOR_LABELS, said_of
from zhiban.automation.facts import AgentFacts, RuleFacts
from zhiban.automation.operators import CannotTell, NumberOperator, choice_holds, number_holds
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.kit.i18n import mark
from zhiban.people.presence import AVAILABILITY_LABELS

AvailabilityName = Literal["online", "busy", "offline"]
Availabilities = Annotated[tuple[AvailabilityName, ...], Field(min_length=1, max_length=3)]
BoundedCount = Annotated[int, Field(ge=0, le=10_000)]


class AgentCondition(RulePart):
    """A condition for which it has to be known who is there: only rules with one pay for asking."""

    __slots__ = ()
    needs_agents: ClassVar[bool] = True


def _agents(facts: RuleFacts) -> AgentFacts:
    if facts.agents is None:
        raise CannotTell("Nobody knows who was there at that time.")
    return facts.agents


def _availabilities(words: RuleWording, names: tuple[str, ...]) -> str:
    return words.either(words.texts(AVAILABILITY_LABELS[one]) for one in names)


@rule_part
class AssigneeAvailabilityCondition(AgentCondition):
    """Whether the assignee is there. Nobody is neither online nor offline."""

    availabilities: Availabilities
    operator: Literal["any_of", "none_of"] = "any_of"
    kind: Literal["assignee_availability"] = "assignee_availability"

    def holds(self, facts: RuleFacts) -> bool:
        seen = self.seen(facts)
        return seen is not None and choice_holds(self.operator, self.availabilities, (seen,))

    def seen(self, facts: RuleFacts) -> object:
        return _agents(facts).availability_of(facts.state.assignee_id)

    def label(self, words: RuleWording) -> str:
        value = _availabilities(words, self.availabilities)
        return said_of(words, IS_LABELS, self.operator, mark("处理人的状态"), value)


@rule_part
class PreviousAssigneeAvailabilityCondition(AgentCondition):
    """Whether the agent who had the conversation last is there."""

    availabilities: Availabilities
    operator: Literal["any_of", "none_of"] = "any_of"
    kind: Literal["previous_assignee_availability"] = "previous_assignee_availability"

    def holds(self, facts: RuleFacts) -> bool:
        seen = self.seen(facts)
        return seen is not None and choice_holds(self.operator, self.availabilities, (seen,))

    def seen(self, facts: RuleFacts) -> object:
        agents = _agents(facts)
        return agents.availability_of(agents.previous_assignee)

    def label(self, words: RuleWording) -> str:
        value = _availabilities(words, self.availabilities)
        return said_of(words, IS_LABELS, self.operator, mark("上一位处理人的状态"), value)


@rule_part
class AssigneeOpenCountCondition(AgentCondition):
    """How many open conversations the assignee has, this one among them. Nobody has none."""

    count: BoundedCount
    operator: NumberOperator = "at_least"
    kind: Literal["assignee_open_count"] = "assignee_open_count"

    def holds(self, facts: RuleFacts) -> bool:
        if facts.state.assignee_id is None:
            return False
        seen = _agents(facts).assignee_open
        if seen is None:
            raise CannotTell("Nobody knows how many conversations they had at that time.")
        return number_holds(self.operator, self.count, seen)

    def seen(self, facts: RuleFacts) -> object:
        return _agents(facts).assignee_open

    def label(self, words: RuleWording) -> str:
        return said_of(words, OPERATOR_LABELS, self.operator, mark("处理人手上的会话数"), str(self.count))


@rule_part
class AgentsOnlineCondition(AgentCondition):
    """How many agents are online who may answer in the inbox of the conversation."""

    count: BoundedCount
    operator: NumberOperator = "at_least"
    kind: Literal["agents_online"] = "agents_online"

    def holds(self, facts: RuleFacts) -> bool:
        return number_holds(self.operator, self.count, _agents(facts).online)

    def seen(self, facts: RuleFacts) -> object:
        return _agents(facts).online

    def label(self, words: RuleWording) -> str:
        return said_of(words, OPERATOR_LABELS, self.operator, mark("在线的同事人数"), str(self.count))
