"""What a rule may ask of the change that has just happened. Where only time has passed, none of these holds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from zhiban.automation.condition_fields import Ids, PriorityNumber, Statuses, changed_of, fits
from zhiban.automation.facts import RuleFacts
from zhiban.automation.parts import RulePart, rule_part
from zhiban.automation.wording import RuleWording
from zhiban.events import (
    ContactLabelsChanged,
    ConversationAssigned,
    ConversationLabelsChanged,
    ConversationPriorityChanged,
    ConversationTeamAssigned,
    StatusChanged,
)
from zhiban.kit.i18n import mark


@rule_part
class StatusChangeCondition(RulePart):
    """What has just happened changed the status; an empty side means any."""

    past: Statuses = ()
    to: Statuses = ()
    kind: Literal["status_changed"] = "status_changed"

    def holds(self, facts: RuleFacts) -> bool:
        event = facts.event
        return isinstance(event, StatusChanged) and fits(self.past, event.previous) and fits(self.to, event.status)

    def seen(self, facts: RuleFacts) -> object:
        event = facts.event
        return [event.previous, event.status] if isinstance(event, StatusChanged) else None

    def label(self, words: RuleWording) -> str:
        return changed_of(words, mark("会话状态"), words.statuses(self.past), words.statuses(self.to))


@rule_part
class AssigneeChangeCondition(RulePart):
    """The assignee has just changed; `to` nobody: it was un-assigned; no agents: to anybody."""

    to: Literal["anybody", "nobody"] = "anybody"
    agents: Ids = ()
    kind: Literal["assignee_changed"] = "assignee_changed"

    def holds(self, facts: RuleFacts) -> bool:
        event = facts.event
        if not isinstance(event, ConversationAssigned):
            return False
        if self.to == "nobody":
            return event.to_agent_id is None
        return event.to_agent_id is not None and fits(self.agents, event.to_agent_id)

    def seen(self, facts: RuleFacts) -> object:
        event = facts.event
        return [event.assignee_id, event.to_agent_id] if isinstance(event, ConversationAssigned) else None

    def label(self, words: RuleWording) -> str:
        if self.to == "nobody":
            return words.texts("处理人被取消")
        return changed_of(words, mark("处理人"), "", words.agents(self.agents))


@rule_part
class TeamChangeCondition(RulePart):
    """The team has just changed; no teams: to any."""

    to: Literal["any", "none"] = "any"
    teams: Ids = ()
    kind: Literal["team_changed"] = "team_changed"

    def holds(self, facts: RuleFacts) -> bool:
        event = facts.event
        if not isinstance(event, ConversationTeamAssigned):
            return False
        if self.to == "none":
            return event.to_team_id is None
        return event.to_team_id is not None and fits(self.teams, event.to_team_id)

    def seen(self, facts: RuleFacts) -> object:
        event = facts.event
        return [event.team_id, event.to_team_id] if isinstance(event, ConversationTeamAssigned) else None

    def label(self, words: RuleWording) -> str:
        if self.to == "none":
            return words.texts("小组被取消")
        return changed_of(words, mark("小组"), "", words.teams(self.teams))


@rule_part
class LabelsMoved(RulePart):
    """What the two conditions on changed labels have in common; `fact` is what tells of them."""

    change: Literal["added", "removed"] = "added"
    labels: Ids = ()

    fact: ClassVar[type[ConversationLabelsChanged | ContactLabelsChanged]]

    def holds(self, facts: RuleFacts) -> bool:
        return any(fits(self.labels, one) for one in self._moved(facts))

    def seen(self, facts: RuleFacts) -> object:
        return list(self._moved(facts))

    def _moved(self, facts: RuleFacts) -> tuple[int, ...]:
        event = facts.event
        if not isinstance(event, self.fact):
            return ()
        return event.added if self.change == "added" else event.removed


@rule_part
class LabelChangeCondition(LabelsMoved):
    """One of these labels (no labels: any) has just been added or removed."""

    kind: Literal["label_changed"] = "label_changed"

    fact = ConversationLabelsChanged

    def label(self, words: RuleWording) -> str:
        said = mark("加上了标签{value}") if self.change == "added" else mark("去掉了标签{value}")
        return words.texts(said, value=words.labels(self.labels))


@rule_part
class PriorityChangeCondition(RulePart):
    """The priority has just risen or fallen, or become one of these (none named: any)."""

    direction: Literal["any", "up", "down"] = "any"
    to: Annotated[tuple[PriorityNumber, ...], Field(max_length=5)] = ()
    kind: Literal["priority_changed"] = "priority_changed"

    def holds(self, facts: RuleFacts) -> bool:
        event = facts.event
        if not isinstance(event, ConversationPriorityChanged) or not fits(self.to, event.priority):
            return False
        rose = event.priority > event.previous
        return self.direction == "any" or rose is (self.direction == "up")

    def seen(self, facts: RuleFacts) -> object:
        event = facts.event
        return [event.previous, event.priority] if isinstance(event, ConversationPriorityChanged) else None

    def label(self, words: RuleWording) -> str:
        if self.direction != "any" and not self.to:
            return words.texts(mark("优先级升高") if self.direction == "up" else mark("优先级降低"))
        return changed_of(words, mark("优先级"), "", words.either(words.priority(one) for one in self.to))
